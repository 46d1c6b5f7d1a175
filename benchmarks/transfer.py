"""What a start from CIFAR-10 is worth on Caltech-20: the same network and steps, from scratch and fine-tuned.

python benchmarks/transfer.py --data PATH   trains what is not yet there; writes results/transfer.json

PATH holds train/ and val/ of Caltech-20; the checkpoint is that of a run of recipe `cifar10`. Each way is tried at the
rates of RATES, and its better rate counts, so that neither loses by a rate made for the other.
"""

import json
import statistics
from pathlib import Path

import torch
from machine import conditions
from options import data_parser

import resmlp
from resmlp.config import Augment, Data, ImageRecipe, Model, Optim, Run
from resmlp.recipes import RECIPES

RESULTS = Path(__file__).parent.parent / "results" / "transfer.json"
EPOCHS, BATCH = 20, 64
RATES = {"scratch": (1e-3, 3e-3), "finetuned": (5e-4, 2e-3)}


def recipe(way: str, rate: float, root: str, checkpoint: str, seed: int) -> ImageRecipe:
    """Both ways crop, flip and anneal alike; the network is that of recipe `cifar10` at 32x32."""
    seen = RECIPES["cifar10"].data
    start = Model("checkpoint", checkpoint=checkpoint) if way == "finetuned" else RECIPES["cifar10"].model
    return ImageRecipe(
        name="transfer",
        model=start,
        data=Data("folder", root, (32,), BATCH, workers=0, crop_ratio=0.9, mean=seen.mean, std=seen.std),
        augment=Augment(scale=(0.35, 1.0)),
        optim=Optim("adamw", lr=rate, weight_decay=0.05, warmup_epochs=1, clip=1.0),
        run=Run(epochs=EPOCHS, seed=seed, precision="bf16", ema=0.98, eval_every=EPOCHS, log=()),
    )


def top1(folder: Path) -> float:
    """Of the saved weights, at the end."""
    summary = json.loads((folder / "summary.json").read_text())
    return summary["last"][summary["weights"]]["top1"]


def main(root: str, checkpoint: str, out: Path, seeds: list[int]) -> dict:
    """Train every way at every rate and seed that has no summary yet; returns what is recorded."""
    runs: dict[str, dict[str, list[float]]] = {way: {} for way in RATES}
    for seed in seeds:
        for way, rates in RATES.items():
            for rate in rates:
                folder = out / f"{way}-{rate:g}-{seed}"
                if not (folder / "summary.json").is_file():
                    resmlp.train(recipe(way, rate, root, checkpoint, seed), folder)
                runs[way].setdefault(f"{rate:g}", []).append(round(top1(folder), 4))
    best = {way: max(statistics.mean(values) for values in rates.values()) for way, rates in runs.items()}
    numbers = {way: round(value, 4) for way, value in best.items()}
    return {
        "what": f"Caltech-20 at 32x32, {EPOCHS} epochs: from scratch, and fine-tuned from CIFAR-10",
        "numbers": numbers | {"gain": round(numbers["finetuned"] - numbers["scratch"], 4)},
        "runs": runs,
        "seeds": seeds,
        "target": {"gain": 0.0},
        "command": "python benchmarks/transfer.py --data PATH --seeds " + " ".join(map(str, seeds)),
        **conditions(),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = data_parser(__doc__, "Caltech-20", runs="transfer")
    parser.add_argument("--checkpoint", default="runs/cifar10", help="a finished run of recipe cifar10")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options = parser.parse_args()
    result = main(str(options.data), options.checkpoint, options.runs, options.seeds)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
