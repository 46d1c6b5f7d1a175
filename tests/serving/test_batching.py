"""The queue before the networks: batches in images, order, what is abandoned, and what fails."""

import threading
import time
from concurrent.futures import CancelledError

import pytest

from resmlp.serving.batching import Batcher
from resmlp.serving.metrics import Metrics

HELD = "held"
"""an item during which the thread waits for `Work.go`"""


class Work:
    """Doubles numbers, and refuses negative ones."""

    model, name = "toy", "double"

    def __init__(self, batch_size: int = 4):
        self.batch_size, self.batches, self.go = batch_size, list[list[object]](), threading.Event()

    def run(self, kept, options):
        self.batches.append(list(kept))
        if HELD in kept:
            assert self.go.wait(10)
        if any(value < 0 for value in kept if value != HELD):
            raise ValueError("a negative number")
        return [value * 2 for value in kept]


@pytest.fixture
def batcher():
    found = Batcher(Metrics())
    yield found
    found.close()


def hold(batcher: Batcher, work: Work):
    """Let the thread be busy until `work.go`."""
    future = batcher.submit(work, "first", HELD)
    while not work.batches:
        time.sleep(0.001)
    return future


def test_what_waits_makes_batches_in_order(batcher):
    work = Work()
    first = hold(batcher, work)
    futures = [batcher.submit(work, (), number) for number in range(10)]
    work.go.set()
    assert [future.result(5) for future in futures] == [2 * number for number in range(10)]
    assert first.result(5) == HELD * 2
    assert work.batches == [[HELD], [0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_batch_is_of_one_network_and_of_equal_options(batcher):
    work, other = Work(), Work()
    hold(batcher, work)
    asked = [(work, 1, 10), (other, 1, 20), (work, 2, 30), (work, 1, 11), (other, 1, 21)]
    futures = [batcher.submit(*each) for each in asked]
    work.go.set()
    assert [future.result(5) for future in futures] == [20, 40, 60, 22, 42]
    assert work.batches[1:] == [[10, 11], [30]]
    assert other.batches == [[20, 21]]


def test_what_is_abandoned_never_runs_and_leaves_the_queue(batcher):
    work = Work()
    hold(batcher, work)
    futures = [batcher.submit(work, (), number) for number in range(6)]
    for future in futures[:5]:
        assert future.cancel()
    assert len(batcher._waiting) == 1
    work.go.set()
    assert futures[5].result(5) == 10
    assert work.batches[1:] == [[5]]
    with pytest.raises(CancelledError):
        futures[0].result(0)


def test_one_that_fails_does_not_spoil_its_batch(batcher, capsys):
    work = Work()
    hold(batcher, work)
    futures = [batcher.submit(work, (), number) for number in (1, -1, 2)]
    work.go.set()
    assert [futures[0].result(5), futures[2].result(5)] == [2, 4]
    with pytest.raises(ValueError, match="negative"):
        futures[1].result(5)
    assert batcher.submit(work, (), 7).result(5) == 14
    assert "a negative number" in capsys.readouterr().err


def test_closing_finishes_what_waits():
    work, batcher = Work(), Batcher(Metrics())
    hold(batcher, work)
    futures = [batcher.submit(work, (), number) for number in range(6)]
    threading.Timer(0.05, work.go.set).start()
    batcher.close()
    assert [future.result(0) for future in futures] == [0, 2, 4, 6, 8, 10]


def test_batches_are_counted_in_images():
    work, batcher = Work(), Batcher(metrics := Metrics())
    hold(batcher, work)
    futures = [batcher.submit(work, (), number) for number in range(4)]
    work.go.set()
    assert futures[3].result(5) == 6
    batcher.close()
    text = metrics.text().decode()
    assert 'resmlp_images_total{model="toy",operation="double"} 5.0' in text
    assert 'resmlp_batch_images_count{model="toy",operation="double"} 2.0' in text
    assert "resmlp_queue_images 0.0" in text
