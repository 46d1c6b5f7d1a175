"""Batches are a function of (seed, epoch, rank, position), for all workers, ranks, resumed epochs and repeats."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from resmlp.config import Augment, Data
from resmlp.data import EvalBatches, TrainBatches, eval_transform, open_eval
from resmlp.utils.errors import UserError

AUGMENT = Augment(crop="resized", policy="rand")  # uses the generators of Python, NumPy and torch
PLAIN = Augment(crop="center", flip=0.0)


def data(root: str, **fields) -> Data:
    return Data(
        root=root, img_size=(8,), workers=fields.pop("workers", 0), batch_size=fields.pop("batch_size", 8), **fields
    )


def batches(root: str, augment: Augment = AUGMENT, seed: int = 3, rank=0, world=1, accumulate=1, **fields):
    settings = data(root, **fields)
    images = open_eval(settings)
    return TrainBatches(images, settings, augment, seed=seed, rank=rank, world=world, accumulate=accumulate)


def same(first, second) -> bool:
    first, second = list(first), list(second)
    return len(first) == len(second) and all(
        torch.equal(a["image"], b["image"]) and torch.equal(a["label"], b["label"]) for a, b in zip(first, second)
    )


def identities(epoch) -> list[tuple[int, ...]]:
    """The index of each image of `many`: its color is (i, 0, 255 - i)."""
    return [tuple(batch["image"][:, 0, 0, 0].tolist()) for batch in epoch]


def test_shapes_and_length(many):
    loader = batches(many, accumulate=2)
    epoch = list(loader.epoch(0))
    assert loader.steps == 5  # 42 // 8
    assert len(epoch) == 10
    for batch in epoch:
        assert batch["image"].shape == (4, 3, 8, 8)
        assert batch["image"].dtype == torch.uint8
        assert batch["label"].dtype == torch.int64
        assert batch["unreadable"] == []


def test_batches_do_not_depend_on_the_workers(many):
    without, with_workers = batches(many), batches(many, workers=2)
    for epoch in (0, 1):
        assert same(without.epoch(epoch), with_workers.epoch(epoch))
    assert same(without.epoch(1, start=3), with_workers.epoch(1, start=3))
    next(with_workers.epoch(0))  # an unfinished epoch does not affect the next one
    assert same(without.epoch(2), with_workers.epoch(2))


def test_resuming_in_the_middle_of_an_epoch(many):
    whole = list(batches(many).epoch(4))
    for start in (1, 3, 5):
        assert same(batches(many).epoch(4, start), whole[start:])


def test_epochs_and_seeds_differ(many):
    loader = batches(many)
    first = list(loader.epoch(0))
    assert same(first, loader.epoch(0))
    assert not same(first, loader.epoch(1))
    assert not same(first, batches(many, seed=4).epoch(0))


def test_epoch_is_a_random_order(many):
    seen = [i for batch in identities(batches(many, PLAIN, batch_size=7).epoch(0)) for i in batch]
    assert sorted(seen) == list(range(42))
    assert seen != sorted(seen)


def test_labels_match_their_images(many):
    for batch in batches(many, PLAIN).epoch(0):
        assert (batch["image"][:, 0, 0, 0] // 14).tolist() == batch["label"].tolist()


def test_ranks_divide_an_epoch(many):
    """Two ranks together load in a step what one process loads, with the same augmentation."""
    whole = list(batches(many).epoch(0))
    ranks = [list(batches(many, rank=rank, world=2).epoch(0)) for rank in (0, 1)]
    for step, batch in enumerate(whole):
        for rank in (0, 1):
            assert torch.equal(ranks[rank][step]["image"], batch["image"][rank::2])
    seen = [
        i
        for rank in (0, 1, 2)
        for b in identities(batches(many, PLAIN, rank=rank, world=3, batch_size=6).epoch(0))
        for i in b
    ]
    assert sorted(seen) == list(range(42))


def test_repeats(many):
    """Three views of an image in a row, dealt to the ranks as in timm's RepeatAugSampler; an epoch is as long."""
    seen = [i for batch in identities(batches(many, replace(PLAIN, repeats=3), batch_size=6).epoch(0)) for i in batch]
    assert len(seen) == 42
    assert seen[::3] == seen[1::3] == seen[2::3]
    assert len(set(seen)) == 14
    views = torch.cat(
        [b["image"] for b in batches(many, Augment(crop="pad", flip=0.0, repeats=3), batch_size=6).epoch(0)]
    )
    assert any(not torch.equal(views[i], views[i + 1]) for i in range(0, 42, 3))
    dealt = [batches(many, replace(PLAIN, repeats=3), batch_size=6, rank=r, world=3) for r in range(3)]
    first, second, third = (identities(loader.epoch(0)) for loader in dealt)
    assert first == second == third


@pytest.mark.parametrize("workers", [0, 2])
def test_global_generators_do_not_change(many, workers):
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    list(batches(many, workers=workers).epoch(0))
    assert states() == before


def test_batch_sizes_that_do_not_divide(many, plant):
    with pytest.raises(UserError, match=r"does not divide into 3 processes x 1 .*try 6 or 9"):
        batches(many, world=3)
    with pytest.raises(UserError, match=r"exceeds the 42 training images.*try 40"):
        batches(many, batch_size=64, accumulate=4)
    with pytest.raises(UserError, match=r"exceeds the 42 training images of --data.fraction 0.5 .*try 42"):
        batches(many, batch_size=64, fraction=0.5)
    with pytest.raises(UserError, match=r"exceeds the 1 training image \(add images\)"):
        batches(plant("a/1.png"))
    with pytest.raises(UserError, match=r"mixed.*try 4 or 8"):
        batches(many, replace(AUGMENT, mixup=0.2), batch_size=6, world=2)


def broken(root: str, *paths: str) -> list[str]:
    files = [Path(root, path) for path in paths]
    for file in files:
        file.write_bytes(file.read_bytes()[:40])
    return [str(file) for file in files]


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_images_are_named_and_replaced(many, workers):
    names = broken(many, "a/03.png", "a/04.png", "c/13.png")
    seen, unreadable = [], []
    for batch in batches(many, PLAIN, batch_size=7, workers=workers).epoch(0):
        seen += batch["image"][:, 0, 0, 0].tolist()
        unreadable += batch["unreadable"]
        assert (batch["image"][:, 0, 0, 0] // 14).tolist() == batch["label"].tolist()
    assert sorted(unreadable) == sorted([*names, names[1]])  # 4 occurs twice: in the order, and after 3
    assert sorted(seen) == sorted([*(set(range(42)) - {3, 4, 41}), 5, 5, 0])


@pytest.mark.parametrize("workers", [0, 2])
def test_strict_stops_at_an_unreadable_image(many, workers):
    (name,) = broken(many, "b/07.png")
    with pytest.raises(UserError) as caught:
        list(batches(many, workers=workers, batch_size=7, strict=True).epoch(0))
    assert name in caught.value.what
    assert "\n" not in str(caught.value)
    evaluation = EvalBatches(open_eval(data(many)), data(many).preprocessing(), 8, workers, strict=True)
    with pytest.raises(UserError) as caught:
        list(evaluation)
    assert name in caught.value.what


def test_nothing_readable(many):
    broken(many, *(f"{name}/{i:02}.png" for name in "abc" for i in range(14)))
    with pytest.raises(UserError, match="42 images in a row"):
        list(batches(many).epoch(0))


def test_fifty_unreadable_images_stop_training(plant):
    root = plant(*(f"{name}/{i:02}.png" for name in "ab" for i in range(40)))
    broken(root, *(f"{name}/{i:02}.png" for name in "ab" for i in range(40)))
    with pytest.raises(UserError, match="50 images in a row"):
        list(batches(root).epoch(0))


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_loads_every_image_once(many, workers):
    images, transform = open_eval(data(many)), eval_transform(data(many).preprocessing())
    names = broken(many, "b/00.png", "b/05.png")
    for world in (1, 4):
        loaders = [
            EvalBatches(images, data(many).preprocessing(), 5, workers, rank=rank, world=world) for rank in range(world)
        ]
        epochs = [list(loader) for loader in loaders]
        assert [len(loader) for loader in loaders] == [len(batches) for batches in epochs]
        indices = [batch["index"].tolist() for batches in epochs for batch in batches]
        assert sorted(i for batch in indices for i in batch) == sorted(set(range(42)) - {14, 19})
        assert all(batch == sorted(batch) for batch in indices)
        assert sorted(name for batches in epochs for batch in batches for name in batch["unreadable"]) == names
        for batch in epochs[0]:
            assert batch["label"].tolist() == [images.labels[i] for i in batch["index"]]
            assert all(torch.equal(x, transform(images.read(i))) for x, i in zip(batch["image"], batch["index"]))
        assert same(loaders[0], epochs[0])


def test_evaluation_batch_without_a_readable_image(many):
    broken(many, "a/00.png", "a/01.png")
    first = next(iter(EvalBatches(open_eval(data(many)), data(many).preprocessing(), 2, 0)))
    assert first["image"].shape == (0, 3, 8, 8)
    assert first["label"].dtype == first["index"].dtype == torch.int64
    assert len(first["unreadable"]) == 2


INTERRUPTED = """
import signal, sys
from resmlp.config import Augment, Data
from resmlp.data import TrainBatches, open_eval
if sys.argv[2] == "continues":
    signal.signal(signal.SIGINT, lambda *_: print("caught", flush=True))
data = Data(root=sys.argv[1], img_size=(8,), batch_size=4, workers=2)
loader = TrainBatches(open_eval(data), data, Augment(), seed=0)
for epoch in range(10 if sys.argv[2] == "continues" else 10**9):
    for batch in loader.epoch(epoch):
        print("ready", flush=True)
"""


@pytest.mark.parametrize("main", ["ends", "continues"])
def test_interrupt(many, main):
    """Ctrl-C reaches the whole process group: the main process handles it, and the workers print nothing and exit."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, many, main],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.stdout.read(), process.stderr.read()  # `communicate` would lose the buffer of readline
    process.wait()
    process.stdout.close()
    process.stderr.close()
    if main == "ends":
        assert errors.count("Traceback") == 1
        assert errors.rstrip().endswith("KeyboardInterrupt")
    else:  # for example to save a checkpoint
        assert errors == ""
        assert output.count("caught") == 1
        assert output.count("ready") == 99  # 10 epochs of 10 batches, without the one read above
    time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
