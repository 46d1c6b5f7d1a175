"""Schedules of an engine that records its calls and advances a clock."""

import numpy as np
import pytest

from resmlp.backends import autotune
from resmlp.backends.autotune import Autotuned, Schedule, Trials, schedules, usable_cores


class Slow:
    """Sums each image; a call takes `once`, and an image `each(count)`."""

    name = "slow"

    def __init__(self, cores=2, once=1.0, each=lambda count: 1.0):
        self.cores, self.once, self.each = cores, once, each
        self.now, self.sizes = 0.0, []

    def run(self, images):
        self.now += self.once + self.each(len(images)) * len(images) / self.cores
        self.sizes.append(len(images))
        return images.sum((1, 2, 3))[:, None]

    def run_streams(self, chunks):
        self.sizes += map(len, chunks)
        self.now += sum(self.once + self.each(len(chunk)) * len(chunk) for chunk in chunks) / self.cores
        return [chunk.sum((1, 2, 3))[:, None] for chunk in chunks]


def images(count):
    return np.random.default_rng(0).integers(0, 256, (count, 3, 2, 2)).astype(np.float32)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(("count", "chunk_size"), [(1, 1), (7, 3), (8, 4), (5, 8), (9, 2)])
def test_every_image_runs_once_and_in_order(count, chunk_size, streams):
    engine, arrays = Slow(), images(count)
    outputs = Schedule(engine, chunk_size, streams).run(arrays)
    assert np.array_equal(outputs, arrays.sum((1, 2, 3))[:, None])
    assert sum(engine.sizes) == count
    assert max(engine.sizes) <= chunk_size
    assert max(engine.sizes) - min(engine.sizes) <= 1, "chunks have almost equal sizes"


def test_schedules():
    assert [(schedule.chunk_size, schedule.streams) for schedule in schedules(Slow(cores=2), 1)] == [(1, False)]
    tried = [(schedule.chunk_size, schedule.streams) for schedule in schedules(Slow(cores=2), 32)]
    assert tried == [(1, True), (4, True), (8, True), (16, True), (1, False), (4, False), (8, False), (32, False)]
    assert [(schedule.chunk_size, schedule.streams) for schedule in schedules(Slow(cores=1), 6)] == [
        (1, False),
        (4, False),
        (6, False),
    ]
    assert [(schedule.chunk_size, schedule.streams) for schedule in schedules(Slow(cores=4), 2)] == [
        (1, True),
        (1, False),
        (2, False),
    ]


@pytest.mark.parametrize(
    ("each", "once", "best"),
    [
        (lambda count: 1.0, 5.0, (16, True)),  # calls are expensive
        (lambda count: 1.0 + (count > 4), 0.5, (4, True)),  # more than four images exceed the caches
        (lambda count: 1.0 + (count > 1), 0.1, (1, True)),
    ],
)
def test_the_fastest_schedule_for_each_batch_size(each, once, best):
    engine = Slow(each=each, once=once)
    tuned, arrays = Autotuned([engine], clock=lambda: engine.now), images(32)
    fastest = tuned.tune(arrays)
    assert (fastest.chunk_size, fastest.streams) == best
    times = {}
    for schedule in schedules(engine, 32):
        start = engine.now
        schedule.run(arrays)
        times[schedule] = engine.now - start
    assert times[fastest] == pytest.approx(min(times.values()))
    start = engine.now
    tuned(arrays)
    assert engine.now - start == pytest.approx(times[fastest])
    assert set(tuned.trials) == {32}
    tuned(images(3))
    assert set(tuned.trials) == {32, 3}


def test_the_faster_of_two_engines():
    fast, slow = Slow(once=0.0), Slow(once=9.0)
    tuned = Autotuned([slow, fast], clock=lambda: fast.now + slow.now)
    assert tuned.tune(images(4)).engine is fast


def test_the_first_trial_is_not_counted_and_slow_schedules_are_not_tried_again():
    first, second, third = (Schedule(Slow(), size) for size in (1, 4, 8))
    trials = Trials([first, second, third])
    tried = []
    for seconds in [9, 2, 9, 1, 0.1, 3]:  # first, first, second, second, third, third
        tried.append(trials.next)
        trials.seconds[trials.next].append(seconds)
    assert [schedule.chunk_size for schedule in tried[:4]] == [1, 1, 1, 4]
    assert trials.fastest is not third


def test_a_trial_gives_the_result():
    engine, arrays = Slow(), images(6)
    tuned = Autotuned([engine], clock=lambda: engine.now)
    for _ in range(30):
        assert np.array_equal(tuned(arrays), arrays.sum((1, 2, 3))[:, None])


@pytest.mark.parametrize(("limit", "count"), [("1", 1), ("", 8), ("0", 8), ("many", 8), ("64", 8), ("2,1", 8)])
def test_usable_cores(limit, count, monkeypatch):
    monkeypatch.setattr(autotune.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert usable_cores() == count
