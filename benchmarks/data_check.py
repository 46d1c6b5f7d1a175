"""How many images `resmlp data check` looks at in a second, on one core: python benchmarks/data_check.py --data PATH...

By headers alone and with every pixel decoded, in this process, on each tree or archive in turn, so that a noisy machine
disturbs them alike. The first turn, which fills the disk cache, does not count. Reported are the median and the
quartiles of the slowest of the trees.
"""

import json
import statistics
import sys
from pathlib import Path

import torch
from machine import conditions
from options import data_parser

from resmlp.data.checking.check import check_data

TURNS = 11
TARGET = {"headers_per_s": 2000, "decoded_per_s": 400}


def measure(roots: list[str]) -> dict[str, dict[str, list[float]]]:
    """Images a second of each turn, by kind and tree."""
    speeds: dict[str, dict[str, list[float]]] = {kind: {root: [] for root in roots} for kind in TARGET}
    for turn in range(TURNS + 1):
        for root in roots:
            for kind in TARGET:
                report = check_data(root, decode=kind == "decoded_per_s", near="off")
                if turn:
                    speeds[kind][root].append(report.images / report.seconds)
    return speeds


def main() -> None:
    """Measure and write results/data_check.json."""
    roots = [str(path) for path in data_parser(__doc__, "folders of images", several=True).parse_args().data]
    torch.set_num_threads(1)
    numbers, trees = {}, {}
    for kind, speeds in measure(roots).items():
        slowest = min(speeds.values(), key=statistics.median)
        low, median, high = statistics.quantiles(slowest, n=4)
        quartiles = {f"{kind}_quartile_low": low, f"{kind}_quartile_high": high}
        numbers |= {name: round(value) for name, value in ({kind: median} | quartiles).items()}
        trees[kind] = {Path(root).name: round(statistics.median(own)) for root, own in speeds.items()}
    result = {
        "what": "Checking image folders on one core: images per second, headers alone and with every pixel decoded",
        "numbers": numbers,
        "target": TARGET,
        "command": "python benchmarks/data_check.py --data caltech20 imagenet_samples",
        "trees": trees,
        "turns": TURNS,
        **conditions("pillow"),
    }
    path = Path(__file__).parent.parent / "results" / "data_check.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["numbers"]), file=sys.stderr)


if __name__ == "__main__":
    main()
