"""Which classes does a frame show? CamVid with several labels for each image, compared with the frequency baseline.

python benchmarks/multilabel.py --data PATH   writes labels.csv and a run into --runs; prints the scores

PATH is CamVid with images/ and labels/. A frame shows a class that covers over a fifth of its pixels (SHARE); train and
val are trained on, test is the validation set. A constant prediction has the frequency of a class as its average
precision.
"""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from options import data_parser
from PIL import Image

import resmlp
from resmlp.config import Augment, Data, ImageRecipe, Model, Optim, Run
from resmlp.recipes import RECIPES

SHARE, HELD_OUT = 0.2, "test"
SIZE, EPOCHS = (72, 96), 40


def write_table(camvid: Path, table: Path) -> float:
    """Write file, label and split of each frame; returns the mean average precision of the frequency baseline."""
    lines = (camvid / "classes.txt").read_text(encoding="utf-8").splitlines()
    names = [name for name in (line.split()[1] for line in lines) if name != "unlabelled"]
    rows, held_out = [], []
    for mask in sorted((camvid / "labels").glob("*/*.png")):
        labels, part = np.asarray(Image.open(mask)), mask.parent.name
        shown = np.bincount(labels.ravel(), minlength=len(names))[: len(names)] > SHARE * labels.size
        held_out += [shown] * (part == HELD_OUT)
        label = "|".join(name for name, present in zip(names, shown) if present)
        rows.append((f"{part}/{mask.stem}", label, "val" if part == HELD_OUT else "train"))
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file", "label", "split"), *rows])
    frequencies = np.mean(held_out, 0)
    return float(frequencies[frequencies > 0].mean())


def recipe(root: str, table: str) -> ImageRecipe:
    """A network of under a million parameters, for a few minutes on two cores."""
    return replace(
        RECIPES["multilabel"],
        model=Model("resmlp_cifar", patch_size=8, dim=128, depth=4, init="local", layer_scale=1.0),
        data=Data("folder", root, table, img_size=SIZE, batch_size=26, workers=0, crop_ratio=1.0),
        augment=Augment(scale=(0.8, 1.0), jitter=0.3),
        optim=Optim("adamw", lr=2e-3, weight_decay=0.05, warmup_epochs=2, clip=1.0),
        run=Run(epochs=EPOCHS, precision="fp32", ema=0.98, eval_every=10, log=()),
    )


def main(root: str, out: Path) -> dict[str, float]:
    """Train what is not yet there; the scores of the saved weights and of the baseline."""
    baseline = write_table(Path(root), out / "labels.csv")
    summary = resmlp.train(recipe(f"{root}/images", str(out / "labels.csv")), out / "run")
    return {"baseline": baseline, **summary.last[summary.weights], "seconds": summary.seconds}


if __name__ == "__main__":
    options = data_parser(__doc__, "CamVid, with images/ and labels/", "multilabel").parse_args()
    print(json.dumps(main(options.data, options.runs), indent=2))
