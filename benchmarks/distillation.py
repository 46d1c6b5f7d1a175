"""What a teacher and a modern recipe are worth: one small student on CIFAR-10, trained in several ways.

python benchmarks/distillation.py --data PATH [WAY:SEED...]   trains what is not yet there, on one thread; writes
results/distillation.json from all runs that are there

PATH holds CIFAR-10. The teacher is that of `cifar_teacher.py`. The ways differ in what WAYS says and in nothing else:
network, start, data, batch, number of steps and seed are the same.
"""

import json
import statistics
from dataclasses import replace
from pathlib import Path

import cifar_teacher
import torch
from machine import conditions
from options import data_parser

import resmlp
from resmlp.config import ImageRecipe
from resmlp.config.tasks import Distill
from resmlp.recipes import RECIPES

RESULTS = Path(__file__).parent.parent / "results" / "distillation.json"
EPOCHS = 6
OLDSCHOOL = RECIPES["cifar10-oldschool"]
STEPS_AT = tuple(round(EPOCHS * share) for share in (1 / 3, 2 / 3, 8 / 9))  # ResNet's 30, 60 and 80 of 90 epochs
BASE = replace(RECIPES["cifar10"], run=replace(RECIPES["cifar10"].run, epochs=EPOCHS, eval_every=EPOCHS, compile=True))
HALF = Distill(targets="soft", temperature=2.0, alpha=0.5)
MIXED = RECIPES["distill-cifar10"].augment
WAYS: dict[str, ImageRecipe] = {
    "plain": BASE,
    "soft": replace(BASE, task=Distill(targets="soft", temperature=4.0, alpha=0.9)),
    "hard": replace(BASE, task=Distill(targets="hard", alpha=0.5)),
    "half": replace(BASE, task=HALF),
    "mixed": replace(BASE, augment=MIXED),
    "mixed-half": replace(BASE, augment=MIXED, task=HALF),
    "oldschool": replace(
        BASE,
        task=OLDSCHOOL.task,
        augment=OLDSCHOOL.augment,
        optim=replace(OLDSCHOOL.optim, milestones=STEPS_AT),
        run=replace(BASE.run, ema=None),
    ),
}

COMMON = ("mixed:0", "mixed-half:0", "oldschool:0", "plain:0", "soft:0")
"""the runs of results/distillation.json"""
PAIRS = (("soft", "plain"), ("half", "plain"), ("hard", "plain"), ("mixed-half", "mixed"), ("plain", "oldschool"))
"""a way, and the one it is compared with"""


def train(root: str, teacher: Path, out: Path, way: str, seed: int) -> None:
    """One run into its folder; one that is there already is continued, or left as it is when done."""
    recipe = WAYS[way]
    recipe = replace(recipe, data=replace(recipe.data, root=root, workers=0), run=replace(recipe.run, seed=seed))
    parts = {"teacher": cifar_teacher.load(teacher)} if isinstance(recipe.task, Distill) else {}
    resmlp.train(recipe, out / f"{way}-{seed}", **parts)


def record(out: Path, teacher_top1: float) -> dict:
    """Top-1 at the end of each run, the better of raw and averaged weights; means, and how far each is from plain."""
    runs = {path.parent.name: json.loads(path.read_text()) for path in sorted(out.glob("*/summary.json"))}
    top1 = {name: run["last"][run["weights"]]["top1"] for name, run in runs.items()}
    ways = {way: [value for name, value in top1.items() if name.rsplit("-", 1)[0] == way] for way in WAYS}
    mean = {way: round(statistics.mean(values), 4) for way, values in ways.items() if values}
    gains = {
        f"{way}_over_{base}": round(mean[way] - mean[base], 4) for way, base in PAIRS if {way, base} <= mean.keys()
    }
    return {
        "what": f"One student on CIFAR-10, {EPOCHS} epochs: labels, labels and a teacher, the ResNet recipe of 2015",
        "numbers": mean | gains | {"teacher": round(teacher_top1, 4)},
        "runs": top1,
        "target": {"mixed-half_over_mixed": 0.01, "plain_over_oldschool": 0.0},
        "command": "python benchmarks/distillation.py --data PATH "
        + " ".join(":".join(n.rsplit("-", 1)) for n in runs),
        "seconds": round(sum(run["seconds"] for run in runs.values()), 1),
        "parameters": next(iter(runs.values()))["parameters"],
        **conditions(),
        "versions": next(iter(runs.values()))["versions"],
    }


def main() -> None:
    """Train, and write results/distillation.json."""
    parser = data_parser(__doc__, "CIFAR-10", runs="distillation")
    parser.add_argument("ways", nargs="*", default=COMMON, metavar="WAY:SEED", help=f"ways: {', '.join(WAYS)}")
    options = parser.parse_args()
    ways = [(way, seed) for way, _, seed in (run.partition(":") for run in options.ways)]
    for way, seed in ways:
        if way not in WAYS or not seed.isdecimal():
            parser.error(f"{way}:{seed} is not WAY:SEED, with a way of {', '.join(WAYS)}")
    torch.set_num_threads(1)
    root, teacher = str(options.data), options.runs / "teacher.safetensors"
    if not teacher.is_file():
        cifar_teacher.train(root, teacher)
    for way, seed in ways:
        train(root, teacher, options.runs, way, int(seed))
    result = record(options.runs, cifar_teacher.top1(teacher, root))
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
