"""A class for each pixel of an image of any size, by a network that sees windows of one size. Loads no torch.

The memory that this takes does not grow with the image, but for the image and its labels themselves: the logits of
at most 1 GiB of pixels are held, and a pixel's are turned into its class when no other window will touch it.

B windows of h x w, H W the image's size, K classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

BATCH = 8
"""windows that the network sees at once"""
HELD = 2**30
"""bytes of the logits that are added up at a time"""

Size = tuple[int, int]
Logits = TypeVar("Logits", bound=Any)
"""an array of NumPy or torch"""


class SlidingWindow(ABC, Generic[Logits]):
    """Windows are `step` (down, across) apart, the last one flush with the border; their logits are averaged.

    An image that is smaller than the window lies in its upper left corner, on the color `fill`.
    """

    def __init__(
        self,
        see: Callable[[np.ndarray], Logits],
        window: Size,
        step: Size,
        num_classes: int,
        fill: Sequence[int] = (0, 0, 0),
        batch: int = BATCH,
    ):
        """`see` is the network: uint8 B 3 h w -> float32 B K h w."""
        if not all(0 < own <= side for own, side in zip(step, window)):
            raise ValueError(f"windows of {window} in steps of {step} leave gaps")
        self.see, self.window, self.step, self.num_classes, self.fill = see, window, step, num_classes, fill
        self.batch = max(1, min(batch, HELD // (16 * num_classes * window[0] * window[1])))

    @abstractmethod
    def zeros(self, like: Logits, *shape: int) -> Logits:
        """Zeros where `like` is."""

    @abstractmethod
    def divide(self, logits: Logits, counts: np.ndarray) -> Logits:
        """K H W divided by int64 H W, in place."""

    @abstractmethod
    def likeliest(self, logits: Logits) -> np.ndarray:
        """K H W -> int16 H W, -1 where one of the K is NaN or the largest is infinite."""

    @abstractmethod
    def resize(self, logits: Logits, rows: "Between", width: int) -> Logits:
        """K h w -> K `rows` `width`, by linear interpolation along both sides."""

    def label(self, image: np.ndarray, size: Size | None = None) -> np.ndarray:
        """uint8 3 H W -> the likeliest class of each pixel, int16 H W; -1 where a logit is not finite.

        With a `size` (height, width) other than the image's the averaged logits are stretched to it (bilinear) before
        the likeliest class is taken; they are then held for the whole image as `image` has it.
        """
        own = (image.shape[1], image.shape[2])
        if size is None or tuple(size) == own:
            labels = np.empty(own, np.int16)
            for rows, columns, logits in self._averaged(image):
                labels[rows, columns] = self.likeliest(logits)
            return labels
        whole: Any = None
        for rows, columns, logits in self._averaged(image):
            if whole is None:
                whole = self.zeros(logits, self.num_classes, *own)
            whole[:, rows, columns] = logits
        return self.stretched(whole, size)

    def stretched(self, logits: Logits, size: Size) -> np.ndarray:
        """K h w -> the likeliest class of each pixel of `size`, int16 H W; the logits are interpolated bilinearly.

        What resizing all logits and then `likeliest` would give, some rows at a time.
        """
        most = max(1, HELD // (8 * self.num_classes * size[1]))
        labels = np.empty(size, np.int16)
        for first in range(0, size[0], most):
            part = slice(first, min(first + most, size[0]))
            rows = Between.of(logits.shape[1], size[0], part)
            labels[part] = self.likeliest(self.resize(logits, rows, size[1]))
        return labels

    def _averaged(self, image: np.ndarray) -> Iterator[tuple[slice, slice, Logits]]:
        """The mean logits of the windows over each pixel, as (rows, columns, K rows columns) that tile the image.

        A block's logits are good until the next one is asked for. Where the rows of one window across the whole image
        would exceed `HELD`, it is done in strips, and windows on their borders are seen twice.
        """
        window, (height, width) = self.window, image.shape[1:]
        tops, lefts = (starts(*side) for side in zip((height, width), window, self.step))
        down, across = (_cover(*side) for side in zip((height, width), (tops, lefts), window))
        most = max(window[1], HELD // (4 * self.num_classes * window[0]))
        for left in range(0, width, most):
            columns = slice(left, min(left + most, width))
            own = [x for x in lefts if x < columns.stop and x + window[1] > left]
            band: Any = None
            for top, following in zip(tops, [*tops[1:], height]):
                for first in range(0, len(own), self.batch):
                    corners = own[first : first + self.batch]
                    logits = self.see(np.stack([self._cut(image, top, x) for x in corners]))
                    if band is None:
                        band = self.zeros(logits, self.num_classes, window[0], columns.stop - left)
                    for x, found in zip(corners, logits):
                        start, end = max(x, left), min(x + window[1], columns.stop)
                        band[:, :, start - left : end - left] += found[:, :, start - x : end - x]
                counts = down[top:following, None] * across[None, columns]
                yield slice(top, following), columns, self.divide(band[:, : following - top], counts)
                _scroll(band, following - top)

    def _cut(self, image: np.ndarray, top: int, left: int) -> np.ndarray:
        """The window of an image, uint8 3 h w; what is beyond the border is `fill`."""
        found = image[:, top : top + self.window[0], left : left + self.window[1]]
        if found.shape[1:] == tuple(self.window):
            return found
        canvas = np.empty((3, *self.window), image.dtype)
        canvas[:] = np.array(self.fill, image.dtype)[:, None, None]
        canvas[:, : found.shape[1], : found.shape[2]] = found
        return canvas


class NumpySlidingWindow(SlidingWindow[np.ndarray]):
    """Logits are arrays of NumPy."""

    def zeros(self, like: np.ndarray, *shape: int) -> np.ndarray:
        """As of `SlidingWindow`."""
        return np.zeros(shape, like.dtype)

    def divide(self, logits: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """As of `SlidingWindow`."""
        return np.divide(logits, counts, out=logits, casting="same_kind")

    def likeliest(self, logits: np.ndarray) -> np.ndarray:
        """As of `SlidingWindow`."""
        labels = logits.argmax(0).astype(np.int16)  # of NaN the first is the largest
        labels[~np.isfinite(logits.max(0))] = -1
        return labels

    def resize(self, logits: np.ndarray, rows: "Between", width: int) -> np.ndarray:
        """As of `SlidingWindow`."""
        columns = Between.of(logits.shape[2], width, slice(0, width))
        lines = _mix(logits[:, rows.first], logits[:, rows.second], rows.weight[:, None])
        return _mix(lines[:, :, columns.first], lines[:, :, columns.second], columns.weight)


class Between:
    """Places between two points each of a side, for linear interpolation; those of pixel centers, as in torch."""

    def __init__(self, first: np.ndarray, second: np.ndarray, weight: np.ndarray):
        self.first, self.second, self.weight = first, second, weight
        """int64 indices, and the weight of the second, float32"""

    @classmethod
    def of(cls, length: int, resized: int, part: slice) -> "Between":
        """The places `part` of a side of `length` that is resized to `resized`."""
        at = np.clip((np.arange(part.start, part.stop) + 0.5) * (length / resized) - 0.5, 0, length - 1)
        first = np.floor(at).astype(np.int64)
        return cls(first, np.minimum(first + 1, length - 1), (at - first).astype(np.float32))


def starts(length: int, window: int, step: int) -> list[int]:
    """Where the windows along a side of `length` begin: every `step`, and the last one flush with its end."""
    last = max(length - window, 0)
    return [*range(0, last, step), last]


def _mix(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`first` + `weight` (`second` - `first`); overwrites `second`."""
    second -= first
    second *= weight
    second += first
    return second


def _cover(length: int, starts: Sequence[int], window: int) -> np.ndarray:
    """How many windows lie over each place of a side: int64 of `length`."""
    counts = np.zeros(length, np.int64)
    for start in starts:
        counts[start : start + window] += 1
    return counts


def _scroll(band: Any, rows: int) -> None:
    """Move K h W up by some rows, in place and without a copy of it; what comes in from below is 0."""
    height = band.shape[1]
    for top in range(0, height - rows, rows):
        end = min(top + rows, height - rows)
        band[:, top:end] = band[:, top + rows : end + rows]
    band[:, max(0, height - rows) :] = 0
