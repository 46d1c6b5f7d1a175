"""Figure 4 from a record: the paper's points, those of its peers, and ours where both numbers exist."""

from pathlib import Path
from typing import Any

from resmlp.analysis.overfit import Point, draw_overfit
from resmlp.paper import PEERS


def points(record: dict[str, Any]) -> dict[str, list[Point]]:
    """Group -> its points; the paper's come first, ours last, and an empty group is left out."""
    rows = record["rows"]
    paper = [Point(row["row"], row["paper"]["top1"], row["paper"]["v2"]) for row in rows]
    ours = []
    for row in rows:
        if {"top1", "v2"} <= set(row["ours"]):
            bars = [row["intervals"].get(f"{name}_interval") for name in ("top1", "v2")]
            own = [row["ours"][name]["mean"] for name in ("top1", "v2")]
            ours.append(Point(row["row"], *own, *(tuple(bar) if bar else None for bar in bars)))
    peers = {
        f"{group}, as timm measured": [Point(name, val / 100, v2 / 100) for name, (val, v2) in networks.items()]
        for group, networks in PEERS.items()
    }
    found = {"ResMLP, the paper (Table 3)": paper, **peers, "ResMLP, measured here": ours}
    return {group: own for group, own in found.items() if own}


def draw_figure4(record: dict[str, Any], path: Path) -> tuple[list[str], list[str]]:
    """Draw it to `path`; returns the rows that lie too low to be shown, and the points that go without their name."""
    return draw_overfit(points(record), path)
