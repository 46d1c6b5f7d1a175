"""Accuracy over image sizes: plain interpolation, ours, many-grid training, and a network for each size.

python benchmarks/resolution.py cifar10 --data PATH      writes results/resolution_cifar10.json; caltech20 likewise

Each seed trains a network at one size, one on many grids, one with rising grids, and one at each other size, all with
the same number of images. The first is measured at all sizes, its parameters moved in two ways: both sides of A
interpolated, and by `resmlp.models.at_size`. Evaluations are of the last weights on the test images, once. Runs are
kept in --runs, and the same command continues them.
"""

import json
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from machine import conditions
from options import data_parser
from torch import nn

import resmlp
from resmlp.config import Augment, Data, ImageRecipe, Model, Optim, Run
from resmlp.data import EvalBatches, ImageSet, normalize, open_splits
from resmlp.metrics import classify
from resmlp.models import Saved, open_model
from resmlp.models.at_size import at_size
from resmlp.models.resize import Size
from resmlp.nn.grid_resampling import Rule, interpolation
from resmlp.nn.mixers import LinearMixer

RESULTS = Path(__file__).parent.parent / "results"
OWN = 8
"""tokens of a side of the single size"""
SIDES = ("4", "6", "8", "10", "12", "16")
RECTANGLES = ("6x10", "8x12")
METHODS = ("interpolated", "ours", "many", "own")


@dataclass(frozen=True)
class Setting:
    """A data set and what is trained on it."""

    recipe: ImageRecipe

    @property
    def patch(self) -> int:
        """Its side in pixels."""
        return self.recipe.model.network()[1].patch_size


SETTINGS = {
    "cifar10": Setting(
        ImageRecipe(
            "resolution-cifar10",
            model=Model("resmlp_cifar", init="local", layer_scale=1.0, dim=128, depth=6),
            data=Data("cifar10", img_size=(32,), batch_size=128, workers=0, crop_ratio=1.0, fraction=0.4),
            augment=Augment("pad"),
            optim=Optim("adamw", lr=2e-3, weight_decay=0.05, warmup_epochs=1, clip=1.0),
            run=Run(epochs=12, eval_every=100, log=(), save_minutes=5),
        )
    ),
    "caltech20": Setting(
        ImageRecipe(
            "resolution-caltech20",
            model=Model("resmlp_s12", init="local", layer_scale=1.0, dim=192, depth=6),
            data=Data("folder", img_size=(128,), batch_size=64, workers=0, crop_ratio=1.0),
            augment=Augment("resized", scale=(0.25, 1.0)),
            optim=Optim("adamw", lr=1e-3, weight_decay=0.05, warmup_epochs=3, clip=1.0),
            run=Run(epochs=50, eval_every=100, log=(), save_minutes=5),
        )
    ),
}


def shape(grid: str, patch: int) -> Size:
    """The height and width in pixels of a grid such as 8 or 6x10."""
    sides = [int(side) * patch for side in grid.split("x")]
    return sides[0], sides[-1]


def trained(recipe: ImageRecipe, folder: Path) -> tuple[Saved, float]:
    """The network of a run and the seconds of its training; the run is made or continued."""
    if not (folder / "summary.json").exists():
        print(f"training {folder}", file=sys.stderr, flush=True)
        resmlp.train(recipe, folder)
    return open_model(folder), json.loads((folder / "summary.json").read_text())["seconds"]


def variants(setting: Setting, data: Path, seed: int) -> dict[str, ImageRecipe]:
    """What is trained with a seed, by name."""
    base = replace(setting.recipe, run=replace(setting.recipe.run, seed=seed))
    base = replace(base, data=replace(base.data, root=str(data)))
    found = {"8": base}
    for name, order in (("many", "random"), ("rising", "rising")):
        grids = (*SIDES, *RECTANGLES) if name == "many" else ("4", "6", "8")
        found[name] = replace(base, data=replace(base.data, grids=grids, grid_order=order))
    for grid in (*SIDES, *RECTANGLES):
        if grid != str(OWN):
            size = shape(grid, setting.patch)
            found[grid] = replace(base, data=replace(base.data, img_size=size))
    return found


@torch.inference_mode()
def accuracy(saved: Saved, images: ImageSet) -> float:
    """Top-1 in percent."""
    look = saved.preprocessing
    batches = EvalBatches(images, look, 250, 0)
    run = lambda x: saved.model(normalize(x, look.mean, look.std))  # noqa: E731
    tally = classify(run, batches, len(saved.classes), "cpu")
    return 100 * tally.top1 / tally.images


def interpolated(saved: Saved, size: Size) -> Saved:
    """The network at another size, both sides of A interpolated and scaled: what others do."""
    rules = LinearMixer.resize_rules
    LinearMixer.resize_rules = {"weight": Rule(plain, rules["weight"].tokens), "bias": rules["bias"]}
    try:
        return at_size(saved, size)
    finally:
        LinearMixer.resize_rules = rules


def plain(matrix: torch.Tensor, step) -> torch.Tensor:
    """A N N -> M M: bicubic along the rows and the columns, by N / M so that sums stay."""
    sides = [sample(old, new) for old, new in zip(step.old, step.new)]
    both = torch.kron(*sides).to(matrix)
    return both @ matrix @ both.T * (matrix.shape[0] / len(both))


def sample(old: int, new: int) -> torch.Tensor:
    """new x old: bicubic, also to fewer samples, without antialiasing."""
    if new >= old:
        return interpolation(old, new)
    eye = torch.eye(old, dtype=torch.float64)[:, None, None]
    return nn.functional.interpolate(eye, (1, new), mode="bicubic")[:, 0, 0].T


def measure_seed(setting: Setting, data: Path, runs: Path, seed: int, val: ImageSet) -> dict:
    """Accuracies by grid and method, and seconds by training."""
    seconds, table = {}, {grid: {} for grid in (*SIDES, *RECTANGLES)}
    nets = {}
    for name, recipe in variants(setting, data, seed).items():
        nets[name], seconds[name] = trained(recipe, runs / f"seed-{seed}" / name)
    for grid, row in table.items():
        size = shape(grid, setting.patch)
        row["interpolated"] = accuracy(interpolated(nets["8"], size), val)
        row["ours"] = accuracy(at_size(nets["8"], size), val)
        row["many"] = accuracy(at_size(nets["many"], size), val)
        row["own"] = accuracy(nets[grid], val)
        print(seed, grid, row, file=sys.stderr, flush=True)
    return {"table": table, "rising": accuracy(nets["rising"], val), "seconds": seconds}


def summarized(found: dict[int, dict]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean and sample standard deviation over the seeds, by grid and method."""
    return {
        grid: {method: spread([one["table"][grid][method] for one in found.values()]) for method in METHODS}
        for grid in (*SIDES, *RECTANGLES)
    }


def spread(values: list[float]) -> dict[str, float]:
    """Mean and sample standard deviation; 0 for one value."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": round(statistics.mean(values), 2), "std": round(deviation, 2)}


def main() -> None:
    """Measure and write."""
    parser = data_parser(__doc__, "the data set", runs="resolution")
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="in place of the setting's: to see that this runs")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    setting = SETTINGS[options.setting]
    if options.epochs:
        run = replace(setting.recipe.run, epochs=options.epochs)
        setting = Setting(replace(setting.recipe, run=run))
    runs = options.runs / options.setting
    val = open_splits(replace(setting.recipe.data, root=str(options.data))).val
    found = {seed: measure_seed(setting, options.data, runs, seed, val) for seed in range(options.seeds)}
    table = summarized(found)
    single, rising = (statistics.mean(one["seconds"][name] for one in found.values()) for name in ("8", "rising"))
    numbers = {f"{grid}_{method}": cell["mean"] for grid, row in table.items() for method, cell in row.items()}
    numbers["rising"] = spread([one["rising"] for one in found.values()])["mean"]
    numbers["rising_time_share"] = round(rising / single, 3)
    result = {
        "what": f"Top-1 in percent on {options.setting} over image sizes, in tokens; trained at 8",
        "numbers": numbers,
        "target": {"rising_time_share": "at most 0.75"},
        "command": f"python benchmarks/resolution.py {options.setting} --data PATH",
        "seeds": options.seeds,
        "table": table,
        "by_seed": found,
        **conditions(),
    }
    out = options.out or RESULTS / f"resolution_{options.setting}.json"
    out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(table, indent=2), file=sys.stderr)


if __name__ == "__main__":
    main()
