"""How long k-NN takes for 10,000 images among 50,000 with 384 features, and with how much memory.

Beside what the features take themselves; random ones, in a process of its own. python benchmarks/knn.py
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from machine import conditions

from resmlp.metrics import knn

TRAIN, TEST, DIM, CLASSES = 50_000, 10_000, 384, 1_000
TARGET = {"seconds": "under 20 on two cores", "gib": "under 1"}


def measure() -> dict[str, float]:
    """Seconds, and GiB by which the peak of this process grew."""
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(count, DIM, generator=generator) for count in (TRAIN, TEST)]
    labels = [torch.randint(CLASSES, (count,), generator=generator) for count in (TRAIN, TEST)]
    before, start = peak(), time.perf_counter()
    for _ in knn(features[0], labels[0], features[1], labels[1]):
        pass
    return {"seconds": time.perf_counter() - start, "gib": peak() - before}


def peak() -> float:
    """The most memory that this process ever had, in GiB; Linux counts in KiB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** (30 if sys.platform == "darwin" else 20)


def main() -> None:
    """Measure and write results/knn.json."""
    child = subprocess.run([sys.executable, __file__, "child"], check=True, capture_output=True, text=True)
    numbers = {name: round(value, 2) for name, value in json.loads(child.stdout).items()}
    result = {
        "what": f"k-NN of {TEST:,} images among {TRAIN:,}, {DIM} features, on a CPU: time, additional memory",
        "numbers": numbers,
        "target": TARGET,
        "command": "python benchmarks/knn.py",
        **conditions(),
    }
    path = Path(__file__).parent.parent / "results" / "knn.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(numbers), file=sys.stderr)


if __name__ == "__main__":
    print(json.dumps(measure())) if sys.argv[1:] == ["child"] else main()
