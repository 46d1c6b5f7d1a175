"""Images a second on a CPU in 32 bits, beside timm's: python benchmarks/inference.py

Networks of ours and of timm's, of the same weights, on the same images, in turns, and among them large products of
matrices: the fastest of those is the machine's limit. Also how long `resmlp predict` takes from nothing to a label, and
how far exported networks are from torch's. About eight minutes on two cores; needs `pip install 'resmlp[export]'`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from machine import conditions
from PIL import Image
from timm.models.mlp_mixer import Affine, MlpMixer, ResBlock
from torch import nn

from resmlp.analysis.profiling.backends import allow_recompiles
from resmlp.analysis.profiling.rounds import Measured, Work, measure, spread
from resmlp.backends.autotune import Autotuned, usable_cores
from resmlp.backends.pytorch import TorchEngine
from resmlp.backends.runtimes import open_engine
from resmlp.config.preprocessing import Preprocessing
from resmlp.exporters.export import export_saved
from resmlp.exporters.formats import quiet, write_network
from resmlp.exporters.lowering import lower
from resmlp.models import Saved, Trunk, count_macs, create_model
from resmlp.models.folding import fold
from resmlp.models.weight_formats import to_timm

MAIN = "resmlp_s12"
BATCHES = {"resmlp_s12": (1, 32), "resmlp_s24": (1, 8), "resmlp_b24": (1, 8), "mixer_b16": (1, 8)}
LARGEST = {"resmlp_b24": 16}  # images in a comparison of an export with torch; 64 for all others
SHARE, BEST = 0.9, 1.08
EAGER = {1: 1.3, 32: 1.55}
TOLERANCE, COLD = 1e-4, 2.5  # of logits; seconds
RESULT = Path(__file__).parent.parent / "results" / "inference.json"

Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Pair:
    """The same network of ours and of timm's."""

    name: str
    ours: Trunk
    theirs: nn.Module

    @property
    def size(self) -> tuple[int, int]:
        """Of an image."""
        return self.ours.config.size


def pair(name: str, **sizes) -> Pair:
    """With weights of which every branch counts; a new network's hardly do."""
    torch.manual_seed(0)
    ours = create_model(name, **sizes).eval()
    with torch.no_grad():
        for key, parameter in ours.named_parameters():
            if key.endswith("gamma"):
                parameter.uniform_(0.1, 0.5)
            elif key.endswith(("bias", "beta")):
                parameter.normal_(std=0.1)
    arch, config = ours.config.architecture, ours.config
    options = {"patch_size": arch.patch_size, "num_blocks": arch.depth, "embed_dim": arch.dim}
    if name.startswith("resmlp"):  # timm's names have fixed sizes
        options |= {"mlp_ratio": arch.mlp_ratio, "block_layer": ResBlock, "norm_layer": Affine}
    theirs = MlpMixer(config.num_classes, config.size, **options)
    theirs.load_state_dict(to_timm(ours.state_dict()))
    return Pair(name, ours, theirs.eval())


def exported(network: nn.Module, size: tuple[int, int], to: str, place: Path):
    """What runs it."""
    place.mkdir(parents=True)
    with quiet():
        write_network(network, size, to, place)
    return open_engine(to, place)


class Runs:
    """All that is measured of a network: how each gives logits."""

    def __init__(self, both: Pair, place: Path, full: bool):
        write = partial(exported, size=both.size)
        self.tuned = {"ours openvino": Autotuned([write(both.ours, to="openvino", place=place / "ours-openvino")])}
        self.whole: dict[str, Run] = {
            "timm eager": TorchEngine(both.theirs).run,
            "timm openvino": write(both.theirs, to="openvino", place=place / "timm-openvino").run,
        }
        if full:
            # the same file by ours' way to share images out: what is left is what folding gives
            shared = exported(both.theirs, both.size, "openvino", place / "shared-out")
            self.tuned["shared-out timm openvino"] = Autotuned([shared])
            self.whole |= {
                "timm compile": TorchEngine(torch.compile(both.theirs, dynamic=False)).run,
                "timm onnxruntime": write(both.theirs, to="onnx", place=place / "timm-onnx").run,
                "ours eager": TorchEngine(both.ours).run,
            }
            self.tuned |= {
                "ours onnxruntime": Autotuned([write(both.ours, to="onnx", place=place / "ours-onnx")]),
                "ours folded": Autotuned([TorchEngine(lower(fold(both.ours)), "folded")]),
            }

    def settle(self, images: np.ndarray) -> dict[str, str]:
        """The way that each of those that are shared out keeps to for such a batch."""
        return {name: str(tuned.tune(images)) for name, tuned in self.tuned.items()}

    def all(self) -> dict[str, Run]:
        """By name."""
        return self.whole | self.tuned


def products(sides: Sequence[int]) -> dict[str, Work]:
    """Large products of square matrices by torch and by OpenVINO; amounts are floating-point operations."""
    works = {}
    for side in sides:
        left, right = torch.randn(2, side, side).unbind()
        works[f"torch {side}"] = Work(partial(torch.mm, left, right, out=torch.empty(side, side)), 2.0 * side**3)
    side = sides[-1]
    works[f"openvino {side}"] = Work(openvino_product(side), 2.0 * side**3)
    return works


def openvino_product(side: int) -> Callable[[], object]:
    """The same product as OpenVINO multiplies by weights."""
    import openvino
    from openvino import opset13 as ops

    left = np.random.default_rng(0).standard_normal((side, side), np.float32)
    x = ops.parameter([side, side], np.float32)
    product = openvino.Model([ops.matmul(x, ops.constant(left.T.copy()), False, True)], [x], "product")
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(usable_cores()), "NUM_STREAMS": "1"}
    request = openvino.Core().compile_model(product, "CPU", options).create_infer_request()
    return lambda: request.infer([left], share_inputs=True)


def compare(both: Pair, batch: int, runs: Runs, seconds: float, sides: Sequence[int]) -> dict:
    """A batch: images a second of each, its share of the limit, and how many times as fast ours is as each."""
    images = np.random.default_rng(0).standard_normal((batch, 3, *both.size), np.float32)
    wanted, chosen = runs.whole["timm eager"](images), runs.settle(images)
    for name, run in runs.all().items():
        off = float(np.abs(run(images) - wanted).max())
        if off > TOLERANCE * max(1.0, float(np.abs(wanted).max())):
            sys.exit(f"error: {name} differs by {off:.1e}: it runs another network, and nothing is measured")
    names, limits = list(runs.all()), products(sides)
    works = [Work(partial(run, images), batch) for run in runs.all().values()]
    found = measure([*works, *limits.values()], seconds, time.perf_counter, progress=tell(f"{both.name} at {batch}"))
    rates = dict(zip(names, found))
    full = max(found[len(names) :], key=lambda product: product.rate.median)
    flops = 2 * count_macs(both.ours, torch.zeros(1, 3, *both.size))
    ours = max((name for name in names if name.startswith("ours")), key=lambda name: rates[name].rate.median)
    theirs = max((name for name in names if name.startswith("timm")), key=lambda name: rates[name].rate.median)
    return {
        "images_per_s": {name: round(rate.rate.median, 2) for name, rate in rates.items()},
        "matmul_share": {
            name: shown([flops * a / b for a, b in zip(rate.rates, full.rates)]) for name, rate in rates.items()
        },
        "matmul_gflops": {name: round(one.rate.median / 1e9, 1) for name, one in zip(limits, found[len(names) :])},
        "ours_is": ours,
        "best_of_timm_is": theirs,
        "times_as_fast_as": {name: ratio(rates[ours], rates[name]) for name in names if name != ours},
        "ways": chosen,
    }


def ratio(ours: Measured, other: Measured) -> dict[str, float]:
    """Over the rounds."""
    return shown([a / b for a, b in zip(ours.rates, other.rates)])


def shown(numbers: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    middle = spread(numbers)
    return {"median": round(middle.median, 4), "low": round(middle.low, 4), "high": round(middle.high, 4)}


def tell(what: str) -> Callable[[str], None]:
    """Say how far it is."""
    return lambda text: print(f"{what}: {text}", file=sys.stderr, flush=True)


@torch.inference_mode()
def differences(both: Pair, place: Path, batches: Sequence[int]) -> dict[str, float]:
    """Largest difference of logits between exported networks and the one they were made of, in torch; by format."""
    size, found = both.size, {}
    images = np.random.default_rng(1).standard_normal((max(batches), 3, *size), np.float32)
    wanted = np.concatenate([both.ours(torch.from_numpy(part)).numpy() for part in np.array_split(images, len(images))])
    for to in ("onnx", "openvino"):
        folder = place / f"ours-{to}"
        engine = open_engine(to, folder) if folder.exists() else exported(both.ours, size, to, folder)
        found[to] = max(float(np.abs(engine.run(images[:batch]) - wanted[:batch]).max()) for batch in batches)
    return found


def cold_starts(both: Pair, place: Path, turns: int) -> dict[str, dict[str, float]]:
    """Seconds of `resmlp predict` on one image, by format: the best and the median of some processes."""
    noise = np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8)
    Image.fromarray(noise).save(place / "image.jpg")
    taken = {}
    for to in ("onnx", "openvino"):
        folder = place / f"cold-{to}"
        export_saved(Saved(both.ours, (), Preprocessing(both.size)), folder, to)
        command = [sys.executable, "-m", "resmlp", "predict", str(folder), str(place / "image.jpg")]
        seconds = []
        for _ in range(turns):
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - start)
        taken[to] = {"best": round(min(seconds), 2), "median": round(statistics.median(seconds), 2)}
    return taken


def conclude(tables: dict, starts: dict, off: dict) -> tuple[dict[str, float], dict[str, str], bool]:
    """The numbers, what they must reach, and whether they do."""
    numbers, goals, good = {}, {}, True

    def state(name: str, value: float, bound: float, least: bool = True) -> None:
        nonlocal good
        numbers[name], goals[name] = value, f"at {'least' if least else 'most'} {bound:g}"
        good &= value >= bound if least else value <= bound

    for batch, table in tables.get(MAIN, {}).items():
        times = table["times_as_fast_as"]
        state(f"of_matmul_batch_{batch}", table["matmul_share"][table["ours_is"]]["median"], SHARE)
        state(f"over_timm_eager_batch_{batch}", times["timm eager"]["median"], EAGER.get(batch, 1.0))
        state(f"over_best_of_timm_batch_{batch}", times[table["best_of_timm_is"]]["median"], BEST)
        if "shared-out timm openvino" in times:
            numbers[f"over_shared_out_timm_batch_{batch}"] = times["shared-out timm openvino"]["median"]
    for name, by_batch in tables.items():
        for batch, table in by_batch.items() if name != MAIN else ():
            numbers[f"{name}_of_matmul_batch_{batch}"] = table["matmul_share"][table["ours_is"]]["median"]
    state("cold_start_s", max(one["median"] for one in starts.values()), COLD, least=False)
    state("export_difference", max(value for one in off.values() for value in one.values()), TOLERANCE, least=False)
    return numbers, goals, good


def main() -> int:
    """Returns 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=BATCHES, default=list(BATCHES))
    parser.add_argument("--depth", type=int, help="layers, in place of each network's own: to see that this runs")
    parser.add_argument("--batches", type=int, nargs="+", help="in place of each network's own")
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 2048, 4096], help="of the products")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each work")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(usable_cores())
    sizes = {"depth": options.depth} if options.depth else {}
    tables: dict[str, dict] = {}
    off: dict[str, dict] = {}
    starts: dict[str, dict] = {}
    with TemporaryDirectory() as aside, torch.inference_mode(), allow_recompiles(8):
        for name in options.networks:
            both, place = pair(name, **sizes), Path(aside) / name
            runs = Runs(both, place, full=name == MAIN)
            batches = options.batches or BATCHES[name]
            tables[name] = {batch: compare(both, batch, runs, options.seconds, options.sides) for batch in batches}
            print(name, json.dumps(tables[name]), file=sys.stderr, flush=True)
            del runs
            most = min(LARGEST.get(name, 64), 2 * max(batches) if options.depth else 64)
            off[name] = differences(both, place, (1, 7, most))
            starts = starts or cold_starts(both, place, 3)
    numbers, goals, good = conclude(tables, starts, off)
    result = {
        "what": f"{MAIN} on a CPU in fp32: speed relative to a plain matrix product and to timm",
        "numbers": numbers,
        "target": goals,
        "reached": good,
        "command": "python benchmarks/inference.py",
        "networks": tables,
        "cold_start_s": starts,
        "export_differences": off,
        **conditions("timm", "onnxruntime", "openvino"),
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(numbers, indent=2), file=sys.stderr)
    return int(not good)


if __name__ == "__main__":
    raise SystemExit(main())
