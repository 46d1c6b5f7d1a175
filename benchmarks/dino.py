"""What DINO learns of CIFAR-10 on two cores, against pixels and an untrained network; and what it is worth.

python benchmarks/dino.py --data PATH [PART...]   trains what is not yet there; writes results/dino_PART.json

features  recipe `dino-cifar10`, and k-NN among all 50,000 images by its features, by pixels, and untrained
tenth     the same network on a tenth of the labels for the same steps, from those features and from scratch; each at
          the rates of RATES, of which the better one counts
crops     the four ways of --task.local-crops, an epoch each
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from machine import conditions
from options import data_parser

import resmlp
from resmlp.config import Augment, ImageRecipe, Model, Optim, Run
from resmlp.config.evaluation import EvalData
from resmlp.models import create_model, save_model
from resmlp.recipes import RECIPES
from resmlp.utils.logger import read_metrics
from resmlp.utils.seeding import seed_all

RESULTS = Path(__file__).parent.parent / "results"
DINO = RECIPES["dino-cifar10"]
EPOCHS, RATES = 20, {"scratch": (1e-3, 3e-3), "finetuned": (1e-3, 3e-3)}
CROPS = ("interpolate", "resize", "pad", "none")

Numbers = dict[str, Any]


def trained(recipe: ImageRecipe, folder: Path) -> Numbers:
    """The summary of `recipe`'s run in `folder`, which is trained if it has not been."""
    if not (folder / "summary.json").is_file():
        resmlp.train(recipe, folder)
    return json.loads((folder / "summary.json").read_text())


def neighbors(model: str, root: str) -> float:
    """k-NN at k = 20 on the 10,000 test images, among the 50,000."""
    return resmlp.evaluate(model, protocol="knn", data=EvalData(root=root, workers=1))["knn@20"]


def untrained(folder: Path) -> str:
    """The recipe's network as it starts, saved."""
    seed_all(DINO.run.seed)
    model = create_model(DINO.model.name, num_classes=0, img_size=DINO.data.size, **DINO.model.changes())
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder, model, (), DINO.data.preprocessing())
    return str(folder)


def features(root: str, out: Path) -> Iterator[tuple[str, Any]]:
    """The recipe as it is, and its curve."""
    summary = trained(replace(DINO, data=replace(DINO.data, root=root)), out / "dino")
    models = {"knn": str(out / "dino"), "knn_untrained": untrained(out / "untrained"), "knn_pixels": "pixels"}
    found = {name: neighbors(model, root) for name, model in models.items()}
    yield (
        "what",
        (
            "DINO on CIFAR-10, on two cores: "
            "k-NN accuracy (k = 20) of its features, of the untrained network, and of raw pixels"
        ),
    )
    yield "numbers", found
    yield "target", {"knn": f"more than {max(found['knn_untrained'], found['knn_pixels']):g}"}
    yield "seconds", summary["seconds"]
    yield "parameters", summary["parameters"]
    kept = {"train": ("loss", "teacher_entropy", "kl", "feature_rank"), "eval": ("knn", "feature_rank")}
    lines = read_metrics(out / "dino")
    yield "curve", [{k: line[k] for k in ("kind", "step", *kept[line["kind"]])} for line in lines]


def tenth(root: str, out: Path) -> Iterator[tuple[str, Any]]:
    """Top-1 after the same number of steps on 5,000 images with labels."""
    starts = {"scratch": DINO.model, "finetuned": Model("checkpoint", checkpoint=str(out / "dino"))}
    runs: dict[str, dict[str, float]] = {way: {} for way in RATES}
    for way, rates in RATES.items():
        for rate in rates:
            recipe = ImageRecipe(
                name=f"tenth-{way}",
                model=starts[way],
                data=replace(DINO.data, root=root, fraction=0.1),
                augment=Augment(scale=(0.35, 1.0)),
                optim=Optim("adamw", lr=rate, weight_decay=0.05, warmup_epochs=1, clip=1.0),
                run=Run(epochs=EPOCHS, precision="bf16", ema=0.98, eval_every=EPOCHS, log=()),
            )
            summary = trained(recipe, out / f"tenth-{way}-{rate:g}")
            runs[way][f"{rate:g}"] = round(summary["last"][summary["weights"]]["top1"], 4)
    numbers = {way: max(rates.values()) for way, rates in runs.items()}
    yield "what", f"A tenth of the labels of CIFAR-10, {EPOCHS} epochs: from scratch, and fine-tuned from DINO"
    yield "numbers", numbers | {"gain": round(numbers["finetuned"] - numbers["scratch"], 4)}
    yield "target", {"gain": "more than 0"}
    yield "runs", runs


def crops(root: str, out: Path) -> Iterator[tuple[str, Any]]:
    """k-NN in training (among 20,000) after an epoch of each way, and how long that took."""
    found = {}
    for way in CROPS:
        recipe = replace(
            DINO,
            task=replace(DINO.task, local_crops=way),
            data=replace(DINO.data, root=root),
            optim=replace(DINO.optim, warmup_epochs=0.2),
            run=replace(DINO.run, epochs=1),
        )
        summary = trained(recipe, out / f"crops-{way}")
        found[way] = {"knn": round(summary["knn"], 4), "samples_per_s": summary["samples_per_s"]}
    yield "what", "DINO on CIFAR-10, by --task.local-crops: k-NN accuracy after one epoch"
    yield "numbers", {way: numbers["knn"] for way, numbers in found.items()}
    yield "target", {}
    yield "runs", found


PARTS = {"features": features, "tenth": tenth, "crops": crops}

if __name__ == "__main__":
    parser = data_parser(__doc__, "CIFAR-10", runs="dino")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; by default all")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: they are {', '.join(PARTS)}")
    for part in options.parts or PARTS:
        start = time.monotonic()
        result = dict(PARTS[part](str(options.data), options.runs))
        result |= {"command": f"python benchmarks/dino.py --data PATH {part}", **conditions()}
        (RESULTS / f"dino_{part}.json").write_text(json.dumps(result, indent=2) + "\n")
        print(f"{part}: {result['numbers']} in {time.monotonic() - start:.0f} s", file=sys.stderr)
