"""Images at their own aspect ratios beside center crops: accuracy and time on Caltech-20.

python benchmarks/native_size.py --data PATH   writes results/native_size.json

The networks are those of one size that `benchmarks/resolution.py caltech20` trains; what is not yet there is trained.
Both ways read the validation images from their files, run torch in fp32, and take turns.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import torch
from machine import conditions
from options import data_parser
from resolution import Seed
from resolution_recipes import OWN, SETTINGS

import resmlp
from resmlp.analysis.profiling.rounds import Work, measure, spread
from resmlp.data import EvalBatches, ImageSet, open_splits
from resmlp.inference.predictor import TorchPredictor

RESULT = Path(__file__).parent.parent / "results" / "native_size.json"


def top1(predictor: TorchPredictor, images: ImageSet) -> float:
    """In percent, of all images from their files."""
    right = 0
    for batch in EvalBatches(images, predictor.preprocessing, 64, 0, shapes=predictor.shapes):
        right += int((predictor.logits(batch["image"]).argmax(1) == batch["label"]).sum())
    return 100 * right / len(images)


def compare(networks: list[Path], images: ImageSet, seconds: float) -> dict[str, float]:
    """Top-1 over the networks, and how many times as long native images take: median and quartiles."""
    ways = {"crop": None, "native": "native"}
    predictors = {way: [resmlp.load(net, "cpu", img_size=size) for net in networks] for way, size in ways.items()}
    accuracy = {way: statistics.mean(top1(net, images) for net in nets) for way, nets in predictors.items()}
    works = [Work(lambda own=nets[0]: top1(own, images), len(images)) for nets in predictors.values()]
    crop, native = measure(works, seconds, time.perf_counter, progress=lambda text: print(text, file=sys.stderr))
    ratio = spread([own / other for own, other in zip(crop.rates, native.rates)])
    times = {"times_as_long": ratio.median, "quartile_low": ratio.low, "quartile_high": ratio.high}
    return accuracy | {"native_gain": accuracy["native"] - accuracy["crop"]} | times


def main() -> None:
    """Train what is missing, measure and write."""
    parser = data_parser(__doc__, "Caltech-20", runs="resolution")
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each way")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = SETTINGS["caltech20"]
    seeds = [Seed(recipe, options.data, options.runs / "caltech20", number) for number in range(options.seeds)]
    for seed in seeds:
        if not seed.file(OWN).exists():
            seed.train(OWN)
    images = open_splits(seeds[0].recipes[OWN].data).val
    numbers = compare([seed.folder / OWN for seed in seeds], images, options.seconds)
    result = {
        "what": "Caltech-20: top-1 in percent of images at their own aspect ratios beside center crops, and the time",
        "numbers": {name: round(value, 3) for name, value in numbers.items()},
        "target": {"native_gain": "at least 0", "times_as_long": "at most 1.1"},
        "command": "python benchmarks/native_size.py --data PATH",
        "seeds": options.seeds,
        **conditions(),
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["numbers"]), file=sys.stderr)


if __name__ == "__main__":
    main()
