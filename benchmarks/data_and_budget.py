"""Table 3 where data and training grow: does the advantage of convolutions over a linear mixer shrink?

python benchmarks/data_and_budget.py --data PATH   writes results/data_and_budget.json and docs/data_and_budget.png

Rows of Table 3 at small scale (`resmlp.reproduction.small`) on shares of CIFAR-10's training images, each share at two
budgets of images seen, with the same cosine schedule over the whole budget. Hard distillation has the network of 3x3
convolutions of its own share and budget as the teacher. Differences are paired by seed.

A process of one thread trains all rows of a share, a budget and a seed, `--jobs` at a time; the result is written when
all are there. All are kept in --runs, and the same command continues them.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from child_processes import run_all
from machine import conditions
from options import data_parser
from scipy.stats import t

from resmlp.analysis.style import BLUE, FAINT, GREEN, ORANGE, PURPLE, new_figure
from resmlp.reproduction.measured_json import read_measured
from resmlp.reproduction.plan import variant
from resmlp.reproduction.runner import Request, run_request
from resmlp.reproduction.small import SMALL
from resmlp.utils.files import write_json

ROOT = Path(__file__).parent.parent
RESULT, FIGURE = ROOT / "results" / "data_and_budget.json", ROOT / "docs" / "data_and_budget.png"
IMAGES = 50_000
SHARES = (0.1, 0.3, 1.0)
BUDGETS = (100_000, 400_000)
"""images seen"""
BASELINE = "s12"
ROWS = {
    BASELINE: "linear",
    "none": "no token mixing",
    "layernorm": "LayerNorm",
    "mlp": "token MLP",
    "dwconv": "depth-wise convolution",
    "conv3x3": "convolution",
    "oldschool": "old-fashioned training",
    "distill": "distillation",
}
CONVOLUTION = "dwconv"
DRAWN = {"dwconv": BLUE, "conv3x3": GREEN, "mlp": ORANGE, "none": PURPLE}
STEPS = (30 / 90, 60 / 90, 80 / 90)
"""where the paper's old-fashioned training lowers its rate, as parts of the training"""


def request(share: float, budget: int, seed: int, root: Path, runs: Path) -> Request:
    """The rows of a share of the images, a budget and a seed."""
    epochs = max(1, round(budget / (IMAGES * share)))
    base = SMALL.base.recipe
    run = replace(base.run, epochs=epochs, eval_every=epochs)
    optim, old = SMALL.oldschool
    milestones = tuple(max(1, round(part * epochs)) for part in STEPS)
    small = replace(
        SMALL,
        base=variant(SMALL.base, "", data=replace(base.data, fraction=share), run=run),
        oldschool=(replace(optim, milestones=milestones), replace(old, epochs=epochs, eval_every=epochs)),
    )
    out = runs / f"share-{share:g}" / f"images-{budget}"
    return Request("table3", "small", small.plans(), out / f"seed-{seed}", "cpu", root, tuple(ROWS), (seed,))


def top1(one: Request, row: str) -> float:
    """In percent, of a row that is finished."""
    measured = read_measured(one.run_folder(f"table3/{row}", one.seeds[0]))
    assert measured is not None, f"{row} in {one.out} is not finished"
    return 100 * float(measured["numbers"]["top1"])


def interval(values: Sequence[float]) -> dict[str, float]:
    """The mean, the standard deviation, and half of the 95 % confidence interval by Student's t."""
    deviation = statistics.stdev(values)
    half = float(t.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))
    return {"mean": round(statistics.mean(values), 3), "std": round(deviation, 3), "half": round(half, 3)}


def result_of(found: dict[tuple[float, int], dict[str, list[float]]]) -> dict:
    """What is recorded: top-1 by share, budget and row, and the gains over the baseline, of all seeds."""
    gains = {
        cell: {row: interval([a - b for a, b in zip(values, rows[BASELINE])]) for row, values in rows.items()}
        for cell, rows in found.items()
    }
    small, large = (SHARES[0], BUDGETS[0]), (SHARES[-1], BUDGETS[-1])
    of = [[a - b for a, b in zip(found[cell][CONVOLUTION], found[cell][BASELINE])] for cell in (small, large)]
    shrinks = interval([a - b for a, b in zip(*of)])
    least, most = (gains[cell][CONVOLUTION] for cell in (small, large))
    return {
        "what": "Top-1 in percent on CIFAR-10 of rows of Table 3, by the share of the training images and images seen",
        "numbers": {
            "advantage_small": least["mean"],
            "advantage_large": most["mean"],
            "shrinks_by": shrinks["mean"],
            "shrinks_by_half_interval": shrinks["half"],
        },
        "target": {},
        "command": "python benchmarks/data_and_budget.py --data PATH",
        "seeds": len(next(iter(found.values()))[BASELINE]),
        "table": {
            name(cell): {ROWS[row]: interval(values) for row, values in rows.items()} for cell, rows in found.items()
        },
        "gains": {name(cell): rows for cell, rows in gains.items()},
        "by_seed": {name(cell): rows for cell, rows in found.items()},
        **conditions(),
    }


def name(cell: tuple[float, int]) -> str:
    """A share and a budget, for people."""
    return f"{100 * cell[0]:g} % of the images, {cell[1]:,} seen"


def draw(result: dict, path: Path) -> None:
    """The gain of each mixer over the linear one by share, a panel for each budget, with 95 % intervals."""
    with new_figure(path, 3.6) as figure:
        panels = figure.subplots(1, len(BUDGETS), sharey=True)
        for panel, budget in zip(panels, BUDGETS):
            panel.axhline(0, color=FAINT, linewidth=1)
            for offset, (row, color) in enumerate(DRAWN.items()):
                points = [result["gains"][name((share, budget))][row] for share in SHARES]
                places = [100 * share * 1.03**offset for share in SHARES]
                means, halves = [point["mean"] for point in points], [point["half"] for point in points]
                panel.errorbar(places, means, halves, color=color, marker="o", capsize=3, label=ROWS[row])
            panel.set(xscale="log", xlabel="share of the training images (%)", title=f"{budget:,} images seen")
            panel.set_xticks([100 * share for share in SHARES], [f"{100 * share:g}" for share in SHARES])
            panel.minorticks_off()
        panels[0].set_ylabel("top-1 over the linear mixer (points)")
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(DRAWN), frameon=False
        )


def main(options: argparse.Namespace) -> None:
    """Train what is missing, and write the result and the figure."""
    begun = time.perf_counter()
    cells = [(share, budget) for budget in BUDGETS for share in SHARES]
    parts = [(*cell, seed) for seed in range(options.seeds) for cell in cells]
    if options.part:
        run_request(request(*parts[options.part - 1], options.data, options.runs))
        return
    requests = {part: request(*part, options.data, options.runs) for part in parts}
    missing = [number for number, part in enumerate(parts, 1) if any(not requests[part].is_measured(r) for r in ROWS)]
    print(f"{len(missing)} of {len(parts)} parts to train", file=sys.stderr, flush=True)
    run_all([[sys.executable, *sys.argv, "--part", str(number)] for number in missing], options.jobs)
    found = {
        cell: {row: [top1(requests[(*cell, seed)], row) for seed in range(options.seeds)] for row in ROWS}
        for cell in cells
    }
    result = result_of(found) | {"seconds": round(time.perf_counter() - begun, 1)}
    write_json(RESULT, result)
    draw(result, FIGURE)
    print(json.dumps(result["numbers"]), file=sys.stderr)


if __name__ == "__main__":
    parser = data_parser(__doc__, "CIFAR-10", runs="data_and_budget")
    parser.add_argument(
        "--seeds", type=int, default=3, choices=range(2, 100), metavar="N", help="2 or more (default: 3)"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once (default: cores)")
    parser.add_argument("--part", type=int, help=argparse.SUPPRESS)
    try:
        main(parser.parse_args())
    except KeyboardInterrupt:
        sys.exit("stopped (the same command continues)")
