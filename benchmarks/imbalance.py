"""Classes of 3 and of 60 images: balanced accuracy without balance, with weights in the loss, and with resampling.

python benchmarks/imbalance.py --data PATH   trains what is not yet there; writes results/imbalance.json

PATH holds train/ and val/ of Caltech-20. Links to it make a training set in which every second class has a twentieth
of its images; the validation set is that of Caltech-20. A network of 0.4 M parameters trains in each way for the same
number of steps.
"""

import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from machine import conditions
from options import data_parser

import resmlp
from resmlp.config import Augment, Data, ImageRecipe, Model, Optim, Run
from resmlp.config.tasks import Supervised

RESULTS = Path(__file__).parent.parent / "results" / "imbalance.json"
RATIO, MOST = 20, 60
EPOCHS, BATCH, SIDE = 30, 64, 64
WAYS: dict[str, tuple[float, float | None]] = {"none": (0, None), "balance": (0.75, None), "resample": (0, 1)}
"""name of a way -> --task.balance and --data.resample; weights of 1:20 in a batch of 64 are too uneven for power 1"""


def make_tree(source: Path, tree: Path) -> None:
    """Links to the images of `source`: at most 60 images of a class, and 3 of every second class; all of val/."""
    for number, folder in enumerate(sorted((source / "train").iterdir())):
        images = sorted(folder.iterdir())[: MOST // RATIO if number % 2 else MOST]
        (tree / "train" / folder.name).mkdir(parents=True)
        for image in images:
            (tree / "train" / folder.name / image.name).symlink_to(image.resolve())
    (tree / "val").symlink_to((source / "val").resolve())


def recipe(way: str, root: str, seed: int) -> ImageRecipe:
    """All ways differ in the two powers only."""
    balance, resample = WAYS[way]
    return ImageRecipe(
        name="imbalance",
        task=Supervised(label_smoothing=0.1, balance=balance),
        model=Model("resmlp_cifar", patch_size=16, dim=96, depth=4, init="local", layer_scale=1.0),
        data=replace(Data("folder", root, (SIDE,), BATCH, workers=0, crop_ratio=1.0), resample=resample),
        augment=Augment(scale=(0.35, 1.0)),
        optim=Optim("adamw", lr=2e-3, weight_decay=0.05, warmup_epochs=1),
        run=Run(epochs=EPOCHS, seed=seed, ema=0.98, eval_every=EPOCHS, log=(), device="cpu"),
    )


def scores(folder: Path, root: str) -> dict[str, float]:
    """Top-1 and balanced accuracy on the validation set, and the mean accuracy of the rare classes."""
    found = resmlp.evaluate(folder, root, device="cpu").scores
    rare = [found["per_class"][name] for name in sorted(found["per_class"])[1::2]]
    return {"top1": found["top1"], "balanced_accuracy": found["balanced_accuracy"], "rare": statistics.mean(rare)}


def main(source: Path, out: Path, seeds: list[int]) -> dict:
    """Train every way at every seed that has no summary yet; returns what is recorded."""
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as temporary:
        make_tree(source, Path(temporary))
        for seed in seeds:
            for way, results in runs.items():
                folder = out / f"{way}-{seed}"
                if not (folder / "summary.json").is_file():
                    resmlp.train(recipe(way, temporary, seed), folder)
                results.append({name: round(value, 4) for name, value in scores(folder, temporary).items()})
    means = {way: statistics.mean(result["balanced_accuracy"] for result in results) for way, results in runs.items()}
    numbers = {way: round(value, 4) for way, value in means.items()}
    gains = {f"{way}_gain": round(numbers[way] - numbers["none"], 4) for way in WAYS if way != "none"}
    return {
        "what": f"Caltech-20 with half of the classes at 1:{RATIO}: balanced accuracy by the way of balancing",
        "numbers": numbers | gains,
        "runs": runs,
        "seeds": seeds,
        "target": {"resample_gain": 0.05},
        "command": "python benchmarks/imbalance.py --data PATH --seeds " + " ".join(map(str, seeds)),
        **conditions(),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = data_parser(__doc__, "Caltech-20", runs="imbalance")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    result = main(options.data, options.runs, options.seeds)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
