"""Workers that die: their batches are loaded again, the same ones, and an image that kills them is left out."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resmlp.config import Augment, Data
from resmlp.data import EvalBatches, TrainBatches, open_eval
from resmlp.data.images.imageset import ImageSet
from resmlp.data.loading import loader as loading
from resmlp.imaging.decode import Region
from resmlp.utils.errors import UserError

pytestmark = [
    pytest.mark.skipif(multiprocessing.get_start_method() != "fork", reason="classes of this file reach forks only"),
    pytest.mark.slow,
]


class Killer:
    """An image that sends a signal to the worker which reads it, as long as `until` does not exist."""

    def __init__(self, name: str, number: int, until: Path):
        self.name, self.number, self.until, self.main = name, number, until, os.getpid()

    def read_region(self, choose_region) -> np.ndarray:
        if not self.until.exists():
            assert os.getpid() != self.main
            os.kill(os.getpid(), self.number)
        left, top, right, bottom = choose_region((8, 8)).box
        return np.full((bottom - top, right - left, 3), 7, np.uint8)

    def read(self) -> Image.Image:
        return Image.fromarray(self.read_region(lambda size: Region((0, 0, 8, 8), (8, 8))))


def batches(root: str, image: Killer | None = None, **fields) -> TrainBatches:
    data = Data(root=root, img_size=(8,), batch_size=2, workers=2, **fields)
    images = open_eval(data)
    if image:
        images = ImageSet(images.classes, images.labels, [image, *images.images[1:]])
    return TrainBatches(images, data, Augment(), seed=1)


def same(first, second) -> bool:
    pairs = list(zip(list(first), list(second), strict=True))
    return all(torch.equal(a["image"], b["image"]) and torch.equal(a["label"], b["label"]) for a, b in pairs)


def kill_one(epoch: Callable, number: int):
    """The batches of an epoch; one of its workers gets a signal after the second batch."""
    before = multiprocessing.active_children()
    for i, batch in enumerate(epoch):
        if i == 1:
            own = [child for child in multiprocessing.active_children() if child not in before]
            os.kill(own[0].pid, number)
        yield batch


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_the_batches_are_those_of_an_undisturbed_epoch(many, capfd, number):
    disturbed = batches(many)
    assert same(kill_one(disturbed.epoch(0), number), batches(many).epoch(0))
    assert same(disturbed.epoch(1), batches(many).epoch(1))
    assert disturbed.deaths == 1
    note = f"note: 1 worker process of the loader died ({signal.Signals(number).name})"
    assert capfd.readouterr().err.count(note) == 1


def test_a_lock_that_a_dead_worker_held_stops_nothing(many, monkeypatch):
    events = []
    make = torch.multiprocessing.Event
    monkeypatch.setattr(torch.multiprocessing, "Event", lambda: events.append(make()) or events[-1])
    disturbed = batches(many)
    list(disturbed.epoch(0))
    events[0]._cond.acquire()  # as a worker does when it looks whether it should end
    disturbed._loader._processes[0].kill()
    assert same(disturbed.epoch(1), batches(many).epoch(1))
    assert disturbed.deaths == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_ignores_the_signals_of_its_process_group(many, number):
    disturbed = batches(many)
    assert same(kill_one(disturbed.epoch(0), number), batches(many).epoch(0))
    assert disturbed.deaths == 0


def test_an_image_that_kills_twice_is_left_out_and_named(many, tmp_path, capfd):
    epoch = list(batches(many, Killer("bad.png", signal.SIGSEGV, tmp_path / "never")).epoch(0))
    assert [name for batch in epoch for name in batch["unreadable"]] == ["bad.png"]
    assert len(epoch) == 21
    assert capfd.readouterr().err.count("while reading bad.png") == 2


def test_strict_stops_at_the_first_death(many, tmp_path):
    image = Killer("bad.png", signal.SIGKILL, tmp_path / "never")
    with pytest.raises(UserError, match=r"died \(SIGKILL\) while reading bad.png \(if memory is short, .*--shm-size"):
        list(batches(many, image, strict=True).epoch(0))


def test_evaluation_goes_on_as_well(many, tmp_path):
    data = Data(root=many, img_size=(8,))
    images = open_eval(data)
    killer = Killer("bad.png", signal.SIGBUS, tmp_path / "never")
    hurt = ImageSet(images.classes, images.labels, [killer, *images.images[1:]])
    found = list(EvalBatches(hurt, data.preprocessing(), 8, workers=2))
    assert torch.cat([batch["index"] for batch in found]).tolist() == list(range(1, 42))
    assert sum((batch["unreadable"] for batch in found), []) == ["bad.png"]


def test_workers_end_with_a_killed_main_process(many, tmp_path):
    import processes

    def wait() -> None:
        for _ in batches(many).epoch(0):
            pids = [str(child.pid) for child in multiprocessing.active_children()]
            (tmp_path / "pids.part").write_text(" ".join(pids))
            (tmp_path / "pids.part").rename(tmp_path / "pids")
            signal.pause()

    process = processes.start(wait, log=tmp_path / "log")
    while not (tmp_path / "pids").exists():
        assert process.exitcode is None, (tmp_path / "log").read_text()
        process.join(0.01)
    process.kill()
    process.join()
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        for _ in range(500):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                break
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                break
            process.join(0.01)
            signal.sigtimedwait([], 0.01)
        else:
            pytest.fail(f"worker {pid} is alive: {Path(f'/proc/{pid}/stat').read_text()}")


def test_full_shared_memory_is_an_error_in_one_line(many, monkeypatch):
    def share(batch):
        raise RuntimeError(
            "unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)"
        )

    monkeypatch.setattr(loading, "_share", share)
    with pytest.raises(UserError, match=r"^shared memory is full.*--shm-size 1g; or use --data.workers 0\)$"):
        list(batches(many).epoch(0))
