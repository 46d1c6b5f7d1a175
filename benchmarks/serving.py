"""Load on `resmlp serve` over loopback: throughput, times, memory, with good, bad and abandoned requests mixed.

The server is a process of its own; the clients are one thread of this one, on the same cores. The network in process,
with the same decoding and at its best batch, the server, and the server with batches of one image take turns.
"""

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from load_client import Request, Seen, abandon, load, request
from machine import conditions
from PIL import Image

import resmlp
from resmlp.analysis.profiling.rounds import spread
from resmlp.config.precision import Execution
from resmlp.serving.server import serve
from resmlp.serving.state import Settings, State

RESULTS = Path(__file__).parent.parent / "results"
BATCHES = (1, 2, 4, 8, 16, 32)
ROUNDS = 5
"""in which the network in process and the server with and without batching take turns"""
TARGETS = {
    "throughput": {"throughput_of_in_process": "at least 0.85", "batching_over_none": "at least 2"},
    "load": {
        "p99_over_p50": "at most 3",
        "server_errors": "0",
        "memory_mb_per_hour": "less than 1",
        "decode_and_resize_share": "at most 0.25",
    },
}


def photo(number: int) -> bytes:
    """A JPEG of 500 x 375, smooth with some noise, of about 60 KB."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
        (500, 375), Image.Resampling.BICUBIC
    )
    pixels = np.asarray(coarse, np.int16) + rng.integers(-12, 13, (375, 500, 1))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "jpeg", quality=90)
    return file.getvalue()


@contextmanager
def server(model: str, batch: int | None = None) -> Iterator[int]:
    """The port of a server process; `batch` limits its batches."""
    command = [sys.executable, __file__, "--serve", model, *(["--batch", str(batch)] if batch else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.communicate()


def run_server(model: str, batch: int | None) -> None:
    """What the process does."""

    def ready(url: str, state: State) -> None:
        for network in state.networks.by_name.values():
            for operation in network.operations.values():
                operation.batch_size = batch or operation.batch_size
        print(url.rpartition(":")[2], flush=True)

    with contextlib.suppress(KeyboardInterrupt):  # the signal that stops it
        serve([model], Settings(port=0), Execution(precision="auto", images=1), ready)


def in_process(model: str, photos: list[bytes], seconds: float, batches: Sequence[int] = BATCHES) -> dict[int, float]:
    """Images a second at each batch size, decoding included."""
    predictor = resmlp.load(model)
    rates = {}
    for batch in batches:
        predictor.batch_size = batch
        predictor.predict(photos[:batch])
        done, started = 0, time.monotonic()
        while time.monotonic() - started < seconds:
            predictor.predict([photos[(done + i) % len(photos)] for i in range(batch)])
            done += batch
        rates[batch] = round(done / (time.monotonic() - started), 2)
    return rates


def metrics(port: int) -> dict[str, float]:
    """The counters of the server."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
        lines = [line for line in response.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def grown(port: int, before: dict[str, float]) -> dict[str, float]:
    """How much each counter grew."""
    return {name: value - before.get(name, 0) for name, value in metrics(port).items()}


def mixed(photos: list[bytes]) -> list[Request]:
    """Seven good requests of ten; the others are bad in each way that a client can be."""
    good = [Request(request("/v1/predict", data, "image/jpeg")) for data in photos]
    bad = [
        Request(request("/v1/predict", photos[0][:5000], "image/jpeg"), 4),
        Request(request("/v1/predict", b"text", "text/plain"), 4),
        Request(request("/v1/predict?model=none", photos[0], "image/jpeg"), 4),
        Request(request("/v1/predict", b"{", "application/json"), 4),
        Request(request("/v1/predict", b"", "image/jpeg", 10**9), 4),
        Request(request("/v1/predict?top=0", photos[0], "image/jpeg"), 4),
    ]
    return [good[i % len(good)] if i % 10 < 7 else bad[i % len(bad)] for i in range(60)]


def slope(samples: list[tuple[float, float]]) -> float:
    """Of a line through (seconds, bytes), in MB an hour."""
    line = statistics.linear_regression(*zip(*samples))
    return line.slope * 3600 / 2**20


def long_run(port: int, photos: list[bytes], args: argparse.Namespace) -> dict[str, Any]:
    """The mixed load in parts, with the abandoned requests spread over them, and the memory after each."""
    load(port, mixed(photos), args.connections, args.seconds / 5)  # warm-up
    before, total, samples, started = metrics(port), Seen(), list[tuple[float, float]](), time.monotonic()
    for _ in range(args.parts):
        abandon(port, request("/v1/predict", photos[0], "image/jpeg"), args.abandoned // args.parts)
        part = load(port, mixed(photos), args.connections, args.seconds / args.parts)
        total.statuses += part.statuses
        total.seconds += part.seconds
        total.wrong += part.wrong
        samples.append((time.monotonic() - started, metrics(port)["process_resident_memory_bytes"]))
    counted = grown(port, before)
    ordered = sorted(total.seconds)
    p50, p99 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
    parts = sum(counted[f'resmlp_part_seconds_sum{{part="{part}"}}'] for part in ("decode", "resize"))
    return {
        "statuses": dict(sorted(total.statuses.items())),
        "wrong": total.wrong[:5],
        "p50_ms": round(1000 * p50, 1),
        "p99_ms": round(1000 * p99, 1),
        "abandoned": args.abandoned,
        "decode_and_resize_share": round(parts / sum(total.seconds), 4),
        "memory_mb": [round(memory / 2**20, 1) for _, memory in samples],
        "memory_mb_per_hour": round(slope(samples), 3) if len(samples) > 1 else 0.0,
    }


def throughput(args: argparse.Namespace, photos: list[bytes]) -> dict[str, Any]:
    """Images a second in turns: in process, of the server, and of the server without batching."""
    good = [Request(request("/v1/predict", data, "image/jpeg")) for data in photos]
    scan = in_process(args.model, photos, args.seconds / 60)
    best = max(scan, key=lambda batch: scan[batch])
    rates: dict[str, list[float]] = {"in process": [], "batched": [], "one by one": []}
    turn = args.seconds / 30
    with server(args.model) as port, server(args.model, batch=1) as single:
        for each in (port, single):
            load(each, good, args.connections, turn / 2)
        before = metrics(port)
        for _ in range(ROUNDS):
            rates["in process"].append(in_process(args.model, photos, turn, (best,))[best])
            rates["batched"].append(round(load(port, good, args.connections, turn).rate(), 2))
            rates["one by one"].append(round(load(single, good, args.connections, turn).rate(), 2))
        counted = grown(port, before)
    key = next(name for name in counted if name.startswith("resmlp_batch_images_sum"))
    ratios = {
        "throughput_of_in_process": spread([a / b for a, b in zip(rates["batched"], rates["in process"])]),
        "batching_over_none": spread([a / b for a, b in zip(rates["batched"], rates["one by one"])]),
    }
    return {
        "numbers": {name: round(ratio.median, 3) for name, ratio in ratios.items()},
        "quartiles": {name: [round(ratio.low, 3), round(ratio.high, 3)] for name, ratio in ratios.items()},
        "in_process_images_per_second": {str(batch): rate for batch, rate in scan.items()},
        "images_per_second_by_round": rates,
        "mean_batch": round(counted[key] / counted[key.replace("_sum", "_count")], 2),
    }


def mixed_load(args: argparse.Namespace, photos: list[bytes]) -> dict[str, Any]:
    """What a long run of good, bad and abandoned requests shows."""
    with server(args.model) as port:
        long = long_run(port, photos, args)
    numbers = {
        "p99_over_p50": round(long["p99_ms"] / long["p50_ms"], 3),
        "server_errors": sum(count for status, count in long["statuses"].items() if status >= 500),
        "memory_mb_per_hour": long["memory_mb_per_hour"],
        "decode_and_resize_share": long["decode_and_resize_share"],
    }
    return {"numbers": numbers, "long_run": long}


PARTS = {"throughput": throughput, "load": mixed_load}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="all of them where none is named")
    parser.add_argument("--model", default="resmlp_s12", help="any MODEL that classifies")
    parser.add_argument(
        "--seconds", type=float, default=600, help="of the long run; the others are shorter in proportion"
    )
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--abandoned", type=int, default=10_000, help="requests that are left before their answers")
    parser.add_argument("--parts", type=int, default=20, help="of the long run; the memory is read after each")
    parser.add_argument("--out", type=Path, default=RESULTS, help="a folder")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        run_server(args.serve, args.batch)
        return
    photos = [photo(number) for number in range(32)]
    for part in args.part or PARTS:
        found = PARTS[part](args, photos)
        result = {
            "what": f"resmlp serve with {args.model}, {args.connections} connections on the same cores: {part}",
            "numbers": found["numbers"],
            "target": TARGETS[part],
            "command": f"python benchmarks/serving.py {part}",
            "seconds": args.seconds,
            **found,
            **conditions("starlette", "uvicorn", "httptools"),
        }
        (args.out / f"serving_{part}.json").write_text(json.dumps(result, indent=2) + "\n")
        print(json.dumps(result["numbers"], indent=2), *found.get("long_run", {}).get("wrong", []), sep="\n")


if __name__ == "__main__":
    main()
