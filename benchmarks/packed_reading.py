"""How fast images of shards are read, beside a folder of the same files: python benchmarks/packed_reading.py

--data PATH is a folder of class folders; without it, JPEG files are made of smooth noise. In each round, one process
decodes the same images in the order of their paths, as training in blocks reads them, from each of these places:

- folder: the files, in the disk cache
- shards: the packed data set, in the disk cache
- http: the packed data set on a server in a process of its own, its shards in the cache of resmlp and of the disk
- cold-folder, cold-shards: the same as the first two, after the kernel was asked to forget their pages
  (posix_fadvise DONTNEED: directories and inodes stay known, so a cold folder is even slower after a restart)
- slow-folder, slow-shards: the same as the first two on a simulated disk or network: `--seek-ms` pass before each read
  that does not begin within `AHEAD` bytes after the one before, and no time for the bytes

The order of these changes from round to round. A ratio is the median over the rounds, with its quartiles.
"""

import argparse
import io
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from unittest import mock

import numpy as np
from machine import conditions
from PIL import Image

from resmlp.config import Data
from resmlp.data.images.imageset import ImageSet
from resmlp.data.images.sources import open_images
from resmlp.data.packing.pack import pack
from resmlp.data.shards.folder import ShardImage
from resmlp.imaging.image_file import File

RATIOS = {
    "shards_to_folder": ("shards", "folder"),
    "http_to_folder": ("http", "folder"),
    "cold_shards_to_cold_folder": ("cold-shards", "cold-folder"),
    "slow_shards_to_slow_folder": ("slow-shards", "slow-folder"),
}
TARGET = {"shards_to_folder": 0.95, "http_to_folder": 0.8, "slow_shards_to_slow_folder": 3}
SLOW = 300  # images that are read from the simulated disk
AHEAD = 2**17  # bytes that Linux reads ahead
SERVER = """
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=sys.argv[1]))
print(server.server_port, flush=True)
server.serve_forever()
"""


def plant(folder: Path, count: int, side: int = 256) -> None:
    """Smooth noise as JPEG files of about 15 KB, in ten class folders."""
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        path = folder / f"class{i % 10}" / f"{i:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.getvalue())


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder, on a server in another process."""
    command = [sys.executable, "-c", SERVER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.kill()


def forget(paths: list[Path]) -> None:
    """Ask the kernel to drop the pages of these files, which are written to the disk first."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def speed(images: ImageSet, order: list[int], seek: float = 0) -> float:
    """Decoded images a second, in a process of its own: how fast Pillow decodes depends on where its memory lies.

    `seek` are the seconds that a simulated disk takes for a read at another place.
    """
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(decode_all, (images, order, seek))


def decode_all(images: ImageSet, order: list[int], seek: float) -> float:
    """Decoded images a second."""
    if seek:
        slow_down(seek)
    begin = time.perf_counter()
    for i in order:
        images.read(i)
    return len(order) / (time.perf_counter() - begin)


def slow_down(seek: float) -> None:
    """Make reads at another place than after the last one take so many seconds, in this process."""
    last = [("", 0)]
    open_file, open_part = File.open, ShardImage.open

    def wait(file: str, start: int, size: int) -> None:
        before, end = last[0]
        if file != before or not 0 <= start - end <= AHEAD:
            time.sleep(seek)
        last[0] = (file, start + size)

    def slow_file(image: File) -> BinaryIO:
        wait(image.name, 0, 0)
        return open_file(image)

    def slow_part(image: ShardImage) -> BinaryIO:
        wait(image.archive, image.offset, image.size)
        return open_part(image)

    mock.patch.object(File, "open", slow_file).start()
    mock.patch.object(ShardImage, "open", slow_part).start()


def measure(tree: Path, shards: Path, address: str, count: int, rounds: int, seek: float) -> dict[str, list[float]]:
    """Images a second of each place in each round, after one round that does not count."""
    sets = {name: open_images(Data(root=str(root))) for name, root in (("folder", tree), ("shards", shards))}
    sets |= {"http": open_images(Data(root=address))}
    paths = [images.path(i) for images in sets.values() for i in range(len(images))]
    assert len(set(paths)) * len(sets) == len(paths), "the sets have the same images"
    orders = {name: sorted(range(len(images)), key=images.path)[:count] for name, images in sets.items()}
    files = {
        "folder": [path for path in tree.rglob("*") if path.is_file()],
        "shards": list(shards.glob("*.tar")),
    }
    places = [*sets, *(f"{kind}-{name}" for kind in ("cold", "slow") for name in files)]
    speeds: dict[str, list[float]] = {place: [] for place in places}
    for number in range(rounds + 1):
        turn = places[number % len(places) :] + places[: number % len(places)]
        for place in turn:
            kind, _, name = place.rpartition("-")
            if kind == "cold":
                forget(files[name])
            else:
                speed(sets[name], orders[name])  # into the disk cache
            own = orders[name][:SLOW] if kind == "slow" else orders[name]
            speeds[place] += [speed(sets[name], own, seek if kind == "slow" else 0)] * (number > 0)
    return speeds


def summary(speeds: dict[str, list[float]]) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Medians and ratios, and the quartiles of the ratios."""
    numbers: dict[str, float] = {
        f"{name}_per_s".replace("-", "_"): round(statistics.median(own)) for name, own in speeds.items()
    }
    quartiles = {}
    for ratio, (above, below) in RATIOS.items():
        quotients = [one / other for one, other in zip(speeds[above], speeds[below])]
        numbers[ratio] = round(statistics.median(quotients), 3)
        quartiles[ratio] = np.quantile(quotients, (0.25, 0.75)).round(3).tolist()
    return numbers, quartiles


def main() -> None:
    """Measure and write results/packed_reading.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="PATH", help="class folders of images; default: images of noise")
    parser.add_argument("--count", type=int, default=2000, help="images that are read in a turn")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seek-ms", type=float, default=5.0, help="of the simulated disk")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "results" / "packed_reading.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["RESMLP_CACHE"] = str(folder / "cache")
        tree = options.data or folder / "tree"
        if options.data is None:
            plant(tree, options.count)
        pack(Data(root=str(tree)), folder / "shards")
        with served(folder / "shards") as address:
            speeds = measure(tree, folder / "shards", address, options.count, options.rounds, options.seek_ms / 1000)
    numbers, quartiles = summary(speeds)
    record = {
        "what": "Reading and decoding images of shards, beside a folder of the same files",
        "numbers": numbers,
        "quartiles": quartiles,
        "target": TARGET,
        "command": "python benchmarks/packed_reading.py" + (" --data PATH" if options.data else ""),
        "images": options.count,
        "rounds": options.rounds,
        "cold": "posix_fadvise DONTNEED before each turn",
        "slow": f"simulated: {options.seek_ms:g} ms for each read at another place",
        **conditions("pillow", "fsspec", "aiohttp"),
    }
    options.out.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(numbers), file=sys.stderr)


if __name__ == "__main__":
    main()
