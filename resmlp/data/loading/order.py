"""Random orders that are computed, not stored: what stands at any position of an epoch is found in constant time.

A key is a whole number from 0 to 2 ** 63 - 1, such as that of a seed and an epoch. Positions and indices are int64.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

ROUNDS = 8
"""of two steps each. In theory four steps are enough for large sets (Luby and Rackoff 1988); sets of five images need
more before all their orders are equally frequent"""
LARGE = 2**22
"""images above which an order goes by blocks"""
BLOCK, LANES = 16, 2**14
"""images that are read one after another, and blocks that are open at a time: 262,144 images"""


class Order(Protocol):
    """The images of an epoch in a random order."""

    def __call__(self, positions: np.ndarray, key: int) -> np.ndarray:
        """The indices of the images at these positions, B, in the epoch of this key: B."""


def epoch_order(images: int) -> Order:
    """The order of an epoch of so many images, each once."""
    return UniformOrder(images) if images <= LARGE else BlockOrder(images)


class UniformOrder:
    """Each image once, wherever it stands in the data set."""

    def __init__(self, images: int):
        self.images = images

    def __call__(self, positions: np.ndarray, key: int) -> np.ndarray:
        """The indices of the images at these positions, B, in the epoch of this key: B."""
        return permuted(positions, self.images, key)


class BlockOrder:
    """Each image once, in blocks of neighbors, which a disk or a server reads in one piece.

    The blocks are dealt in a random order to about `lanes` lanes. An epoch takes one image of each lane, then again one
    of each in another order, and so on; a lane gives the images of a block one after another, then those of its next
    block. So about `lanes` blocks are open at any time, and a batch of up to `lanes` images has one or two images of a
    block. Lanes are at different images of their blocks: after the start, blocks are opened at a steady rate.
    """

    def __init__(self, images: int, block: int = BLOCK, lanes: int = LANES):
        self.images, self.block = images, block
        blocks = -(-images // block)
        self.per_lane = max(1, blocks // lanes)
        self.lanes = -(-blocks // self.per_lane)

    def __call__(self, positions: np.ndarray, key: int) -> np.ndarray:
        """The indices of the images at these positions, B, in the epoch of this key: B."""
        return _within(self.images, lambda places, _: self._placed(places, key), positions)

    def _placed(self, positions: np.ndarray, key: int) -> np.ndarray:
        """A permutation of all places in the blocks: the last ones have no image."""
        turn, at = np.divmod(positions, self.lanes)
        lane = permuted(at, self.lanes, hashed(turn, key))
        column, item = np.divmod((turn + lane) % (self.per_lane * self.block), self.block)
        block = permuted(column * self.lanes + lane, self.per_lane * self.lanes, key)
        return block * self.block + item


def permuted(positions: np.ndarray, count: np.ndarray | int, key: np.ndarray | int) -> np.ndarray:
    """The values at these positions, B, of a random permutation of range(count): B.

    The permutation is a function of `count` and `key`; each position may have its own: B and B.
    """
    shape = positions.shape
    counts, keys = (np.broadcast_to(np.asarray(value, np.uint64), shape) for value in (count, key))
    rows = np.ceil(np.sqrt(counts)).astype(np.uint64)
    columns = (counts + rows - 1) // rows  # the table has fewer than `rows` cells too many
    step = lambda values, of: _shuffled(values, rows[of], columns[of], keys[of])  # noqa: E731
    return _within(counts, step, positions.astype(np.uint64)).astype(np.int64)


def hashed(numbers: np.ndarray, key: int) -> np.ndarray:
    """63 bits for each number and a key, as int64; they look unrelated, and are a function of both."""
    return _halved(_mixed(_mixed(numbers.astype(np.uint64)) ^ np.asarray([key], np.uint64))).astype(np.int64)


def _within(limits: np.ndarray | int, step: Callable[[np.ndarray, Any], np.ndarray], values: np.ndarray) -> np.ndarray:
    """A permutation of the numbers below a limit, from `step`, which is one of more numbers.

    It takes further steps from a number beyond the limit until it is below: values and results stay different. The
    second argument of `step` chooses those of the values that it gets.
    """
    found = step(values, ...)
    while (outside := found >= limits).any():
        found[outside] = step(found[outside], outside)
    return found


def _shuffled(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """A random permutation of the cells of a table, which are numbered row by row: a Feistel network.

    All columns are rotated, each by a hash of its number, then all rows, and so on. All arrays are uint64.
    """
    row, column = np.divmod(values, columns)
    keys = _mixed(keys)
    for first, second in ROUND_KEYS:
        row = (row + _halved(_mixed(keys + first ^ column))) % rows
        column = (column + _halved(_mixed(keys + second ^ row))) % columns
    return row * columns + column


def _mixed(values: np.ndarray) -> np.ndarray:
    """A permutation of the numbers of 64 bits that leaves no pattern: a step of SplitMix64 (Steele et al. 2014)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _halved(values: np.ndarray) -> np.ndarray:
    """63 bits of each number: sums with the number of a row do not pass 2 ** 64."""
    return values >> np.uint64(1)


ROUND_KEYS = _mixed(np.arange(2 * ROUNDS, dtype=np.uint64)).reshape(ROUNDS, 2)
"""what makes the steps of `_shuffled` different"""
