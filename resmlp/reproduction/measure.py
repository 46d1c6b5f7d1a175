"""What is measured for a row once its run is finished: the numbers of the table's columns, and figures."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from resmlp.analysis.curves import is_number
from resmlp.analysis.layers.anatomy import open_anatomy
from resmlp.analysis.layers.filters import draw_filters
from resmlp.analysis.layers.sparsity import THRESHOLD, draw_sparsity, sparsity
from resmlp.analysis.profiling.profile import Settings, profile
from resmlp.analysis.profiling.subjects import Subject
from resmlp.models import create_model
from resmlp.models.backbones import timm_network
from resmlp.paper import Row
from resmlp.reproduction.plan import Weights
from resmlp.utils.files import read_json, write_json

Evaluate = Callable[..., dict[str, Any]]
"""(MODEL, its protocols, root=, val=) -> what `resmlp eval --json` prints"""
Found = Iterator[tuple[str, Any]]


@dataclass(frozen=True)
class Case:
    """What a measurement is given."""

    row: Row
    model: str
    """the run folder, or the published weights"""
    plan: Any
    folder: Path
    """where figures go"""
    root: Path | None
    """of all data"""
    brief: bool
    """whether seconds count more than the numbers"""
    device: torch.device
    evaluate: Evaluate


def trained(case: Case) -> Found:
    """What the run's summary says of the model that was saved at its end."""
    summary = read_json(Path(case.model) / "summary.json")
    numbers = summary["last"][summary["weights"]]
    yield from ((name, float(value)) for name, value in numbers.items() if is_number(value))


def cost(case: Case) -> Found:
    """Table 1: as trained, and the speed and memory of the paper's own network on this machine."""
    yield from trained(case)
    batch, seconds = (1, 0.5) if case.brief else (32, 3.0)
    found = profile([case.row.model], Settings(case.device, (batch,), seconds=seconds))
    write_json(case.folder / "profile.json", asdict(found))
    (row,) = found.rows
    yield "images_per_s", row.images_per_s
    if row.memory is not None:
        yield "peak_memory", row.memory


def features(case: Case) -> Found:
    """Table 2: k-NN and the linear classifier on the frozen features."""
    found = case.evaluate(case.model, ("knn", "linear"))
    yield from ((name, found[name]) for name in ("knn", "linear"))


def robustness(case: Case) -> Found:
    """Table 3: as trained, and on ImageNet-V2 and by ReaL's labels where they are there."""
    yield from trained(case)
    if case.root and (case.root / "imagenet-v2").is_dir() and (case.root / "imagenet").is_dir():
        yield "v2", case.evaluate(case.model, ("v2",), root=case.root / "imagenet-v2")["v2"]
        if (case.root / "real.json").is_file():
            yield "real", case.evaluate(case.model, ("real",), real=case.root / "real.json")["real"]


def translated(case: Case) -> Found:
    """Table 5: the sentences that the run held out, or newstest2014 where its folder has it."""
    yield from trained(case)
    data = case.plan.recipe.data
    if case.plan.data.startswith("wmt14"):
        root = read_json(Path(case.model) / "recipe.json")["data"]["root"]
        if any(Path(root).glob(f"newstest2014*.{data.target_language}*")):
            found = case.evaluate(case.model, ("bleu",), root=Path(root), val="newstest2014")
            yield "tokenized_bleu", found["tokenized_bleu"]


def filters(case: Case) -> Found:
    """Figure 2, of the first, the quarters and the last of the layers."""
    draw_filters(open_anatomy(case.model).choose(), case.folder / "filters.png")
    yield "figure", "filters.png"


def shares(case: Case) -> Found:
    """Figure 3: the mean over the layers for each matrix, and the curves."""
    found = [sparsity(layer) for layer in open_anatomy(case.model).layers]
    draw_sparsity(found, THRESHOLD, case.folder / "sparsity.png")
    for name, matrix in (("sparsity_a", "A"), ("sparsity_b", "MLP 1"), ("sparsity_c", "MLP 2")):
        yield name, fmean(layer[matrix]["small"] for layer in found)
    yield "figure", "sparsity.png"


def overfitting(case: Case) -> Found:
    """Figure 4: top-1 on both sets, with the bootstrap's intervals."""
    assert isinstance(case.plan, Weights)
    assert case.root is not None
    for protocol, place in zip(("top1", "v2"), case.plan.data):
        found = case.evaluate(case.model, (protocol,), root=case.root / place)
        yield protocol, found[protocol]
        yield f"{protocol}_interval", list(found[f"{protocol}_interval"])


MEASURES: dict[str, Callable[[Case], Found]] = {
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


@cache
def counted(model: str) -> dict[str, float]:
    """Parameters and multiply-adds of one of the paper's networks at its size in the paper; nothing is computed."""
    own = model.removeprefix("timm:")
    side = SIZES.get(own, 224)
    with torch.device("meta"):
        network = create_model(model) if own == model else timm_network(own, **FIXED.get(own, {}))
    subject = Subject(model, network, (side, side))
    return {"parameters": float(subject.parameters), "macs": float(subject.macs())}


SIZES = {"efficientnet_b3": 300, "efficientnet_b4": 380, "efficientnet_b5": 456}
"""side of the image where it is not 224 (Tan and Le 2019)"""
FIXED: dict[str, dict[str, Any]] = {"cait_xs24_384": {"img_size": 224}}
"""what timm needs to be told of the size"""
