"""Published results for profiled networks: their top-1 on ImageNet, and the points of Table 1."""

from collections.abc import Sequence

from resmlp.analysis.profiling.results import Row
from resmlp.analysis.profiling.tradeoff import Point
from resmlp.config.pretrained import PUBLISHED, canonical_tag, is_tagged
from resmlp.config.vision import ALIASES, ARCHITECTURES
from resmlp.hub.names import on_disk
from resmlp.paper import TABLES

TABLE1 = TABLES["table1"]
FAMILIES = {
    "transformer": ("cait-m48", "cait-xs24", "deit-s", "deit-b"),
    "feedforward": ("s12", "s24", "b24"),
}
"""rows of Table 1; the others are convolutional"""
OTHER_SIZE = ("efficientnet-b3", "efficientnet-b4", "efficientnet-b5", "cait-xs24")
"""rows with a resolution, and so an accuracy, that differs from the network in timm"""


def published_top1(model: str) -> float | None:
    """Published top-1 on ImageNet-1k of a MODEL, as a fraction; None if there is none.

    For published weights it is their accuracy. For the name of a network it is that of Table 1, or of the first
    published weights of that network.
    """
    name = model.removeprefix("timm:")
    if on_disk(model) or "/" in name:
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


def published_points() -> list[Point]:
    """The networks of Table 1."""
    numbers = [(row, TABLE1.reported(row)) for row in TABLE1.rows]
    return [Point(row.title, _row_family(row.name), paper["images_per_s"], paper["top1"]) for row, paper in numbers]


def measured_points(rows: Sequence[Row]) -> list[Point]:
    """The measured networks; their names have the batch size and the backend if there are several."""
    varied = [key for key in ("batch", "backend") if len({getattr(row, key) for row in rows}) > 1]
    points = []
    for row in rows:
        suffix = f" ({', '.join(str(getattr(row, key)) for key in varied)})" if varied else ""
        points.append(Point(row.model + suffix, family(row.model), row.images_per_s, row.top1_published, row.quartiles))
    return points


def family(model: str) -> str:
    """The family of a MODEL, a key of `tradeoff.STYLES`, by its name."""
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
    """The resmlp name of a network; timm's name if resmlp has none."""
    name = model.removeprefix("timm:")
    return ALIASES.get(name, name)
