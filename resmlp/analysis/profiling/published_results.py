"""What is published of the networks that are profiled: their accuracy, and the points of Table 1."""

from typing import Any

from resmlp.analysis.profiling.tradeoff import Point
from resmlp.config.pretrained import PUBLISHED, canonical_tag, is_tagged
from resmlp.config.vision import ALIASES, ARCHITECTURES
from resmlp.paper import TABLES
from resmlp.utils.files import exists

TABLE1 = TABLES["table1"]
FAMILIES = {
    "transformer": ("cait-m48", "cait-xs24", "deit-s", "deit-b"),
    "feedforward": ("s12", "s24", "b24"),
}
"""rows of Table 1; the others are convolutional"""
OTHER_SIZE = ("efficientnet-b3", "efficientnet-b4", "efficientnet-b5", "cait-xs24")
"""rows whose network timm has at another resolution, with another accuracy"""


def known_top1(model: str) -> float | None:
    """Top-1 on ImageNet-1k published for a MODEL of the command line, as a fraction; None where there is none.

    For published weights it is theirs; for a name alone that of Table 1, or of the model's first published weights.
    """
    name = model.removeprefix("timm:")
    if exists(model) or "/" in name:
        return None
    if is_tagged(name):
        weights = PUBLISHED.get(canonical_tag(name))
        return weights.top1 if weights else None
    rows = [
        row for row in TABLE1.rows if row.model and _plain(row.model) == _plain(model) and row.name not in OTHER_SIZE
    ]
    if rows:
        return TABLE1.reported(rows[0])["top1"]
    return next((weights.top1 for weights in PUBLISHED.values() if weights.model == _plain(model)), None)


def as_published() -> list[Point]:
    """Table 1's networks."""
    numbers = [(row, TABLE1.reported(row)) for row in TABLE1.rows]
    return [Point(row.what, _row_family(row.name), found["images_per_s"], found["top1"]) for row, found in numbers]


def as_measured(rows: list[dict[str, Any]]) -> list[Point]:
    """What `resmlp profile --json` has of each network; batch and backend are named where there are several."""
    varied = [key for key in ("batch", "backend") if len({row[key] for row in rows}) > 1]
    points = []
    for row in rows:
        more = f" ({', '.join(str(row[key]) for key in varied)})" if varied else ""
        numbers = (row["images_per_s"], row["top1_published"], row["quartiles"])
        points.append(Point(row["model"] + more, family(row["model"]), *numbers))
    return points


def family(model: str) -> str:
    """Which of `tradeoff.LOOKS` a MODEL of the command line is of, as far as its name says."""
    name = _plain(model.rpartition(".")[0] or model)
    listed = [row.name for row in TABLE1.rows if row.model and _plain(row.model) == name]
    if listed:
        return _row_family(listed[0])
    if name not in ARCHITECTURES:
        return "other"
    return "transformer" if ARCHITECTURES[name].mixer == "attention" else "feedforward"


def _row_family(row: str) -> str:
    return next((family for family, rows in FAMILIES.items() if row in rows), "convolutional")


def _plain(model: str) -> str:
    """Our name of a network, or timm's where we have none."""
    name = model.removeprefix("timm:")
    return ALIASES.get(name, name)
