"""The plans of the smoke scale: every row in seconds, on embedded data. It tests the code; its numbers mean nothing."""

from dataclasses import replace

from resmlp.config import Model, Optim, Run
from resmlp.paper import TABLES
from resmlp.recipes.dino import CIFAR10 as DINO
from resmlp.recipes.segment import SCENES
from resmlp.recipes.small import DIGITS
from resmlp.recipes.transfer import FINETUNE
from resmlp.recipes.translate import NUMBERS
from resmlp.reproduction.ablations import Small
from resmlp.reproduction.plan import Plan, Plans, Training, changed, variant

RUN = Run(epochs=1, log=(), log_every=20)
NETWORK = DIGITS.model.updated(dim=16, depth=2)
OPTIM = replace(DIGITS.optim, warmup_epochs=0.2)

BASE = Training(
    replace(
        DIGITS,
        name="smoke-digits",
        about="digits, 8x8, 16 wide, 2 layers, an epoch",
        model=NETWORK,
        optim=OPTIM,
        run=RUN,
        expected=(),
    )
)
SELF_SUPERVISED = replace(
    DINO,
    name="smoke-dino",
    about="digits without labels, an epoch",
    task=changed(DINO.task, local_size=(4,), knn_images=0, out_dim=64, hidden=32, bottleneck=16, blur=0.0),
    model=NETWORK,
    data=DIGITS.data,
    optim=replace(DINO.optim, warmup_epochs=0.2),
    run=RUN,
)
SGD = Optim("sgd", lr=0.015, weight_decay=1e-4, schedule="step", milestones=(1,), warmup_epochs=0)
SMALL = Small(BASE, Training(SELF_SUPERVISED), (SGD, RUN), finer=10)

TUNE = replace(
    FINETUNE,
    name="smoke-finetune",
    about="digits, fine-tuned for an epoch on half of them",
    data=replace(DIGITS.data, fraction=0.5),
    augment=DIGITS.augment,
    optim=replace(OPTIM, lr=1e-3),
    run=RUN,
)
TRANSLATION = Training(
    replace(
        NUMBERS,
        name="smoke-numbers",
        about="English number words to German ones, 32 wide, an epoch",
        task=changed(NUMBERS.task, val_sentences=100),
        model=NUMBERS.model.updated(dim=32, hidden=64, encoder_depth=1, decoder_depth=1),
        data=replace(NUMBERS.data, batch_size=4096),
        run=RUN,
        expected=(),
    )
)
SEGMENTATION = Training(
    replace(
        SCENES,
        name="smoke-scenes",
        about="digits on patterns, 16 wide, 4 layers, an epoch",
        task=changed(SCENES.task, width=8, stride=1.0),
        model=SCENES.model.updated(dim=16, depth=4, patch_size=16),
        data=replace(SCENES.data, batch_size=64),
        optim=replace(SCENES.optim, warmup_epochs=0.2),
        run=RUN,
        expected=(),
    )
)


def table4() -> dict[str, Plan]:
    """Each row fine-tunes the run of its network on digits."""
    starts = {"s12": SMALL.s12, "s24": SMALL.s24}
    rows = [(row.name, row.name.rpartition("-")[0]) for row in TABLES["table4"].rows]
    tuned = {name: Training(TUNE, start=starts[network]) for name, network in rows if network in starts}
    return {name: tuned.get(name, "a network of another paper") for name, _ in rows}


def table5() -> dict[str, Plan]:
    """Number words replace both language pairs."""
    deeper = {"encoder_depth": 2, "decoder_depth": 2}
    attention = {"mixer": "attention", "norm": "layernorm", "layer_scale": 0.0}
    kinds: dict[str, Plan] = {
        "gnmt": "a network of another paper",
        "convs2s": "a network of another paper",
        "transformer": variant(TRANSLATION, "the Transformer of the same shape", attention),
        "resmlp6": TRANSLATION,
        "resmlp12": variant(TRANSLATION, "twice the layers", deeper),
    }
    return {row.name: kinds[row.name.rpartition("-")[0]] for row in TABLES["table5"].rows}


def table6() -> dict[str, Plan]:
    """Segmentation of scenes, from scratch."""
    deit = Model("deit_s", dim=16, depth=4, heads=2, patch_size=16)
    return {
        "deit-s": variant(SEGMENTATION, "the Transformer of the same shape (DeiT)", dict(vars(deit))),
        "deit-b": variant(
            SEGMENTATION, "the Transformer of the same shape (DeiT), twice as wide", dict(vars(deit.updated(dim=32)))
        ),
        "s12": SEGMENTATION,
        "s24": variant(SEGMENTATION, "8 layers", {"depth": 8}),
        "s36": variant(SEGMENTATION, "12 layers", {"depth": 12}),
        "b24": variant(SEGMENTATION, "8 layers, twice as wide", {"depth": 8, "dim": 32}),
    }


PLANS: Plans = SMALL.plans(table4=table4(), table5=table5(), table6=table6())
