"""What compression costs a network of CIFAR-10: accuracy and bytes of int8, int4, pruned, 2:4 and int4 by noise.

bf16, which changes no file, is measured beside them.

python benchmarks/compression.py --data PATH   writes results/compression.json

PATH is the data of recipe `cifar10`, of which there is a run; all are measured on the same test images, `--count` of
them (by default all) spread evenly. int4 is measured by rounding to nearest as well, and after a short training with
--run.quant-noise beside one without.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import torch
from machine import conditions
from options import data_parser

import resmlp
from resmlp.compression import methods
from resmlp.compression.compress import Scores, compress_saved
from resmlp.config import Data, Model
from resmlp.data import EvalBatches, ImageSet, normalize, open_splits
from resmlp.inference.runners import in_precision
from resmlp.metrics import classify
from resmlp.models import Saved, open_model
from resmlp.recipes import RECIPES

RESULTS = Path(__file__).parent.parent / "results" / "compression.json"
FITTED = 512  # training images
NOISE, FRACTION, RATE = 0.5, 0.2, 2e-4
"""of the weights; of the training images, for one epoch; learning rate"""
TARGET = {
    "bf16_lost": (0.1, "at most 0.1 points"),
    "int8_lost": (0.3, "at most 0.3 points"),
    "int8_openvino_lost": (0.3, "at most 0.3 points"),
    "int8_share_of_safetensors": (0.25, "at most 0.25"),
    "int4_lost": (1, "at most 1 point"),
    "int4_share": (0.125, "at most 0.125"),
}
"""8 bits at a quarter of the size, 4 bits at an eighth: of whole files, model.safetensors in fp32 being 1"""


class Bench:
    """The images, and what was found so far."""

    def __init__(self, run: Path, root: str, count: int | None):
        self.weights = run / "model.safetensors"
        self.saved = open_model(self.weights)
        self.fraction = FRACTION if count is None else FRACTION / 20
        self.root, look = root, self.saved.preprocessing
        splits = open_splits(Data("cifar10", root))
        stride = 1 if count is None else max(1, len(splits.val) // count)
        self.batches = list(EvalBatches(splits.val.subset(range(0, len(splits.val), stride)), look, 500, 0))
        self.fitted = self._fitted(splits.train)
        self.original: Scores | None = None

    def _fitted(self, train: ImageSet) -> torch.Tensor:
        chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:FITTED]
        parts = EvalBatches(train.subset(chosen.tolist()), self.saved.preprocessing, FITTED, 0)
        return torch.cat([batch["image"] for batch in parts])

    @torch.inference_mode()
    def score(self, saved: Saved) -> Scores:
        """Top-1 and top-5, once for the network that all begin with."""
        if saved is self.saved and self.original:
            return self.original
        look = saved.preprocessing
        run = lambda images: saved.model(normalize(images, look.mean, look.std))  # noqa: E731
        tally = classify(run, self.batches, len(saved.classes), "cpu")
        accuracy = {"top1": tally.top1 / tally.images, "top5": tally.top5 / tally.images}
        if saved is self.saved:
            self.original = accuracy
        return accuracy

    def compress(self, to: str, place: Path, saved: Saved | None = None) -> dict:
        """What `resmlp compress` says, and the seconds it took with its measurements."""
        start = time.perf_counter()
        found = compress_saved(saved or self.saved, place, to, self.fitted, self.score).to_dict()
        found["seconds"] = round(time.perf_counter() - start, 1)
        print(f"{place.name}: {found['before']} -> {found['after']}", file=sys.stderr)
        return found

    def trained(self, noise: float, place: Path) -> Saved:
        """One epoch more on a part of the training images, with or without noise."""
        base = RECIPES["cifar10"]
        recipe = replace(
            base,
            model=Model("checkpoint", checkpoint=str(self.weights)),
            data=replace(base.data, root=self.root, fraction=self.fraction, workers=0),
            optim=replace(base.optim, lr=RATE, warmup_epochs=0),
            run=replace(base.run, epochs=1, ema=None, precision="fp32", log=(), quant_noise=noise),
        )
        resmlp.train(recipe, place)
        return open_model(place)


def main(run: Path, root: str, count: int | None) -> dict:
    """Returns what is recorded."""
    bench, start = Bench(run, root, count), time.perf_counter()
    found = {}
    with TemporaryDirectory() as aside:
        place = Path(aside)
        for to in ("int8", "int8-openvino", "int4", "pruned", "2:4"):
            found[to] = bench.compress(to, place / to.replace(":", "of"))
        with mock.patch.object(methods, "input_moments", return_value={}):
            found["int4_nearest"] = bench.compress("int4", place / "nearest")
        for name, noise in (("without", 0.0), ("noise", NOISE)):
            saved = bench.trained(noise, place / name)
            found[f"int4_trained_{name}"] = bench.compress("int4", place / f"{name}-int4", saved)
    rounded = bench.score(replace(bench.saved, model=in_precision(bench.saved.model, "bf16")))
    top1 = {"fp32": bench.original["top1"], "bf16": rounded["top1"]} | {
        name: each["after"]["top1"] for name, each in found.items()
    }
    points = {name: round(100 * (top1["fp32"] - value), 2) for name, value in top1.items()}
    eight, four = found["int8"], found["int4"]
    shares = {
        "int8_share": eight["after"]["bytes"] / eight["onnx_bytes"],
        "int8_share_of_safetensors": eight["after"]["bytes"] / eight["before"]["bytes"],
        "int4_codes_share": four["codes_bytes"] / four["before"]["bytes"],
        "int4_share": four["after"]["bytes"] / four["before"]["bytes"],
    }
    lost = {
        f"{name.replace(':', 'of').replace('-', '_')}_lost": value for name, value in points.items() if name != "fp32"
    }
    numbers = {"fp32": round(top1["fp32"], 4)} | lost | {name: round(value, 4) for name, value in shares.items()}
    return {
        "what": "CIFAR-10 after compression: top-1 lost, in points, and file size as a share of the original",
        "numbers": numbers,
        "target": {name: words for name, (_, words) in TARGET.items()},
        "reached": all(numbers[name] <= most for name, (most, _) in TARGET.items()),
        "command": "python benchmarks/compression.py --data PATH",
        "seconds": round(time.perf_counter() - start, 1),
        "images": sum(len(batch["label"]) for batch in bench.batches),
        "noise": {"share": NOISE, "fraction": bench.fraction, "lr": RATE, "epochs": 1},
        "methods": found,
        **conditions("onnxruntime", "openvino", "nncf"),
    }


if __name__ == "__main__":
    parser = data_parser(__doc__, "CIFAR-10")
    parser.add_argument("--run", type=Path, default=Path("runs/cifar10"), help="a finished run of recipe cifar10")
    parser.add_argument("--count", type=int, help="test images; the result is printed and not written")
    options = parser.parse_args()
    result = main(options.run, str(options.data), options.count)
    if options.count:
        print(json.dumps(result, indent=2))  # of few images: to look at alone
    else:
        RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["numbers"]), file=sys.stderr)
