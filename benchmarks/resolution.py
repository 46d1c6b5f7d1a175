"""Accuracy over image sizes: a network of one size, moved in several ways, many-grid training, and one for each size.

python benchmarks/resolution.py cifar10 --data PATH      writes results/resolution_cifar10.json; caltech20 likewise

Each seed trains a network at one size, one on many grids, one with rising grids, and one at each other size, all with
the same number of images; the rising one sees a fifth more, which takes less time than the single size. The first is
measured at all sizes (`METHODS`). Evaluations are of the last weights on the test images, once.

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
from typing import Any

import torch
import torch.nn.functional as F
from adaptations import interpolated, relative, with_moments
from child_processes import run_all
from machine import conditions
from options import data_parser
from resolution_recipes import GRIDS, OWN, SETTINGS, shape, tuning, variants
from torch import Tensor

import resmlp
from resmlp.config import ImageRecipe
from resmlp.data import EvalBatches, ImageSet, normalize, open_splits
from resmlp.models import Saved, open_model
from resmlp.models.at_size import at_size
from resmlp.utils.files import write_json

RESULTS = Path(__file__).parent.parent / "results"
MATCHED = 256
"""about how many training images the moments are matched on"""
METHODS = {
    "interpolated": "both sides of A interpolated",
    "ours": "U A U+, what resmlp does",
    "resized": "the image resized to the trained size",
    "relative": "A as a table of offsets and a low-rank rest",
    "moments": "ours, and the moments of each token mixer matched to those at the trained size",
    "two_sizes": "ours, the logits averaged with those at the trained size",
    "tuned": "ours, and about 240 steps of A alone (resmlp train resize)",
    "many": "trained on all these grids",
    "own": "trained at this size",
}


NEAR = ("6", "10", "12", "6x10", "8x12")
"""0.75 to 1.5 times the trained size"""
TARGET = {
    "ours_lost": "at most 2",
    "ours_share_of_plain_loss": "at most 0.5",
    "many_behind_own": "at most 0.7",
    "many_gain_at_own_size": "at least 0",
    "rising_gain": "at least 0",
    "rising_time_share": "at most 0.75",
}
"""in points; of the largest loss at NEAR sizes, and of the largest of all sizes for the other two"""


class Seed:
    """The trainings and measurements of a seed, in a folder of their own."""

    def __init__(self, base: ImageRecipe, data: Path, runs: Path, seed: int):
        self.folder = runs / f"seed-{seed}"
        self.recipes = variants(base, data, seed)
        tuned = {f"tuned-{grid}": tuning(self.recipes[grid], self.folder / OWN) for grid in GRIDS if grid != OWN}
        self.stages = [[*self.recipes], [*tuned], [f"at-{grid}" for grid in GRIDS]]
        """what is made, by name; a stage needs all before it"""
        self.recipes |= tuned

    def missing(self, stage: int) -> list[str]:
        """What of a stage is not there yet."""
        return [name for name in self.stages[stage] if not self.file(name).exists()]

    def file(self, name: str) -> Path:
        """Written when a training or a measurement is finished: its seconds, or accuracies by method."""
        return self.folder / f"{name}.json"

    def read(self, name: str) -> Any:
        """What is written there."""
        return json.loads(self.file(name).read_text())

    def make(self, name: str) -> None:
        """Do what has this name."""
        if name in self.recipes:
            self.train(name)
        else:
            write_json(self.file(name), self.measure(name.removeprefix("at-")))

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
            raise
        write_json(self.file(name), round(seconds + time.process_time() - start, 1))

    def network(self, name: str) -> Saved:
        """The network of a finished training."""
        return open_model(self.folder / name)

    def measure(self, grid: str) -> dict[str, float]:
        """The accuracy at a grid, by method; at the own grid also that of rising sizes."""
        recipe, single, own = self.recipes[grid], self.network(OWN), self.network(grid)
        size, splits = shape(grid, recipe), open_splits(recipe.data)
        nets = {
            "interpolated": interpolated(single, size),
            "ours": at_size(single, size),
            "resized": single,
            "relative": relative(single, size),
            "tuned": self.network(OWN if grid == OWN else f"tuned-{grid}"),
            "many": at_size(self.network("many"), size),
            "own": own,
            **({"rising": self.network("rising")} if grid == OWN else {}),
        }
        some = splits.train.subset(range(0, len(splits.train), max(1, len(splits.train) // MATCHED)))
        nets["moments"] = with_moments(single, nets["ours"], *(pixels(some, saved) for saved in (single, own)))
        images = Evaluated(splits.val, own)
        logits = {method: images.logits(saved) for method, saved in nets.items()}
        logits["two_sizes"] = (logits["ours"] + Evaluated(splits.val, single).logits(single)) / 2
        return {method: images.top1(found) for method, found in logits.items()}

    def found(self) -> dict:
        """Accuracies by grid and method, and the seconds of the trainings."""
        table = {grid: self.read(f"at-{grid}") for grid in GRIDS}
        return {"table": table, "seconds": {name: self.read(name) for name in self.recipes}}


class Evaluated:
    """Images at the size of a network, decoded once for all networks of that size."""

    def __init__(self, images: ImageSet, saved: Saved):
        self.batches = list(EvalBatches(images, saved.preprocessing, 250, 0))
        self.labels = torch.cat([batch["label"] for batch in self.batches])

    @torch.inference_mode()
    def logits(self, saved: Saved) -> Tensor:
        """N K, of these images resized to the size of the network where it has another one"""
        found = list[Tensor]()
        for batch in self.batches:
            images = normalized(batch["image"], saved)
            if images.shape[-2:] != saved.preprocessing.size:
                images = F.interpolate(images, saved.preprocessing.size, mode="bicubic", antialias=True)
            found.append(saved.model(images))
        return torch.cat(found)

    def top1(self, logits: Tensor) -> float:
        """In percent."""
        return 100 * (logits.argmax(1) == self.labels).float().mean().item()


def normalized(images: Tensor, saved: Saved) -> Tensor:
    """uint8 B 3 h w -> float, as the network sees them."""
    return normalize(images, saved.preprocessing.mean, saved.preprocessing.std)


def pixels(images: ImageSet, saved: Saved) -> Tensor:
    """Normalized images at the size of the network: N 3 h w"""
    return torch.cat([normalized(batch["image"], saved) for batch in Evaluated(images, saved).batches])


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
    seconds = [statistics.mean(one["seconds"][name] for one in found) for name in (OWN, "rising")]
    rising = statistics.mean(one["table"][OWN]["rising"] for one in found)
    numbers = goals({grid: {method: cell["mean"] for method, cell in row.items()} for grid, row in table.items()})
    numbers |= {"rising_gain": rising - table[OWN]["ours"]["mean"], "rising_time_share": seconds[1] / seconds[0]}
    return {
        "what": f"Top-1 in percent on {setting} over image sizes, in tokens of a side; trained at {OWN}",
        "numbers": {name: round(value, 2) for name, value in numbers.items()},
        "target": TARGET,
        "command": f"python benchmarks/resolution.py {setting} --data PATH",
        "seeds": len(found),
        "methods": METHODS,
        "table": table,
        "by_seed": found,
        **conditions(),
    }


def goals(table: dict[str, dict[str, float]]) -> dict[str, float]:
    """Of top-1 in percent by grid and method, the numbers that have a target; a loss is that from the own grid on."""
    own = table[OWN]
    lost = {grid: own["ours"] - row["ours"] for grid, row in table.items() if grid != OWN}
    plain = {grid: own["interpolated"] - table[grid]["interpolated"] for grid in lost}
    return {
        "own_size": own["ours"],
        "ours_lost": max(lost[grid] for grid in NEAR),
        "ours_share_of_plain_loss": max([lost[grid] / plain[grid] for grid in lost if plain[grid] > 0], default=0.0),
        "many_behind_own": max(row["own"] - row["many"] for row in table.values()),
        "many_gain_at_own_size": own["many"] - own["ours"],
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
        for stage in range(len(seed.stages)):
            names = seed.missing(stage)
            print(f"seed {number}: {' '.join(names)}", file=sys.stderr, flush=True)
            run_all([[sys.executable, *sys.argv, "--part", f"{number}/{name}"] for name in names], options.jobs)
        found.append(seed.found())
        write_json(options.out or RESULTS / f"resolution_{options.setting}.json", result_of(options.setting, found))
    print(json.dumps(summarized(found), indent=2), file=sys.stderr)
    return None


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped (the same command continues)")
