"""Where a network comes from, for its model card: what a run folder says, or what is published of it.

`Run` and `Credit` answer the same questions, and say of nothing more than is known.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeGuard

from resmlp.config.pretrained import HUB, Published
from resmlp.utils.checks import demand
from resmlp.utils.files import read_json

RESMLP = "[ResMLP: Feedforward networks for image classification](https://arxiv.org/abs/2105.03404)"
MIXER = "[MLP-Mixer: An all-MLP Architecture for Vision](https://arxiv.org/abs/2105.01601)"
MASSES = "[ImageNet-21K Pretraining for the Masses](https://arxiv.org/abs/2104.10972)"
UNKNOWN = "not stated"
RECIPE = ("task", "model", "data", "augment", "optim", "run")

AUTHORS = {
    "fb": ("Touvron et al., Facebook AI", RESMLP),
    "goog": ("Tolstikhin et al., Google", MIXER),
    "miil": ("Ridnik et al., Alibaba MIIL", MASSES),
}
"""the first word of a tag -> who trained the weights, and where they describe it"""
DATA = {
    "fb_in1k": "ImageNet-1k",
    "fb_distilled_in1k": "ImageNet-1k, distilled from RegNetY-16GF",
    "fb_dino": "ImageNet-1k without labels (DINO)",
    "fb_in22k_ft_in1k": "ImageNet-22k, then ImageNet-1k",
    "goog_in21k": "ImageNet-21k",
    "goog_in21k_ft_in1k": "ImageNet-21k, then ImageNet-1k",
    "miil_in21k": "ImageNet-21k-P",
    "miil_in21k_ft_in1k": "ImageNet-21k-P, then ImageNet-1k",
}
"""a tag -> what they were trained on"""


class Past(Protocol):
    """What a model card asks."""

    @property
    def figures(self) -> tuple[Path, ...]:
        """Images to show."""

    @property
    def measured_on(self) -> str:
        """The data of the scores; empty where unknown."""

    def scores(self) -> dict[str, float]:
        """Fractions by metric; empty where unknown."""

    def training(self) -> str:
        """On what, how long, with what: Markdown, as the next two."""

    def results(self) -> str:
        """What it reaches, and on what."""

    def recipe(self) -> str:
        """All settings of the training."""


@dataclass(frozen=True)
class Run:
    """What a run folder says of itself; empty where there is none."""

    described: dict[str, Any] = field(default_factory=dict)
    """recipe.json"""
    summary: dict[str, Any] = field(default_factory=dict)
    figures: tuple[Path, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Any of the files may be missing. Raises `UserError` for one that is broken.

        Figures of predictions are left out: they show images of the data, which are not ours to publish.
        """
        drawn = sorted((folder / "figures").glob("*.png"))
        figures = [path for path in drawn if path.is_file() and not path.name.startswith("predictions")]
        return cls(_object(folder / "recipe.json"), _object(folder / "summary.json"), tuple(figures))

    def scores(self) -> dict[str, float]:
        """The numbers of the very weights that are in the folder: the last evaluation's, not the best's."""
        last = _mapping(_mapping(self.summary, "last"), str(self.summary.get("weights")))
        own = {key: value for key, value in last.items() if key not in ("weights", "epoch", "step")}
        return {key: float(value) for key, value in own.items() if _is_number(value)}

    @property
    def measured_on(self) -> str:
        """The data, of training as of the scores: their kind, and the last part of their path."""
        data = _mapping(self.described, "data")
        root = data.get("root")
        place = Path(root).name if isinstance(root, str) else ""
        source = str(data.get("source") or "")
        return f"{source}: {place}" if source and place and source != place else source or place

    def training(self) -> str:
        """On what, how long, with what."""
        settings, summary = _mapping(self.described, "run"), self.summary
        seconds, versions = summary.get("seconds"), _mapping(summary, "versions")
        start = _mapping(self.described, "model").get("checkpoint")
        facts = (
            ("recipe", self.described.get("name")),
            ("data", self.measured_on),
            ("started from", _without_folder(start) if start else "random weights" if self.described else None),
            ("seed", settings.get("seed")),
            ("time", f"{seconds / 60:.1f} minutes" if _is_number(seconds) else None),
            ("device", summary.get("device")),
            (
                "weights",
                {"ema": "averaged over steps (EMA)", "raw": "as the last step left them"}.get(
                    str(summary.get("weights"))
                ),
            ),
            ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        )
        return table(("", ""), [(name, UNKNOWN if value in (None, "") else value) for name, value in facts])

    def results(self) -> str:
        """What it reaches, and on what."""
        scores = self.scores()
        if not scores:
            return f"What it reaches is {UNKNOWN}."
        held_out = _mapping(self.summary, "images").get("val")
        number = f"{held_out:,}" if _is_number(held_out) else f"their number is {UNKNOWN}"
        text = f"As fractions, on the held-out images ({number}) of {plain(self.measured_on) or 'data ' + UNKNOWN}:"
        return f"{text}\n\n{table(('metric', 'value'), ((name, f'{value:.4f}') for name, value in scores.items()))}"

    def recipe(self) -> str:
        """Its fields, `data.batch_size` and so on, without the folders of whoever ran it."""
        settings = [
            (f"{part}.{key}", _without_folder(value))
            for part in RECIPE
            for key, value in _mapping(self.described, part).items()
            if value not in (None, "")
        ]
        return table(("field", "value"), settings) or f"The recipe is {UNKNOWN}."


@dataclass(frozen=True)
class Credit:
    """What is known of the published weights of others, which are passed on as they are."""

    weights: Published
    figures: tuple[Path, ...] = ()
    measured_on: str = "ImageNet-1k"

    def scores(self) -> dict[str, float]:
        """As their authors published them; see `resmlp.config.pretrained`."""
        given = {"top1": self.weights.top1, "top1 (ReaL)": self.weights.real, "top1 (V2)": self.weights.v2}
        return {name: score for name, score in given.items() if score is not None}

    def training(self) -> str:
        """Whose they are, which paper to cite, where they come from, and on what they were trained."""
        weights = self.weights
        who, paper = AUTHORS[weights.tag.split("_")[0]]
        text = f"These are the weights that {who}, published with {paper}; cite it where you use them."
        facts = (
            ("weights", weights.name),
            ("data", DATA[weights.tag]),
            (
                "started from",
                "random weights" if "_ft_" not in weights.tag else "weights trained on the first of these",
            ),
        )
        original = f"The original: <{weights.source}>. Converted by timm: <https://huggingface.co/{weights.repo}>."
        return f"{text}\n\n{table(('', ''), facts)}\n\n{original}"

    def results(self) -> str:
        """The published scores and where they stand; none were measured here."""
        scores = self.scores()
        if not scores:
            return f"What it reaches is {UNKNOWN}."
        if self.weights.model.startswith("mixer_"):
            where = "timm measured them (results/results-imagenet.csv of huggingface/pytorch-image-models)"
        elif self.weights.model == "resmlp_s36":
            where = "their authors published them (README_resmlp.md of facebookresearch/deit)"
        else:
            where = "their authors published them (Table 3 of the paper; ReaL: new labels, V2: new images)"
        text = f"As fractions, on the validation images of {self.measured_on}, as {where}; not measured again:"
        return f"{text}\n\n{table(('metric', 'value'), ((name, f'{value:g}') for name, value in scores.items()))}"

    def recipe(self) -> str:
        """Their authors'."""
        return f"That of {AUTHORS[self.weights.tag.split('_')[0]][1]}."


def _without_folder(value: Any) -> Any:
    """A path without what lies before its last part."""
    local = isinstance(value, str) and not value.startswith(HUB)
    return re.split(r"[/\\]", value.rstrip("/\\"))[-1] if local else value


def _object(path: Path) -> dict[str, Any]:
    value = read_json(path) if path.is_file() else {}
    demand(isinstance(value, dict), f"{path} holds no JSON object", "was it changed by hand?")
    return value


def _mapping(values: dict[str, Any], key: str) -> dict[str, Any]:
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


MARKS = re.compile(r"([\\`*_{}\[\]<>#|~&$:@!+=^])")


def plain(text: Any) -> str:
    """`text` as Markdown shows it literally, on one line."""
    printable = "".join(c if c.isprintable() else " " for c in str(text))
    return MARKS.sub(r"\\\1", " ".join(printable.split()))


def table(head: tuple[str, str], rows: Iterable[tuple[str, Any]]) -> str:
    """Two columns; empty without rows."""
    lines = [f"| {plain(name)} | {plain(value)} |" for name, value in rows]
    return "\n".join([f"| {head[0]} | {head[1]} |", "|---|---|", *lines]) if lines else ""
