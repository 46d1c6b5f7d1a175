"""Near duplicates: images that are the same but for their size, their encoding, or their brightness.

Candidates have perceptual hashes that differ in few of 64 bits: which of the 63 lowest frequencies of a gray thumbnail
are above their median. They are near duplicates if the 143 lowest frequencies, weighted by their distance from 0, are
proportional (the lowest alone are alike for any two objects on a white ground), and if the tint is the same or one is
gray. docs/log.md has the measurements.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from resmlp.data.checking.issues import Issue
from resmlp.data.checking.layout import Layout
from resmlp.data.checking.mapping import DECODED_CHUNK, map_images
from resmlp.imaging.crop import Size
from resmlp.imaging.decode import Region, UnreadableImage
from resmlp.imaging.image_file import ImageSource

if TYPE_CHECKING:
    from resmlp.data.checking.check import Statistics

Near = Literal["auto", "on", "off"]
LIMIT = 100_000  # images of "auto"
SIDE = 32  # of a thumbnail
HASHED, COMPARED = 8, 12  # frequencies along each side
MAX_BITS, MIN_SIMILARITY = 10, 0.97
FLAT = 2.0  # standard deviation of the pixels of a thumbnail below which it shows nothing to compare
SHOWN = 5  # near duplicates of one image
BLOCK = 2**18  # pairs of hashes that are compared at once


GRAY, SAME_TINT = 3.0, 20.0  # mean of Cb and Cr, from their zero: a gray image, and images of the same tint
LAYOUT = np.dtype([("bits", np.uint64), ("frequencies", np.float16, COMPARED**2), ("tint", np.float16, 2)])
"""what is compared of an image: the hash, the frequencies, of norm 1, and the mean of Cb and Cr"""


def signature(image: ImageSource) -> bytes:
    """The signature of an image, in `LAYOUT`; empty if it cannot be read, or shows a single color."""
    from scipy.fft import dctn

    try:
        pixels = image.read_region(_reduced)
    except UnreadableImage:
        return b""
    small = Image.fromarray(np.ascontiguousarray(pixels)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    ycc = np.asarray(small.convert("YCbCr"), np.float32)
    thumbnail, tint = ycc[..., 0], ycc[..., 1:].mean((0, 1)) - 128
    if thumbnail.std() < FLAT:
        return b""
    spectrum = dctn(thumbnail, norm="ortho")
    low = spectrum[:HASHED, :HASHED].ravel()[1:]  # without the mean brightness
    bits = np.packbits(np.append(low > np.median(low), False))
    weighted = spectrum[:COMPARED, :COMPARED] * np.hypot(*np.mgrid[:COMPARED, :COMPARED])
    parts = weighted / np.linalg.norm(weighted), tint
    return bits.tobytes() + b"".join(part.astype(np.float16).tobytes() for part in parts)


def _reduced(size: Size) -> Region:
    """The whole image; a JPEG may be decoded at a reduced size."""
    return Region((0, 0, *size), (min(size[0], 2 * SIDE), min(size[1], 2 * SIDE)))


class Signatures:
    """The signatures of some of the images of a tree, by their index."""

    def __init__(self, images: int):
        self.index = np.zeros(images, np.int64)
        self.values = np.zeros(images, LAYOUT)
        self.count = 0

    def add(self, index: int, signature: bytes) -> None:
        """Add an image, if it has a signature; in ascending order of the index."""
        if signature:
            self.index[self.count], self.values[self.count] = index, np.frombuffer(signature, LAYOUT)[0]
            self.count += 1

    def pairs(self, first: np.ndarray, second: np.ndarray) -> Iterator[tuple[int, list[int]]]:
        """For each of the `second` that has some, its near duplicates among the `first`, the nearest first.

        Both are positions here, in ascending order. If they are the same, only later images are compared with an
        image. Yields indices of images.
        """
        hashes = np.ascontiguousarray(self.values["bits"])
        is_same, rows = first is second, max(1, BLOCK // max(1, len(first)))
        for start in range(0, len(second), rows):
            block = second[start : start + rows]
            differing = np.bitwise_count(hashes[block, None] ^ hashes[first])
            for row in np.flatnonzero((differing <= MAX_BITS).any(1)):
                i, near = block[row], first[differing[row] <= MAX_BITS]
                near = near[near > i] if is_same else near
                similarity = self._similarity(i, near)
                chosen = near[np.argsort(-similarity, kind="stable")][: np.sum(similarity >= MIN_SIMILARITY)]
                if len(chosen):
                    yield int(self.index[i]), self.index[chosen].tolist()

    def _similarity(self, i: int, others: np.ndarray) -> np.ndarray:
        """The cosine between the frequencies of an image and those of each of the others; 0 for one of another tint."""
        own, values = self.values[i], self.values[others]
        cosine: np.ndarray = values["frequencies"].astype(np.float32) @ own["frequencies"].astype(np.float32)
        tints = np.abs(values["tint"] - own["tint"]).max(1) <= SAME_TINT  # in other colors it may be another class
        return cosine * (tints | (np.abs(values["tint"]).max(1) < GRAY) | (np.abs(own["tint"]).max() < GRAY))


def near_issues(
    layout: Layout,
    images: Sequence[tuple[str, ImageSource]],
    statistics: "Statistics",
    near: Near,
    processes: int,
    step: Callable[[int, int], Any],
) -> Iterator[Issue]:
    """Validation images that are near duplicates of training images; without splits, near duplicates of each other."""
    splits = np.asarray([split for split, _ in layout.groups] or [""])
    group = np.asarray(layout.group)
    split = np.where(group >= 0, splits[group], "")
    readable = (statistics.bytes > 0) & (statistics.sides.astype(np.int64).prod(0) <= (Image.MAX_IMAGE_PIXELS or 2**63))
    used = np.flatnonzero((split != "") & readable)
    has_splits, trained = "val" in layout.prefixes, "train" if "train" in layout.prefixes else "all"
    parts = trained, "val" if has_splits else trained
    if near == "off" or not all(np.any(split[used] == part) for part in parts):
        return
    if near == "auto" and len(used) > LIMIT:
        yield Issue.of("near-skipped", [f"{len(used):,} images, more than {LIMIT:,}"])
        return
    signatures = Signatures(len(used))
    for index, found in map_images(signature, lambda reason: b"", images, used, processes, step, DECODED_CHUNK):
        signatures.add(index, found)
    where = split[signatures.index[: signatures.count]]
    first, second = (np.flatnonzero(where == part) for part in parts)
    names = []
    for i, others in signatures.pairs(first, second if has_splits else first):
        near_ones = [j for j in others if not statistics.is_same_file(i, j)]  # these are reported as duplicates
        pairs = [(images[i][0], images[j][0]) for j in near_ones[:SHOWN]]
        names += [" ~ ".join(pair if has_splits else sorted(pair)) for pair in pairs]
    if names:
        yield Issue.of("near-leak" if has_splits else "near-duplicate", names)
