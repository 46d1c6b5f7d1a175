"""Translation: the paper's Table 5, and two smaller data sets that need no GPU.

Settings of Table 5 are from the paper. The tokens per step are those of Ott et al. (2018), 3,584 on each of 8 GPUs. The
paper does not state the number of epochs, the precision and the longest sentence.
"""

from dataclasses import replace

from resmlp.config import Optim, Run, Seq2Seq, Text, TextRecipe
from resmlp.config.tasks import Translate

NUMBERS = TextRecipe(
    name="numbers",
    about="English number words to German number words, embedded: three minutes on two cores",
    task=Translate(label_smoothing=0.1, beam=1, metric="exact_match"),
    model=Seq2Seq("resmlp_mt_tiny", dropout=0.0),
    data=Text(source="numbers", vocabulary=400, batch_size=1024),
    optim=Optim("adamw", lr=4e-3, weight_decay=0.01, warmup_epochs=0.5, clip=1.0),
    run=Run(epochs=6, log_every=50, eval_every=2),
    expected=(("exact_match", 0.98),),
)

MULTI30K = TextRecipe(
    name="multi30k",
    about="Multi30k, captions, English to German, on two cores; --data.root: train.en, train.de, val.en, val.de",
    task=Translate(label_smoothing=0.1),
    model=Seq2Seq("resmlp_mt_small", dropout=0.2),
    data=Text(vocabulary=6000, batch_size=1024),
    optim=Optim("adamw", lr=2e-3, weight_decay=0.01, beta2=0.98, warmup_steps=400, warmup_lr=0.0, clip=1.0),
    run=Run(epochs=15, precision="auto", eval_every=5, log_every=50),
    expected=(("bleu", 33.0),),
)

ENDE = TextRecipe(
    name="wmt14-ende",
    about="WMT14 English to German; --data.root: train.en, train.de, newstest2013.en, newstest2013.de",
    paper="Table 5, ResMLP, 6 layers, En-De (newstest2014 by `resmlp eval --data.val newstest2014`)",
    task=Translate(label_smoothing=0.1, beam=4, length_penalty=0.6),
    model=Seq2Seq("resmlp_mt6", dropout=0.15),
    data=Text(val="newstest2013", vocabulary=32_000, batch_size=8 * 3584),
    optim=Optim("adagrad", lr=0.2, weight_decay=0.0, schedule="constant", warmup_steps=32_000, warmup_lr=0.0),
    run=Run(epochs=60, precision="bf16", average=5),
    expected=(("tokenized_bleu", 26.4),),
)

ENFR = replace(
    ENDE,
    name="wmt14-enfr",
    about="WMT14 English to French; --data.root: train.en, train.fr, newstest2013.en, newstest2013.fr",
    paper=ENDE.paper.replace("En-De", "En-Fr"),
    model=replace(ENDE.model, dropout=0.1),
    data=replace(ENDE.data, target_language="fr", vocabulary=40_000),
    run=replace(ENDE.run, epochs=10),
    expected=(("tokenized_bleu", 40.3),),
)

RECIPES = (NUMBERS, MULTI30K, ENDE, ENFR)
