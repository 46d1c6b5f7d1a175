"""Load on `resmlp serve` over loopback: throughput, times, memory, with good, bad and abandoned requests mixed.

The server is a process of its own; the clients are one thread of this one, on the same cores. The network in process is
measured with the same decoding, at its best batch. "No batching" is the same server with batches of one image.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from load_client import Request, Seen, abandon, load, request
from machine import conditions
from PIL import Image

import resmlp
from resmlp.config.precision import Execution
from resmlp.serving.server import serve
from resmlp.serving.state import Settings, State

RESULT = Path(__file__).parent.parent / "results" / "serving.json"
BATCHES = (1, 2, 4, 8, 16, 32)
TARGET = {
    "throughput_of_in_process": "at least 0.85",
    "batching_over_none": "at least 2",
    "p99_over_p50": "at most 3",
    "server_errors": "0",
    "memory_mb_per_hour": "less than 1",
    "decode_and_resize_share": "at most 0.25",
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


def in_process(model: str, photos: list[bytes], seconds: float) -> dict[int, float]:
    """Images a second at each batch size, decoding included."""
    predictor = resmlp.load(model)
    rates = {}
    for batch in BATCHES:
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


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All of it."""
    photos = [photo(number) for number in range(32)]
    good = [Request(request("/v1/predict", data, "image/jpeg")) for data in photos]
    rates = in_process(args.model, photos, args.seconds / 20)
    with server(args.model, batch=1) as port:
        single = load(port, good, args.connections, args.seconds / 5).rate()
    with server(args.model) as port:
        load(port, good, args.connections, args.seconds / 20)
        before = metrics(port)
        batched = load(port, good, args.connections, args.seconds / 5).rate()
        counted = grown(port, before)
        long = long_run(port, photos, args)
    key = next(name for name in counted if name.startswith("resmlp_batch_images_sum"))
    numbers = {
        "throughput_of_in_process": round(batched / max(rates.values()), 3),
        "batching_over_none": round(batched / single, 3),
        "p99_over_p50": round(long["p99_ms"] / long["p50_ms"], 3),
        "server_errors": sum(count for status, count in long["statuses"].items() if status >= 500),
        "memory_mb_per_hour": long["memory_mb_per_hour"],
        "decode_and_resize_share": long["decode_and_resize_share"],
    }
    return {
        "what": f"Load on resmlp serve with {args.model}: {args.connections} connections on the cores of the server",
        "numbers": numbers,
        "target": TARGET,
        "command": "python benchmarks/serving.py",
        "seconds": args.seconds,
        "in_process_images_per_second": {str(batch): rate for batch, rate in rates.items()},
        "served_images_per_second": {"batched": round(batched, 2), "one by one": round(single, 2)},
        "mean_batch": round(counted[key] / counted[key.replace("_sum", "_count")], 2),
        "long_run": long,
        **conditions("starlette", "uvicorn", "httptools"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resmlp_s12", help="any MODEL that classifies")
    parser.add_argument(
        "--seconds", type=float, default=600, help="of the long run; the others are shorter in proportion"
    )
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--abandoned", type=int, default=10_000, help="requests that are left before their answers")
    parser.add_argument("--parts", type=int, default=20, help="of the long run; the memory is read after each")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        run_server(args.serve, args.batch)
        return
    result = measure(args)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["numbers"], indent=2), *result["long_run"]["wrong"], sep="\n")


if __name__ == "__main__":
    main()
