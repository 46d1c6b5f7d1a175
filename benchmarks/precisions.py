"""Images a second on a CPU in every precision it has, beside timm's OpenVINO export: python benchmarks/precisions.py

For each network and batch: ours in fp32, bf16 and int8, each by its fastest backend, timm's network of the same weights
by OpenVINO as it comes, and large products of matrices in each precision, in turns. The share is that of the fastest
product of the same precision. Needs `pip install 'resmlp[all]'`; about twenty minutes on two cores.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from inference import BATCHES, Pair, pair, products, ratio, shown, tell
from machine import conditions

from resmlp.analysis.profiling.rounds import Measured, Work, measure
from resmlp.backends.agreement import agreement, outputs_of
from resmlp.backends.autotune import Autotuned, Engine, usable_cores
from resmlp.backends.check_images import check_images, check_pixels
from resmlp.backends.runtimes import open_engine, openvino_core
from resmlp.compression.int8_openvino import quantize, write_int8_openvino
from resmlp.config.precision import Execution, Precision
from resmlp.config.preprocessing import Preprocessing
from resmlp.exporters.formats import quiet, write_network
from resmlp.inference.runners import make_engines
from resmlp.models import Saved, count_macs
from resmlp.utils.files import write_text
from resmlp.utils.hardware import cpu_precisions, instruction_set

SIZES, PEER, SIDE, CALIBRATION = (1, 8, 32), "timm openvino", 2048, 64
PRODUCTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""how OpenVINO is told to multiply; in int8 the file says it"""
RESULT = Path(__file__).parent.parent / "results" / "precisions.json"


class Precisions:
    """A network of ours in every precision of this CPU."""

    def __init__(self, both: Pair, place: Path):
        self.size, saved = both.size, Saved(both.ours, (), Preprocessing(both.size))
        self.engines: dict[Precision, list[Engine]] = {
            name: make_engines(both.ours, self.size, "auto", Execution("cpu", "auto", name), (name,))
            for name in cpu_precisions()
        }
        folder = place / "int8"
        folder.mkdir(parents=True)
        parts = [torch.from_numpy(part) for _, part in zip(range(CALIBRATION // 32), check_pixels(self.size))]
        write_int8_openvino(saved, torch.cat(parts), folder)
        self.engines["int8"] = [open_engine("openvino", folder, precision="int8")]

    def agreements(self) -> dict[str, dict[str, float]]:
        """Of each lower precision with fp32 on the check images, by OpenVINO where it has the precision."""
        images = partial(check_images, self.size)
        reference = outputs_of(self.engines["fp32"][-1], images)
        found = {name: agreement(reference, outputs_of(engines[-1], images)) for name, engines in self.engines.items()}
        return {
            name: {"top1": one.top1, "difference": round(one.difference, 5)}
            for name, one in found.items()
            if name != "fp32"
        }


def product(precision: Precision, side: int, place: Path) -> Work:
    """A large product by OpenVINO in a precision, of one input by weights."""
    import openvino
    from openvino import opset13 as ops

    left, right = np.random.default_rng(0).standard_normal((2, side, side), np.float32)
    x = ops.parameter([-1, side], np.float32)
    network: object = openvino.Model([ops.matmul(x, ops.constant(right), False, True)], [x], "product")
    if precision == "int8":
        place.mkdir(parents=True, exist_ok=True)
        openvino.save_model(network, place / "product.xml", compress_to_fp16=False)
        quantize(place / "product.xml", torch.from_numpy(left), place / "int8.xml")
        network = place / "int8.xml"
    options = {"INFERENCE_PRECISION_HINT": PRODUCTS[precision], "INFERENCE_NUM_THREADS": str(usable_cores())}
    request = openvino_core().compile_model(network, "CPU", options | {"NUM_STREAMS": "1"}).create_infer_request()
    return Work(lambda: request.infer([left], share_inputs=True), 2.0 * side**3)


def limits(precision: Precision, side: int, place: Path) -> list[Work]:
    """Large products of a precision."""
    found = [product(precision, side, place)]
    if precision == "fp32":
        found += products([side]).values()
    if precision == "bf16":
        left, right = torch.randn(2, side, side).bfloat16().unbind()
        found.append(Work(partial(torch.mm, left, right), 2.0 * side**3))
    return found


def compare(both: Pair, batch: int, ours: Precisions, timm: Callable, place: Path, options: argparse.Namespace) -> dict:
    """Images a second of each precision, its share of the limit, and how many times as fast it is as the peer."""
    images = np.random.default_rng(0).standard_normal((batch, 3, *both.size), np.float32)
    tuned = {name: Autotuned(engines) for name, engines in ours.engines.items()}
    ways = {name: str(run.tune(images)) for name, run in tuned.items()}
    works = [Work(partial(run, images), batch) for run in (timm, *tuned.values())]
    bounds = {name: limits(name, options.side, place) for name in tuned}
    flat = [work for several in bounds.values() for work in several]
    found = measure([*works, *flat], options.seconds, time.perf_counter, progress=tell(f"{both.name} at {batch}"))
    peer, rates, rest = found[0], dict(zip(tuned, found[1:])), iter(found[1 + len(tuned) :])
    peaks = {name: fastest([next(rest) for _ in several]) for name, several in bounds.items()}
    flops = 2 * count_macs(both.ours, torch.zeros(1, 3, *both.size))
    return {
        name: {
            "images_per_s": round(rate.rate.median, 2),
            "share_of_peak": shown([flops * a / b for a, b in zip(rate.rates, peaks[name].rates)]),
            "times_as_fast_as_timm": ratio(rate, peer),
            "times_as_fast_as_fp32": ratio(rate, rates["fp32"]),
            "way": ways[name],
            "peak_gflops": round(peaks[name].rate.median / 1e9, 1),
        }
        for name, rate in rates.items()
    } | {PEER: {"images_per_s": round(peer.rate.median, 2)}}


def fastest(found: list[Measured]) -> Measured:
    """The one of the highest median."""
    return max(found, key=lambda one: one.rate.median)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=BATCHES, default=list(BATCHES))
    parser.add_argument("--depth", type=int, help="layers, in place of each network's own: to see that this runs")
    parser.add_argument("--batches", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--side", type=int, default=SIDE, help="of the products")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each work")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(usable_cores())
    found = earlier(options.out)
    with TemporaryDirectory() as aside, torch.inference_mode():
        for name in options.networks:
            both, place = pair(name, **({"depth": options.depth} if options.depth else {})), Path(aside) / name
            ours = Precisions(both, place)
            timm = as_it_comes(both, place / "timm")
            table = {str(n): compare(both, n, ours, timm, place, options) for n in options.batches}
            found[name] = {"batches": table, "agreement_with_fp32": ours.agreements()}
            write_text(options.out, json.dumps(result(found), indent=2) + "\n")  # the next one may take long


def earlier(path: Path) -> dict[str, dict]:
    """The networks that were measured under the conditions of this process."""
    if not path.is_file():
        return {}
    old = json.loads(path.read_text())
    return old["networks"] if {key: old[key] for key in ("machine", "versions")} == here() else {}


def here() -> dict[str, dict]:
    """The machine and the versions."""
    return conditions("timm", "openvino", "onnxruntime", "nncf")


def result(found: dict[str, dict]) -> dict:
    """What is recorded, of networks in the order of `BATCHES`."""
    networks = {name: found[name] for name in BATCHES if name in found}
    return {
        "what": "Images a second on a CPU by precision, as a share of products of that precision and beside timm's",
        "numbers": numbers(networks),
        "target": {},
        "command": "python benchmarks/precisions.py",
        "instruction_sets": {name: instruction_set(name) for name in (*cpu_precisions(), "int8")},
        "networks": networks,
        "table": table(networks),
        **here(),
    }


def as_it_comes(both: Pair, folder: Path) -> Callable[[np.ndarray], object]:
    """timm's network as OpenVINO runs it by itself: in the precision and with the streams that it chooses."""
    folder.mkdir(parents=True)
    with quiet():
        write_network(both.theirs, both.size, "openvino", folder)
    request = openvino_core().compile_model(folder / "model.xml", "CPU").create_infer_request()
    return lambda images: request.infer([images], share_inputs=True)[0]


def table(networks: dict[str, dict]) -> dict[str, dict[str, str]]:
    """For docs/performance.md: a row for each network and precision."""
    rows = {}
    for name, one in networks.items():
        for precision in next(iter(one["batches"].values())):
            row = {f"batch {size}": "" for size in SIZES}
            row |= {f"batch {size}": cell(cells[precision]) for size, cells in one["batches"].items()}
            same = one["agreement_with_fp32"].get(precision)
            row["same top-1 as fp32"] = f"{100 * same['top1']:.1f} %" if same else ""
            row["difference of logits"] = f"{100 * same['difference']:.2f} % of their range" if same else ""
            rows[f"{name}, {precision}"] = row
    return rows


def cell(found: dict) -> str:
    """Images a second, and the share of the fastest product if it was measured."""
    share = f" ({100 * found['share_of_peak']['median']:.0f} %)" if "share_of_peak" in found else ""
    return f"{found['images_per_s']:.1f}{share}"


def numbers(networks: dict[str, dict]) -> dict[str, float]:
    """For the generated tables: how many times as fast as the peer, by network, batch and precision."""
    return {
        f"{name}_{precision}_batch_{batch}_over_timm": row["times_as_fast_as_timm"]["median"]
        for name, one in networks.items()
        for batch, rows in one["batches"].items()
        for precision, row in rows.items()
        if "times_as_fast_as_timm" in row
    }


if __name__ == "__main__":
    main()
