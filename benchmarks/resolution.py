"""Accuracy over image sizes: plain interpolation, ours, many-grid training, and a network for each size.

python benchmarks/resolution.py cifar10 --data PATH      writes results/resolution_cifar10.json; caltech20 likewise

Each seed trains a network at one size, one on many grids, one with rising grids, and one at each other size, all with
the same number of images. The first is measured at all sizes, its parameters moved in two ways: both sides of A
interpolated, and by `resmlp.models.at_size`. Evaluations are of the last weights on the test images, once.

Trainings and measurements are processes of one thread, `--jobs` at a time, one seed after the other; the result is
written after each seed. All are kept in --runs, and the same command continues them. Times are those of the processor,
so that processes beside each other and beside others do not count.
"""

import argparse
import json
import os
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from adaptations import interpolated
from child_processes import run_all
from machine import conditions
from options import data_parser
from resolution_recipes import GRIDS, OWN, SETTINGS, shape, variants

import resmlp
from resmlp.config import ImageRecipe
from resmlp.data import EvalBatches, normalize, open_splits
from resmlp.data.loading.loader import Batch
from resmlp.metrics import classify
from resmlp.models import Saved, open_model
from resmlp.models.at_size import at_size
from resmlp.utils.files import write_json

RESULTS = Path(__file__).parent.parent / "results"
METHODS = ("interpolated", "ours", "many", "own")


class Seed:
    """The trainings and measurements of a seed, in a folder of their own."""

    def __init__(self, base: ImageRecipe, data: Path, runs: Path, seed: int):
        self.folder = runs / f"seed-{seed}"
        self.recipes = variants(base, data, seed)

    def missing(self) -> list[list[str]]:
        """The names of the trainings, and then of the grids to measure, that are not there yet."""
        trainings = [name for name in self.recipes if not self.seconds_file(name).exists()]
        return [trainings, [f"at-{grid}" for grid in GRIDS if not self.measured_file(grid).exists()]]

    def seconds_file(self, name: str) -> Path:
        """Written when a training is finished."""
        return self.folder / f"{name}.json"

    def measured_file(self, grid: str) -> Path:
        """Written when a grid is measured."""
        return self.folder / f"at-{grid}.json"

    def make(self, part: str) -> None:
        """Do what has this name."""
        if part.startswith("at-"):
            write_json(self.measured_file(part[3:]), self.measure(part[3:]))
        else:
            self.train(part)

    def train(self, name: str) -> None:
        """Train, or continue, and write the seconds of the processor; those before an interruption count."""
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self.folder / f"{name}.before.json"
        seconds = json.loads(before.read_text()) if before.exists() else 0.0
        start = time.process_time()
        try:
            resmlp.train(self.recipes[name], self.folder / name)
        except KeyboardInterrupt:
            write_json(before, seconds + time.process_time() - start)
            sys.exit("stopped")
        write_json(self.seconds_file(name), round(seconds + time.process_time() - start, 1))

    def network(self, name: str) -> Saved:
        """The network of a finished training."""
        return open_model(self.folder / name)

    def measure(self, grid: str) -> dict[str, float]:
        """The accuracy at a grid, by method."""
        recipe = self.recipes[grid]
        size, single = shape(grid, recipe), self.network(OWN)
        nets = {
            "interpolated": interpolated(single, size),
            "ours": at_size(single, size),
            "many": at_size(self.network("many"), size),
            "own": self.network(grid),
            **({"rising": self.network("rising")} if grid == OWN else {}),
        }
        batches = eval_batches(recipe, nets["own"])
        return {method: accuracy(net, batches) for method, net in nets.items()}

    def found(self) -> dict:
        """Accuracies by grid and method, and the seconds of the trainings."""
        seconds = {name: json.loads(self.seconds_file(name).read_text()) for name in self.recipes}
        return {"table": {grid: json.loads(self.measured_file(grid).read_text()) for grid in GRIDS}, "seconds": seconds}


def eval_batches(recipe: ImageRecipe, saved: Saved) -> list[Batch]:
    """The test images, decoded once for all methods."""
    return list(EvalBatches(open_splits(recipe.data).val, saved.preprocessing, 250, 0))


@torch.inference_mode()
def accuracy(saved: Saved, batches: list[Batch]) -> float:
    """Top-1 in percent."""
    look = saved.preprocessing
    tally = classify(lambda x: saved.model(normalize(x, look.mean, look.std)), batches, len(saved.classes), "cpu")
    return 100 * tally.top1 / tally.images


def summarized(found: list[dict]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean and sample standard deviation over the seeds, by grid and method."""
    return {grid: {m: spread([one["table"][grid][m] for one in found]) for m in METHODS} for grid in GRIDS}


def spread(values: list[float]) -> dict[str, float]:
    """Mean and sample standard deviation; 0 for one value."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": round(statistics.mean(values), 2), "std": round(deviation, 2)}


def result_of(setting: str, found: list[dict]) -> dict:
    """What is recorded of some seeds."""
    table = summarized(found)
    numbers = {f"{grid}_{method}": cell["mean"] for grid, row in table.items() for method, cell in row.items()}
    numbers["rising"] = spread([one["table"][OWN]["rising"] for one in found])["mean"]
    single, rising = (statistics.mean(one["seconds"][name] for one in found) for name in (OWN, "rising"))
    numbers["rising_time_share"] = round(rising / single, 3)
    return {
        "what": f"Top-1 in percent on {setting} over image sizes, in tokens; trained at {OWN}",
        "numbers": numbers,
        "target": {"rising_time_share": "at most 0.75"},
        "command": f"python benchmarks/resolution.py {setting} --data PATH",
        "seeds": len(found),
        "table": table,
        "by_seed": found,
        **conditions(),
    }


def options_of() -> argparse.Namespace:
    """The command line."""
    parser = data_parser(__doc__, "the data set", runs="resolution")
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    parser.add_argument("--epochs", type=int, help="in place of the setting's, to see that this runs; needs --out")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once (default: cores)")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.epochs and not options.out:
        parser.error("--epochs needs --out: the result is not one to keep")
    return options


def main() -> None:
    """Train, measure and write; with `--part SEED/NAME`, only that one."""
    torch.set_num_threads(1)
    options = options_of()
    base, runs = SETTINGS[options.setting], options.runs / options.setting
    if options.epochs:
        run = replace(base.run, epochs=options.epochs)
        base = replace(base, run=run)
    if options.part:
        seed, name = options.part.split("/")
        return Seed(base, options.data, runs, int(seed)).make(name)
    found = []
    for number in range(options.seeds):
        seed = Seed(base, options.data, runs, number)
        for stage in range(2):  # a measurement needs all trainings
            names = seed.missing()[stage]
            print(f"seed {number}: {' '.join(names)}", file=sys.stderr, flush=True)
            run_all([[sys.executable, *sys.argv, "--part", f"{number}/{name}"] for name in names], options.jobs)
        found.append(seed.found())
        write_json(options.out or RESULTS / f"resolution_{options.setting}.json", result_of(options.setting, found))
    print(json.dumps(summarized(found), indent=2), file=sys.stderr)
    return None


if __name__ == "__main__":
    main()
