"""Ways to share images out, by an engine that knows what it was asked to do and a clock that it moves."""

import numpy as np
import pytest

from resmlp.backends import autotune
from resmlp.backends.autotune import Trials, Tuned, Way, cores, ways


class Slow:
    """Adds up each image; a call takes `once`, and an image `each` by the number of them."""

    name = "slow"

    def __init__(self, cores=2, once=1.0, each=lambda count: 1.0):
        self.cores, self.once, self.each = cores, once, each
        self.now, self.sizes = 0.0, []

    def one(self, images):
        self.now += self.once + self.each(len(images)) * len(images) / self.cores
        self.sizes.append(len(images))
        return images.sum((1, 2, 3))[:, None]

    def many(self, parts):
        self.sizes += map(len, parts)
        self.now += sum(self.once + self.each(len(part)) * len(part) for part in parts) / self.cores
        return [part.sum((1, 2, 3))[:, None] for part in parts]


def images(count):
    return np.random.default_rng(0).integers(0, 256, (count, 3, 2, 2)).astype(np.float32)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(("count", "at_a_time"), [(1, 1), (7, 3), (8, 4), (5, 8), (9, 2)])
def test_every_image_is_done_once_and_in_order(count, at_a_time, streams):
    engine, arrays = Slow(), images(count)
    found = Way(engine, at_a_time, streams).run(arrays)
    assert np.array_equal(found, arrays.sum((1, 2, 3))[:, None])
    assert sum(engine.sizes) == count
    assert max(engine.sizes) <= at_a_time
    assert max(engine.sizes) - min(engine.sizes) <= 1, "no part is much smaller than the others"


def test_what_is_tried():
    assert [(way.at_a_time, way.streams) for way in ways(Slow(cores=2), 1)] == [(1, False)]
    found = [(way.at_a_time, way.streams) for way in ways(Slow(cores=2), 32)]
    assert found == [(1, True), (4, True), (8, True), (16, True), (1, False), (4, False), (8, False), (32, False)]
    assert [(way.at_a_time, way.streams) for way in ways(Slow(cores=1), 6)] == [(1, False), (4, False), (6, False)]
    assert [(way.at_a_time, way.streams) for way in ways(Slow(cores=4), 2)] == [(1, True), (1, False), (2, False)]


@pytest.mark.parametrize(
    ("each", "once", "best"),
    [
        (lambda count: 1.0, 5.0, (16, True)),  # calls are dear
        (lambda count: 1.0 + (count > 4), 0.5, (4, True)),  # more than four at a time are out of the caches
        (lambda count: 1.0 + (count > 1), 0.1, (1, True)),
    ],
)
def test_the_fastest_is_kept_for_each_batch(each, once, best):
    engine = Slow(each=each, once=once)
    tuned, arrays = Tuned([engine], clock=lambda: engine.now), images(32)
    way = tuned.settle(arrays)
    assert (way.at_a_time, way.streams) == best
    took = {}
    for other in ways(engine, 32):
        start = engine.now
        other.run(arrays)
        took[other] = engine.now - start
    assert took[way] == pytest.approx(min(took.values()))
    start = engine.now
    tuned(arrays)
    assert engine.now - start == pytest.approx(took[way])
    assert set(tuned.trials) == {32}
    tuned(images(3))
    assert set(tuned.trials) == {32, 3}


def test_of_two_engines_the_faster_one():
    fast, slow = Slow(once=0.0), Slow(once=9.0)
    tuned = Tuned([slow, fast], clock=lambda: fast.now + slow.now)
    assert tuned.settle(images(4)).engine is fast


def test_a_first_call_is_not_counted_and_the_hopeless_are_not_tried_again():
    first, second, third = (Way(Slow(), size) for size in (1, 4, 8))
    trials = Trials([first, second, third])
    taken = []
    for seconds in [9, 2, 9, 1, 0.1, 3]:  # first, first, second, second, third, third
        taken.append(trials.next)
        trials.seconds[trials.next].append(seconds)
    assert [way.at_a_time for way in taken[:4]] == [1, 1, 1, 4]
    assert trials.fastest is not third


def test_what_a_trial_gives_is_the_result():
    engine, arrays = Slow(), images(6)
    tuned = Tuned([engine], clock=lambda: engine.now)
    for _ in range(30):
        assert np.array_equal(tuned(arrays), arrays.sum((1, 2, 3))[:, None])


@pytest.mark.parametrize(("limit", "found"), [("1", 1), ("", 8), ("0", 8), ("many", 8), ("64", 8), ("2,1", 8)])
def test_threads_are_those_that_were_allowed(limit, found, monkeypatch):
    monkeypatch.setattr(autotune.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert cores() == found
