"""How many images a second are packed, and read from shards beside a folder: python benchmarks/pack.py --data CIFAR10

CIFAR-10 is packed by two processes (`--workers`), verification included. Then the images of the packed set, and the
same images as files in a folder, are decoded in turn by one process, in the order of a permutation, so that a noisy
machine disturbs them alike. All are in the disk cache; the first turn does not count.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import conditions
from options import data_parser

from resmlp.config import Data
from resmlp.data import open_splits
from resmlp.data.images.imageset import ImageSet
from resmlp.data.packing.pack import pack

TURNS = 7
TARGET = {"packed_per_s": 5_000, "read_ratio": 0.95}


def unpack(packed: ImageSet, folder: Path) -> None:
    """Write the images as files, with the paths that the set has."""
    for image, path in zip(packed.images, packed.paths):
        file = folder / f"{path}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        with image.open() as opened:  # type: ignore[attr-defined]
            file.write_bytes(opened.read())


def reading_speed(images: ImageSet, count: int, seed: int) -> float:
    """Decoded images a second, of `count` random ones."""
    order = np.random.default_rng(seed).permutation(len(images))[:count].tolist()
    begin = time.perf_counter()
    for i in order:
        images.read(i)
    return len(order) / (time.perf_counter() - begin)


def main() -> None:
    """Measure and write results/pack.json."""
    parser = data_parser(__doc__, "the folder of CIFAR-10")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--count", type=int, default=10_000, help="images that are read in a turn")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "results" / "pack.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shards, files = Path(folder, "shards"), Path(folder, "files")
        begin = time.perf_counter()
        result = pack(Data(source="cifar10", root=str(options.data)), shards, workers=options.workers)
        packing = sum(result.images.values()) / (time.perf_counter() - begin)
        packed = open_splits(Data(root=str(shards)))
        for part in packed:
            unpack(part, files)
        sets = {"shards": packed.train, "folder": open_splits(Data(root=str(files))).train}
        speeds: dict[str, list[float]] = {name: [] for name in sets}
        for turn in range(options.turns + 1):
            for name, images in sets.items():
                speed = reading_speed(images, options.count, turn)
                speeds[name] += [speed] * (turn > 0)
    medians = {name: statistics.median(own) for name, own in speeds.items()}
    numbers = {
        "packed_per_s": round(packing),
        "read_per_s": round(medians["shards"]),
        "folder_read_per_s": round(medians["folder"]),
        "read_ratio": round(statistics.median(a / b for a, b in zip(speeds["shards"], speeds["folder"])), 3),
    }
    record = {
        "what": "Packing CIFAR-10 into shards, and reading the shards beside a folder, both in the disk cache",
        "numbers": numbers,
        "target": TARGET,
        "command": "python benchmarks/pack.py --data CIFAR10",
        "workers": options.workers,
        "turns": options.turns,
        **conditions("pillow"),
    }
    options.out.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(numbers), file=sys.stderr)


if __name__ == "__main__":
    main()
