"""What is measured for a row when its run is finished: the numbers of the table's columns, and figures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from resmlp.analysis.curves import is_number
from resmlp.analysis.layers.anatomy import open_anatomy
from resmlp.analysis.layers.filters import draw_filters
from resmlp.analysis.layers.sparsity import THRESHOLD, draw_sparsity, sparsity
from resmlp.analysis.profiling.profile import profile
from resmlp.analysis.profiling.subjects import Subject
from resmlp.config.evaluation import EvalData
from resmlp.evaluation.evaluate import evaluate
from resmlp.models import create_model
from resmlp.models.backbones import timm_network
from resmlp.paper import Row
from resmlp.reproduction.plan import Training, Weights
from resmlp.utils.files import read_json, write_json
from resmlp.utils.run_folder import RECIPE, SUMMARY

Evaluate = Callable[..., dict[str, Any]]
"""`evaluate_model`, which tests replace"""
Numbers = Iterator[tuple[str, Any]]
"""(column, number), ("figure", file name), or (name of an interval, [low, high])"""


def evaluate_model(
    model: str,
    protocols: Sequence[str],
    root: Path | None = None,
    val: str | None = None,
    real: Path | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """The scores of a model on the data at `root`; without `root`, on the validation set of its run."""
    data = EvalData(root=None if root is None else str(root), val=val, workers=0)
    result = evaluate(model, protocol=protocols, data=data, real=real, device=device)
    assert result is not None  # there is one process
    return result.to_dict()


@dataclass(frozen=True)
class Case:
    """The arguments of a measurement."""

    row: Row
    model: str
    """the run folder, or the published weights"""
    plan: Training | Weights
    folder: Path
    """the folder of figures"""
    root: Path | None
    """the folder of all data sets"""
    brief: bool
    """whether to save time at the cost of precise numbers"""
    device: torch.device
    evaluate: Evaluate

    def scores(self, *protocols: str, **options: Any) -> dict[str, Any]:
        """The scores of the model by these protocols."""
        return self.evaluate(self.model, protocols, device=self.device.type, **options)


def trained(case: Case) -> Numbers:
    """The scores in the summary of the run, for the weights that were saved at its end."""
    summary = read_json(Path(case.model) / SUMMARY)
    scores = summary["last"][summary["weights"]]
    yield from ((name, float(value)) for name, value in scores.items() if is_number(value))


def cost(case: Case) -> Numbers:
    """Table 1: the scores of the run, and speed and memory of the paper's network on this machine."""
    yield from trained(case)
    batch, seconds = (1, 0.5) if case.brief else (32, 3.0)
    result = profile(case.row.model, batch=batch, seconds=seconds, device=case.device.type)
    write_json(case.folder / "profile.json", result.to_dict())
    (row,) = result.rows
    yield "images_per_s", row.images_per_s
    if row.memory is not None:
        yield "peak_memory", row.memory


def features(case: Case) -> Numbers:
    """Table 2: k-NN and linear probe on frozen features."""
    scores = case.scores("knn", "linear")
    yield from ((name, scores[name]) for name in ("knn", "linear"))


def robustness(case: Case) -> Numbers:
    """Table 3: the scores of the run; on ImageNet-V2 and with the ReaL labels if these exist."""
    yield from trained(case)
    if case.root and (case.root / "imagenet-v2").is_dir() and (case.root / "imagenet").is_dir():
        yield "v2", case.scores("v2", root=case.root / "imagenet-v2")["v2"]
        if (case.root / "real.json").is_file():
            yield "real", case.scores("real", real=case.root / "real.json")["real"]


def translated(case: Case) -> Numbers:
    """Table 5: the scores of the run; the BLEU of newstest2014 if the data folder has it."""
    yield from trained(case)
    assert isinstance(case.plan, Training)
    if case.plan.data.startswith("wmt14"):
        data = read_json(Path(case.model) / RECIPE)["data"]
        root = Path(data["root"])
        if any(root.glob(f"newstest2014*.{data['target_language']}*")):
            yield "tokenized_bleu", case.scores("bleu", root=root, val="newstest2014")["tokenized_bleu"]


def filters(case: Case) -> Numbers:
    """Figure 2: filters of five evenly spaced layers."""
    draw_filters(open_anatomy(case.model).choose(), case.folder / "filters.png")
    yield "figure", "filters.png"


def shares(case: Case) -> Numbers:
    """Figure 3: for each matrix the share of small weights, mean over the layers, and the curves."""
    layers = [sparsity(layer) for layer in open_anatomy(case.model).layers]
    draw_sparsity(layers, THRESHOLD, case.folder / "sparsity.png")
    for name, matrix in (("sparsity_a", "A"), ("sparsity_b", "MLP 1"), ("sparsity_c", "MLP 2")):
        yield name, fmean(layer[matrix]["small"] for layer in layers)
    yield "figure", "sparsity.png"


def overfitting(case: Case) -> Numbers:
    """Figure 4: top-1 on both sets, with bootstrap intervals."""
    assert isinstance(case.plan, Weights)
    assert case.root is not None
    for protocol, folder in zip(("top1", "v2"), case.plan.data):
        scores = case.scores(protocol, root=case.root / folder)
        yield protocol, scores[protocol]
        yield f"{protocol}_interval", list(scores[f"{protocol}_interval"])


MEASURES: dict[str, Callable[[Case], Numbers]] = {
    "table1": cost,
    "table2": features,
    "table3": robustness,
    "table4": trained,
    "table5": translated,
    "table6": trained,
    "figure2": filters,
    "figure3": shares,
    "figure4": overfitting,
}

SIZES = {"efficientnet_b3": 300, "efficientnet_b4": 380, "efficientnet_b5": 456}
"""side of the image if it is not 224 (Tan and Le 2019)"""
TIMM_OPTIONS: dict[str, dict[str, Any]] = {"cait_xs24_384": {"img_size": 224}}
"""options for a timm network at the size of the paper"""


@cache
def count(model: str) -> dict[str, float]:
    """Parameters and multiply-adds of a network of the paper at its size in the paper; no weights are allocated."""
    name = model.removeprefix("timm:")
    side = SIZES.get(name, 224)
    with torch.device("meta"):
        network = create_model(model) if name == model else timm_network(name, **TIMM_OPTIONS.get(name, {}))
    subject = Subject(model, network, (side, side))
    return {"parameters": float(subject.parameters), "macs": float(subject.macs())}
