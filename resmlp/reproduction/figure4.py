"""Figure 4 of a record: the paper's points, those of other networks, and ours."""

from dataclasses import replace
from pathlib import Path

from resmlp.analysis.overfit import Point, draw_overfit
from resmlp.paper import PEERS
from resmlp.reproduction.record import Record


def points(record: Record) -> dict[str, list[Point]]:
    """Group -> its points, without empty groups; the paper's group is first, ours is last."""
    paper = [Point(row.row, row.paper["top1"], row.paper["v2"]) for row in record.rows]
    ours = []
    for row in record.rows:
        if {"top1", "v2"} <= set(row.ours):
            intervals = [row.intervals.get(f"{name}_interval") for name in ("top1", "v2")]
            bars = [(interval[0], interval[1]) if interval else None for interval in intervals]
            ours.append(Point(row.row, row.ours["top1"].mean, row.ours["v2"].mean, *bars))
    peers = {
        f"{group}, measured by timm": [Point(name, val / 100, v2 / 100) for name, (val, v2) in networks.items()]
        for group, networks in PEERS.items()
    }
    groups = {"ResMLP, the paper (Table 3)": paper, **peers, "ResMLP, measured here": ours}
    return {name: group for name, group in groups.items() if group}


def with_figure(record: Record, path: Path) -> Record:
    """Draw Figure 4 to `path`, and return the record with the figure and the points that are left out of it."""
    not_drawn, not_labeled = draw_overfit(points(record), path)
    return replace(record, figures=(path.name,), not_drawn=tuple(not_drawn), not_labeled=tuple(not_labeled))
