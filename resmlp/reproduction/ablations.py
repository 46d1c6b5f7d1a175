"""Tables 1 to 3 at a small scale: one network and one training; each row changes one part of them."""

from dataclasses import dataclass, replace
from typing import Any

from resmlp.config import Optim, Run
from resmlp.config.tasks import Distill
from resmlp.paper import TABLES
from resmlp.reproduction.plan import Plan, Plans, Training, variant

OTHERS = "a network of another paper: its costs are counted, it is not trained"
DINO_PAPER = "a network of the DINO paper"
ONLY_S12 = "this scale runs only the rows of ResMLP-S12"
WIDE = "it takes eight times as long as ResMLP-S12"
NO_SECOND = "this scale has no second test set"

PARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "layernorm": ("LayerNorm", {"norm": "layernorm"}),
    "classmlp": ("Class-MLP", {"pool": "classmlp"}),
    "none": ("no token mixing", {"mixer": "none"}),
    "mlp": ("token MLP", {"mixer": "mlp"}),
    "conv3x3": ("3x3 convolution", {"mixer": "conv3x3"}),
    "dwconv": ("depth-wise 3x3 convolution", {"mixer": "dwconv"}),
    "sepconv": ("depth-separable 3x3 convolution", {"mixer": "sepconv"}),
}
"""row of Table 3 -> the difference, in words and as fields of the model"""


@dataclass(frozen=True)
class Small:
    """The replacements of ImageNet and ResMLP-S12; the plans of Tables 1 to 3 follow from them."""

    base: Training
    """the row of ResMLP-S12, which is the baseline of Table 3"""
    dino: Training
    """the same network without labels: Table 2"""
    oldschool: tuple[Optim, Run]
    """the old-fashioned training of Table 3"""
    finer: int
    """side of the image for the row with smaller patches (14 instead of 16 in the paper)"""

    @property
    def deeper(self) -> dict[str, Any]:
        """The changed fields of ResMLP-S24: twice the layers of S12."""
        return {"depth": 2 * self.base.recipe.model.depth}

    def table1(self) -> dict[str, Plan]:
        """ResMLP-S12 and S24, and the Transformer of the same shape."""
        model = self.base.recipe.model
        attention: dict[str, Any] = {"mixer": "attention", "norm": "layernorm", "scale": "none", "layer_scale": None}
        attention |= {"pool": "classtoken", "pos_embed": True, "heads": max(1, model.dim // 32), "init": "fan-in"}
        named = ("cait-m48", "nfnet-f6", "efficientnet-b3", "efficientnet-b4", "efficientnet-b5", "cait-xs24", "deit-b")
        others = (*named, "regnety-4gf", "regnety-8gf", "regnety-16gf")
        deit = variant(self.base, "the Transformer of the same shape (DeiT)", attention)
        own: dict[str, Plan] = {"deit-s": deit, "s12": self.s12, "s24": self.s24, "b24": WIDE}
        return {**dict.fromkeys(others, OTHERS), **own}

    def table2(self) -> dict[str, Plan]:
        """Self-supervised training of the network and of the deeper network."""
        deeper = variant(self.dino, "twice the layers", self.deeper)
        others = dict.fromkeys(("resnet-50", "vit-s16", "vit-s8", "vit-b16"), DINO_PAPER)
        return {**others, "s12": self.dino, "s24": deeper}

    def table3(self) -> dict[str, Plan]:
        """The thirteen rows of ResMLP-S12."""
        base, data = self.base, self.base.recipe.data
        patch = base.recipe.model.network()[1].patch_size
        optim, run = self.oldschool
        size = data.img_size[0]
        finer = f"{size // patch} x {size // patch} patches become {self.finer // patch} x {self.finer // patch}"
        ssl = variant(base, "from DINO's weights")
        distill = variant(base, "hard distillation from the 3x3 convolutions", task=Distill(targets="hard"))
        parts = {row: variant(base, about, model) for row, (about, model) in PARTS.items()}
        dino, teacher = replace(self.dino, at="table2/s12"), replace(parts["conv3x3"], at="table3/conv3x3")
        return {
            "s12": base,
            **parts,
            "p14": variant(base, finer, data=replace(data, img_size=(self.finer,))),
            "p8": variant(base, f"patches of {patch // 2}", {"patch_size": patch // 2}),
            "oldschool": variant(base, "SGD with a step schedule", optim=optim, run=run),
            "ssl": replace(ssl, start=dino),
            "distill": replace(distill, teacher=teacher),
            **dict.fromkeys(("s24", "b24", "b24-p8", "s24-ssl", "s24-distill", "b24-p8-distill"), ONLY_S12),
            "b24-p8-21k": "this scale has no larger labeled data set",
        }

    @property
    def s12(self) -> Training:
        """The baseline, in the place of Table 3."""
        return replace(self.base, at="table3/s12")

    @property
    def s24(self) -> Training:
        """The deeper network, in the place of Table 1."""
        return replace(variant(self.base, "twice the layers", self.deeper), at="table1/s24")

    def plans(self, **others: dict[str, Plan]) -> Plans:
        """The plans of all tables and figures: Tables 1 to 3 and the figures, and `others` for Tables 4 to 6."""
        no_second: dict[str, Plan] = dict.fromkeys((row.name for row in TABLES["figure4"].rows), NO_SECOND)
        return {
            "table1": self.table1(),
            "table2": self.table2(),
            "table3": self.table3(),
            **others,
            "figure2": {"s24": self.s24, "s12": self.s12},
            "figure3": {"s24": self.s24},
            "figure4": no_second,
        }
