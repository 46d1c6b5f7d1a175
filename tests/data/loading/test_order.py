"""Computed orders: each image once, no pattern, and blocks that mix a data set sorted by class."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from resmlp.data.loading.order import LARGE, BlockOrder, UniformOrder, epoch_order, hashed, permuted

SIZES = [*range(1, 40), 255, 256, 257, 1000, 4097]


@pytest.mark.parametrize("order", [UniformOrder, lambda n: BlockOrder(n, 4, 8), lambda n: BlockOrder(n, 16, 3)])
def test_each_image_once(order):
    for size in SIZES:
        for key in (0, 5, 2**63 - 1):
            assert sorted(order(size)(np.arange(size), key).tolist()) == list(range(size)), (size, key)


@pytest.mark.parametrize("order", [UniformOrder(1000), BlockOrder(1000, 4, 8)], ids=["uniform", "blocks"])
def test_a_position_is_a_function_of_itself_and_the_key(order):
    whole, some = order(np.arange(1000), 7), np.array([999, 3, 3, 500])
    assert order(some, 7).tolist() == whole[some].tolist()
    same_places = (order(np.arange(1000), 8) == whole).sum()
    assert same_places < 10, "another key gives another order"  # 1 is expected


def draws(size: int, positions: list[int], keys: int) -> np.ndarray:
    """What stands at these positions in the orders of keys 0, 1 and so on: keys x positions."""
    each, at = np.meshgrid(np.arange(keys), positions, indexing="ij")
    return permuted(at.ravel(), size, each.ravel()).reshape(keys, len(positions))


@pytest.mark.parametrize("size", [2, 3, 4, 5, 7, 10, 16])
def test_pairs_of_positions_are_uniform(size):
    """All pairs of different images are about as frequent, at the start, at the end, and at both."""
    for positions in ([0, 1], [size - 2, size - 1], [0, size - 1]):
        first, second = draws(size, positions, 200 * size * (size - 1)).T
        pairs = np.bincount(first * size + second, minlength=size * size).reshape(size, size)
        assert not pairs.diagonal().any()
        assert chisquare(pairs[~np.eye(size, dtype=bool)]).pvalue > 1e-4, positions


def test_all_orders_of_four_are_equally_frequent():
    orders = Counter(map(tuple, draws(4, [0, 1, 2, 3], 24 * 1000).tolist()))
    assert len(orders) == 24
    assert chisquare(list(orders.values())).pvalue > 1e-4


def test_neighbors_of_an_order_are_unrelated():
    """The distances of neighbors, forward around the circle, are uniform, and so are the images of every position."""
    size = 50_021  # a prime
    order = permuted(np.arange(size), size, 1)
    steps = np.bincount(np.diff(order) % size * 50 // size, minlength=50)
    assert chisquare(steps).pvalue > 1e-4
    place = np.histogram2d(np.arange(size), order, bins=20)[0].ravel()
    assert chisquare(place).pvalue > 1e-4


def test_hashes_of_positions_are_uniform_and_different():
    found = hashed(np.arange(100_000), 3)
    assert found.min() >= 0
    assert len(np.unique(found)) == 100_000
    for bit in (0, 20, 62):
        ones = int((found >> bit & 1).sum())
        assert abs(ones - 50_000) < 4 * 158, bit  # 158 is the standard deviation
    assert not np.isin(found, hashed(np.arange(100_000), 4)).any()


def test_batches_of_blocks_are_as_mixed_as_random_ones():
    """A set sorted into 50 classes of 2,000: the classes of a batch of 500 vary as those of independent images."""
    whole = BlockOrder(100_000, block=16, lanes=1024)(np.arange(100_000), 11)
    statistics = [chisquare(np.bincount(batch // 2000, minlength=50)).statistic for batch in whole.reshape(-1, 500)]
    assert np.mean(statistics) == pytest.approx(49, rel=0.1)  # the degrees of freedom
    assert np.std(statistics) == pytest.approx(98**0.5, rel=0.25)
    neighbors = [np.bincount(batch // 16).max() for batch in whole.reshape(-1, 500)]
    assert np.mean(np.array(neighbors) <= 2) > 0.99


def test_blocks_are_read_one_after_another():
    """At any time about `lanes` blocks are open, each is read in its order, and they open at a steady rate."""
    order = BlockOrder(100_000, block=16, lanes=1024)
    whole = order(np.arange(100_000), 2)
    blocks, items = np.divmod(whole, 16)
    first, last = np.full(6250, 10**6), np.zeros(6250, int)
    np.minimum.at(first, blocks, np.arange(100_000))
    np.maximum.at(last, blocks, np.arange(100_000))
    at_once = np.histogram(first, np.arange(0, 100_001, 1000))[0]
    whole_blocks = items[first] == 0  # not those in the middle of which their lane started
    assert whole_blocks.mean() > 0.8
    assert (last - first)[whole_blocks].max() <= 16 * order.lanes
    assert at_once[2:].max() < 2 * 1000 / 16
    ascending = np.lexsort((np.arange(100_000), blocks))
    own = items[ascending].reshape(6250, 16)
    in_order = (np.diff(own[whole_blocks], axis=1) == 1).all(axis=1)
    assert in_order.mean() > 0.99  # the places without an image move a few others


def test_positions_far_in_a_large_set_need_no_list():
    order = epoch_order(10**9)
    assert isinstance(order, BlockOrder)
    assert isinstance(epoch_order(LARGE), UniformOrder)
    positions = 10**8 + np.arange(4096)
    tracemalloc.start()
    found = order(positions, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
    assert len(np.unique(found)) == 4096
    assert 0 <= found.min() < 10**8 < 9 * 10**8 < found.max() < 10**9
