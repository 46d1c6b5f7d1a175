"""Where weights come from, as Markdown sections of a model card: from a run folder, or published by their authors.

A section states what is known, and "not stated" for the rest. Names come from files of others: `escape` makes them
literal text.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeGuard

from resmlp.config.pretrained import HUB, Published
from resmlp.utils.checks import demand
from resmlp.utils.errors import printable
from resmlp.utils.files import read_json
from resmlp.utils.run_folder import FIGURES, RECIPE, SUMMARY

SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&$:@!+=^])")
"""characters with a meaning in Markdown"""
UNKNOWN = "not stated"

RESMLP = "[ResMLP: Feedforward networks for image classification](https://arxiv.org/abs/2105.03404)"
MIXER = "[MLP-Mixer: An all-MLP Architecture for Vision](https://arxiv.org/abs/2105.01601)"
MASSES = "[ImageNet-21K Pretraining for the Masses](https://arxiv.org/abs/2104.10972)"

AUTHORS = {
    "fb": ("Touvron et al., Facebook AI", RESMLP),
    "goog": ("Tolstikhin et al., Google", MIXER),
    "miil": ("Ridnik et al., Alibaba MIIL", MASSES),
}
"""first word of a tag -> who trained the weights, and their paper"""
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
"""tag -> training data"""
WEIGHT_KINDS = {"ema": "averaged over steps (EMA)", "raw": "those of the last step"}
RECIPE_PARTS = ("task", "model", "data", "augment", "optim", "run")


def escape(text: Any) -> str:
    """`text` on one line, with Markdown's special characters escaped."""
    return SPECIAL.sub(r"\\\1", printable(" ".join(str(text).split())))


def table(head: tuple[str, str], rows: Iterable[tuple[str, Any]]) -> str:
    """A Markdown table of two columns, its cells escaped; empty without rows."""
    lines = [f"| {escape(name)} | {escape(value)} |" for name, value in rows]
    return "\n".join([f"| {head[0]} | {head[1]} |", "|---|---|", *lines]) if lines else ""


class Provenance(Protocol):
    """The origin of weights; all sections are Markdown."""

    @property
    def figures(self) -> tuple[Path, ...]:
        """Images for the card."""

    @property
    def measured_on(self) -> str:
        """The data set of the scores; empty if unknown."""

    def scores(self) -> dict[str, float]:
        """Fractions by metric; empty if unknown."""

    def training(self) -> str:
        """The section on training: data, duration, software."""

    def results(self) -> str:
        """The section on scores."""

    def recipe(self) -> str:
        """The section on the settings of the training."""


@dataclass(frozen=True)
class RunProvenance:
    """The origin of weights from a run folder; without a run folder all fields are empty."""

    recipe_json: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    """summary.json"""
    figures: tuple[Path, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> "RunProvenance":
        """Read a run folder; any file may be missing. Raises `UserError` for a damaged one.

        Figures of predictions are left out: they show images of the data, which may not be published.
        """
        drawn = sorted((folder / FIGURES).glob("*.png"))
        figures = [path for path in drawn if path.is_file() and not path.name.startswith("predictions")]
        return cls(_read_object(folder / RECIPE), _read_object(folder / SUMMARY), tuple(figures))

    def scores(self) -> dict[str, float]:
        """The scores of the last evaluation, whose weights are those in the folder; not of the best one."""
        last = _mapping(_mapping(self.summary, "last"), str(self.summary.get("weights")))
        scores = {key: value for key, value in last.items() if key not in ("weights", "epoch", "step")}
        return {key: float(value) for key, value in scores.items() if _is_number(value)}

    @property
    def measured_on(self) -> str:
        """The data of training and evaluation: their source, and the last part of their path."""
        data = _mapping(self.recipe_json, "data")
        root = data.get("root")
        place = Path(root).name if isinstance(root, str) else ""
        source = str(data.get("source") or "")
        return f"{source}: {place}" if source and place and source != place else source or place

    def training(self) -> str:
        """Recipe, data, initial weights, seed, time, device, kind of weights and versions."""
        settings, summary = _mapping(self.recipe_json, "run"), self.summary
        seconds, versions = summary.get("seconds"), _mapping(summary, "versions")
        checkpoint = _mapping(self.recipe_json, "model").get("checkpoint")
        random = "random weights" if self.recipe_json else None
        facts = (
            ("recipe", self.recipe_json.get("name")),
            ("data", self.measured_on),
            ("started from", _without_folder(checkpoint) if checkpoint else random),
            ("seed", settings.get("seed")),
            ("time", f"{seconds / 60:.1f} minutes" if _is_number(seconds) else None),
            ("device", summary.get("device")),
            ("weights", WEIGHT_KINDS.get(str(summary.get("weights")))),
            ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        )
        return table(("", ""), [(name, UNKNOWN if value in (None, "") else value) for name, value in facts])

    def results(self) -> str:
        """Scores on the validation set."""
        scores = self.scores()
        if not scores:
            return f"Scores: {UNKNOWN}."
        images = _mapping(self.summary, "images").get("val")
        number = f"{images:,} images" if _is_number(images) else f"number of images {UNKNOWN}"
        text = f"Fractions, on the validation set ({number}) of {escape(self.measured_on) or 'data ' + UNKNOWN}:"
        return f"{text}\n\n{table(('metric', 'value'), ((name, f'{value:.4f}') for name, value in scores.items()))}"

    def recipe(self) -> str:
        """The fields of the recipe, `data.batch_size` and so on; paths without their folders."""
        settings = [
            (f"{part}.{key}", _without_folder(value))
            for part in RECIPE_PARTS
            for key, value in _mapping(self.recipe_json, part).items()
            if value not in (None, "")
        ]
        return table(("field", "value"), settings) or f"Recipe: {UNKNOWN}."


@dataclass(frozen=True)
class PublishedProvenance:
    """The origin of published weights, which are pushed unchanged."""

    weights: Published
    figures: tuple[Path, ...] = ()
    measured_on: str = "ImageNet-1k"

    def scores(self) -> dict[str, float]:
        """The published scores; see `resmlp.config.pretrained`."""
        scores = {"top1": self.weights.top1, "top1 (ReaL)": self.weights.real, "top1 (V2)": self.weights.v2}
        return {name: score for name, score in scores.items() if score is not None}

    def training(self) -> str:
        """Authors, paper to cite, training data and original file."""
        weights = self.weights
        authors, paper = AUTHORS[weights.tag.split("_")[0]]
        text = f"{authors}, trained these weights. Please cite their paper: {paper}."
        pretrained = "_ft_" in weights.tag
        facts = (
            ("weights", weights.name),
            ("data", DATA[weights.tag]),
            ("started from", "weights trained on the first of these data sets" if pretrained else "random weights"),
        )
        original = f"Original file: <{weights.source}>. Converted by timm: <https://huggingface.co/{weights.repo}>."
        return f"{text}\n\n{table(('', ''), facts)}\n\n{original}"

    def results(self) -> str:
        """The published scores and their source; none were measured again."""
        scores = self.scores()
        if not scores:
            return f"Scores: {UNKNOWN}."
        if self.weights.model.startswith("mixer_"):
            source = "measured by timm (results/results-imagenet.csv of huggingface/pytorch-image-models)"
        elif self.weights.model == "resmlp_s36":
            source = "published by the authors (README_resmlp.md of facebookresearch/deit)"
        else:
            source = "published by the authors (Table 3 of the paper; ReaL: new labels, V2: new images)"
        text = f"Fractions, on the validation set of {self.measured_on}, {source}; not measured again:"
        return f"{text}\n\n{table(('metric', 'value'), ((name, f'{value:g}') for name, value in scores.items()))}"

    def recipe(self) -> str:
        """A reference to the paper of the authors."""
        return f"See {AUTHORS[self.weights.tag.split('_')[0]][1]}."


def _without_folder(value: Any) -> Any:
    """The last part of a local path; any other value unchanged."""
    local = isinstance(value, str) and not value.startswith(HUB)
    return re.split(r"[/\\]", value.rstrip("/\\"))[-1] if local else value


def _read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if the file does not exist."""
    value = read_json(path) if path.is_file() else {}
    demand(isinstance(value, dict), f"{path} does not hold a JSON object", "was it changed by hand?")
    return value


def _mapping(values: dict[str, Any], key: str) -> dict[str, Any]:
    """`values[key]` if it is an object; else an empty one."""
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
