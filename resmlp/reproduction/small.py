"""The plans of the small scale, which takes an evening: small networks on small data sets.

CIFAR-10 replaces ImageNet (Tables 1 to 3), Caltech-20 the data sets of Table 4, Multi30k WMT 2014, and CamVid ADE20K.
The networks have 4 to 12 layers of 96 to 256 channels. A row differs from the baseline of its table only in the part
that the paper names. On CIFAR-10 the baseline is the network of recipe `dino-cifar10` and 4 epochs of recipe `cifar10`.
"""

from dataclasses import replace

from resmlp.config import Augment, Data, ImageRecipe, Model, Optim, Run
from resmlp.paper import TABLES
from resmlp.recipes.dino import CIFAR10 as DINO
from resmlp.recipes.segment import CAMVID
from resmlp.recipes.small import CIFAR10, CIFAR10_OLDSCHOOL
from resmlp.recipes.translate import MULTI30K
from resmlp.reproduction.ablations import Small
from resmlp.reproduction.plan import Plan, Plans, Training, changed, variant

OTHERS = "a network of another paper"
RUN = replace(CIFAR10.run, epochs=4, eval_every=4, log=())

BASE = Training(
    replace(
        CIFAR10,
        name="small-cifar10",
        about="CIFAR-10, 96 wide, 4 layers, 4 epochs",
        model=DINO.model,
        run=RUN,
        expected=(),
    ),
    "cifar10",
)
SELF_SUPERVISED = Training(
    replace(
        DINO,
        name="small-dino",
        about="CIFAR-10 without labels, 96 wide, 4 layers, 2 epochs",
        run=replace(DINO.run, epochs=2, log=()),
    ),
    "cifar10",
)
# the paper's steps, at epochs 30, 60 and 80 of 90; the third would be at the end
SGD = replace(CIFAR10_OLDSCHOOL.optim, milestones=(1, 3))
SMALL = Small(BASE, SELF_SUPERVISED, (SGD, replace(RUN, ema=None)), finer=36)

TUNE = ImageRecipe(
    name="small-caltech20",
    about="Caltech-20 at 32x32, fine-tuned for 20 epochs",
    model=Model("checkpoint"),
    data=Data(img_size=(32,), batch_size=64, workers=0, mean=CIFAR10.data.mean, std=CIFAR10.data.std),
    augment=Augment(scale=(0.35, 1.0)),
    optim=Optim("adamw", lr=2e-3, weight_decay=0.05, warmup_epochs=1, clip=1.0),
    run=Run(epochs=20, precision="bf16", ema=0.98, eval_every=20, log=()),
)
CAPTIONS = Training(
    replace(
        MULTI30K,
        name="small-multi30k",
        about="Multi30k, 256 wide, 3 layers, 6 epochs",
        run=replace(MULTI30K.run, epochs=6, eval_every=6, log=()),
        expected=(),
    ),
    "multi30k",
)
STREETS = Training(
    replace(
        CAMVID,
        name="small-camvid",
        about="CamVid from scratch, 128 wide, 4 layers, 30 epochs",
        task=changed(CAMVID.task, width=32),
        model=CAMVID.model.updated(dim=128, depth=4),
        run=replace(CAMVID.run, epochs=30, eval_every=30, log=()),
        expected=(),
    ),
    "camvid",
)


def table4() -> dict[str, Plan]:
    """Caltech-20, a few thousand images of objects, replaces Flowers-102."""
    plans: dict[str, Plan] = dict.fromkeys((row.name for row in TABLES["table4"].rows), OTHERS)
    for name, start in (("s12", SMALL.s12), ("s24", SMALL.s24)):
        for other in ("cifar10", "cifar100", "cars", "inat18", "inat19"):
            plans[f"{name}-{other}"] = "this scale has only Caltech-20, in the row of Flowers-102"
        plans[f"{name}-flowers"] = Training(TUNE, "caltech20", start=start)
    return plans


def table5() -> dict[str, Plan]:
    """Translation of image captions to German and to French."""
    deeper = {"encoder_depth": 6, "decoder_depth": 6}
    attention = {"mixer": "attention", "norm": "layernorm", "layer_scale": 0.0}
    french = variant(CAPTIONS, "to French", data=replace(MULTI30K.data, target_language="fr"))
    plans: dict[str, Plan] = {}
    for pair, base in (("ende", CAPTIONS), ("enfr", french)):
        plans |= dict.fromkeys((f"gnmt-{pair}", f"convs2s-{pair}"), OTHERS)
        plans[f"transformer-{pair}"] = variant(base, "the Transformer of the same shape", attention)
        plans[f"resmlp6-{pair}"] = base
        plans[f"resmlp12-{pair}"] = variant(base, "twice the layers", deeper)
    return plans


def table6() -> dict[str, Plan]:
    """Backbones with the proportions of the paper's."""
    deit = Model("deit_s", dim=128, depth=4, heads=4, patch_size=8, drop_path=0.05, init="fan-in")
    return {
        "deit-s": variant(STREETS, "the Transformer of the same shape (DeiT)", dict(vars(deit))),
        "deit-b": variant(
            STREETS,
            "the Transformer of the same shape (DeiT), twice as wide",
            dict(vars(deit.updated(dim=256, heads=8))),
        ),
        "s12": STREETS,
        "s24": variant(STREETS, "8 layers", {"depth": 8}),
        "s36": variant(STREETS, "12 layers", {"depth": 12}),
        "b24": variant(STREETS, "8 layers, twice as wide", {"depth": 8, "dim": 256}),
    }


PLANS: Plans = SMALL.plans(table4=table4(), table5=table5(), table6=table6())
