"""Multi-crop: shapes, reproducibility and distribution of the views; images without labels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resmlp.config import Augment, Data
from resmlp.config.tasks import Dino
from resmlp.data import TrainBatches, open_eval
from resmlp.data.images.multicrop import Blur, MultiCrop, view
from resmlp.data.images.unlabeled import open_collection
from resmlp.utils.errors import UserError
from resmlp.utils.seeding import seed_host

TASK = Dino(local_views=3, local_size=(4, 6))
DATA = Data(img_size=(8, 12))


def ramp(side: int = 100) -> Image.Image:
    """Red is twice the row of a pixel, green twice its column; blue is constant."""
    at = np.arange(side, dtype=np.uint8) * 2
    red, green = np.broadcast_to(at[:, None], (side, side)), np.broadcast_to(at, (side, side))
    return Image.fromarray(np.stack([red, green, np.full_like(red, 100)], 2))


def batches(root: str, workers: int = 0, seed: int = 3, **task) -> TrainBatches:
    data = Data(root=root, img_size=(8,), batch_size=8, workers=workers)
    crops = MultiCrop(data, Dino(**({"local_views": 2, "local_size": (4,)} | task)))
    return TrainBatches(open_eval(data), data, Augment(), seed=seed, transform=crops)


def same(first, second) -> bool:
    first, second = list(first), list(second)
    keys = ("global", "local", "label")
    return len(first) == len(second) and all(torch.equal(a[key], b[key]) for a, b in zip(first, second) for key in keys)


def test_views_of_an_image(photo):
    views = MultiCrop(DATA, TASK)(photo)
    assert {kind: (tuple(x.shape), x.dtype) for kind, x in views.items()} == {
        "global": ((2, 3, 8, 12), torch.uint8),
        "local": ((3, 3, 4, 6), torch.uint8),
    }
    assert not torch.equal(views["global"][0], views["global"][1])


@pytest.mark.parametrize("options", [{"local_crops": "none"}, {"local_views": 0}], ids=str)
def test_no_local_views(photo, options):
    assert MultiCrop(DATA, Dino(**options))(photo).keys() == {"global"}


@pytest.mark.parametrize("size", [(1, 1), (2, 90), (8, 8)])
def test_small_images_are_enlarged(size):
    views = MultiCrop(DATA, TASK)(Image.new("RGB", size, (10, 20, 30)))
    assert views["global"].shape == (2, 3, 8, 12)


def test_batches_do_not_depend_on_the_workers(many):
    without, with_workers = batches(many), batches(many, workers=2)
    whole = list(without.epoch(1))
    assert [tuple(batch["global"].shape) for batch in whole] == [(8, 2, 3, 8, 8)] * 5
    assert whole[0]["local"].shape == (8, 2, 3, 4, 4)
    assert whole[0]["unreadable"] == []
    assert same(with_workers.epoch(1), whole)
    assert same(with_workers.epoch(1, start=3), whole[3:])
    assert not same(without.epoch(2), whole)
    assert not same(batches(many, seed=4).epoch(1), whole)


def test_batch_without_local_views(many):
    batch = next(batches(many, local_crops="none").epoch(0))
    assert set(batch) == {"global", "label", "index", "key", "unreadable", "places"}


def test_area_and_shape_of_the_crops():
    """The colors of the image are positions, so a view shows its own box."""
    whole = ramp()
    crops = MultiCrop(Data(img_size=(50,)), Dino(local_size=(50,), local_views=1, blur=0))
    for kind, low, high, mean in (("global", 0.4, 1.0, 0.65), ("local", 0.05, 0.4, 0.225)):  # not all large crops fit
        crop = crops.views[kind][0].transforms[0]
        areas, ratios = [], []
        for key in range(300):
            seed_host(key)
            x = np.asarray(crop(whole), float) / 2
            down, across = (np.ptp(x[..., i]) / 0.99 for i in (0, 1))
            areas.append(down * across / 100**2)
            ratios.append(across / down)
        assert min(areas) > 0.9 * low - 0.01
        assert max(areas) < high + 0.05
        assert np.mean(areas) == pytest.approx(mean, abs=0.04)
        assert 0.65 < min(ratios) < 0.85
        assert 1.2 < max(ratios) < 1.5


def frequency(outcomes: list[bool]) -> float:
    return sum(outcomes) / len(outcomes)


def test_probabilities_of_color_changes():
    """Apply each step alone to the whole image, without blur; the pixels show if it changed anything."""
    whole, crops = ramp(), MultiCrop(Data(img_size=(100,)), Dino(local_size=(100,), local_scale=(1, 1)))
    steps = {kind: [step.transforms[1:] for step in views] for kind, views in crops.views.items()}
    flip, jitter, gray, blur = (steps["global"][0][i] for i in range(4))
    drawn: dict[str, list[bool]] = {"flip": [], "jitter": [], "gray": []}
    for key in range(500):
        seed_host(key)
        x = [np.asarray(step(whole)) for step in (flip, jitter, gray)]
        drawn["flip"].append(x[0][0, 0, 1] > x[0][0, -1, 1])
        drawn["jitter"].append(not np.array_equal(x[1], np.asarray(whole)))
        drawn["gray"].append(bool((x[2][..., 0] == x[2][..., 1]).all()))
    assert {name: frequency(outcomes) for name, outcomes in drawn.items()} == pytest.approx(
        {"flip": 0.5, "jitter": 0.8, "gray": 0.2}, abs=0.06
    )
    odds = {kind: [view[3].p for view in views] for kind, views in steps.items()}
    assert odds == {"global": [1.0, 0.1], "local": [0.5] * 8}
    strength = jitter.transforms[0]
    assert [np.ptp(r) / 2 for r in (strength.brightness, strength.contrast, strength.saturation, strength.hue)] == (
        pytest.approx([0.4, 0.4, 0.2, 0.1])
    )


def test_only_the_second_global_view_is_solarized():
    """Flip, gray and blur do not change a white image; solarize makes it black, and jitter keeps it black."""
    white, crops = Image.new("RGB", (40, 40), "white"), MultiCrop(DATA, TASK)
    dark: dict[tuple[str, int], list[bool]] = {}
    for key in range(250):
        seed_host(key)
        for kind, views in crops(white).items():
            for number, pixels in enumerate(views):
                dark.setdefault((kind, number), []).append(pixels.float().mean().item() < 120)
    assert {view: round(frequency(outcomes), 1) for view, outcomes in dark.items()} == {
        ("global", 0): 0,
        ("global", 1): pytest.approx(0.2, abs=0.11),
        **{("local", i): 0 for i in range(3)},
    }


def test_blur_radius_is_random_up_to_its_limit():
    dot = Image.fromarray(np.pad(np.full((1, 1), 255, np.uint8), 20))
    peaks = []
    for key in range(60):
        seed_host(key)
        peaks.append(np.asarray(Blur(2.0)(dot)).max())
    assert max(peaks) > 150, "the smallest radius hardly blurs"
    assert min(peaks) < 20, "the largest radius gives about 255 / (2 pi 2^2) = 10"
    seed_host(0)
    assert np.array_equal(np.asarray(Blur(0.0)(dot)), np.asarray(dot))
    assert len(view(None, 0.0, 1.0).transforms) == 5, "no step for blur"


def test_labels_of_class_folders(many):
    collection = open_collection(Data(root=many, img_size=(8,)))
    assert (len(collection.train) + len(collection.val), collection.train.classes, collection.why) == (
        42,
        ("a", "b", "c"),
        "",
    )
    assert set(collection.val.labels) == {0, 1, 2}
    none = open_collection(Data(root=many, img_size=(8,)), labels=False)
    assert (len(none.train), none.val, set(none.train.labels)) == (42, None, {0})


@pytest.mark.parametrize(
    ("paths", "count"),
    [
        (["1.png", "2.png", "3.png"], 3),
        (["a/1.png", "a/2.png"], 2),
        (["a/1.png", "b/2.png", "3.png", "deep/er/4.png"], 4),
        (["train/a/1.png", "train/2.png", "val/a/3.png", "val/b/4.png"], 2),
    ],
    ids=["flat", "one folder", "outside class folders and nested", "train/ and val/ with different classes"],
)
def test_all_images_are_used_without_labels(plant, paths, count):
    collection = open_collection(Data(root=plant(*paths, "notes.txt"), img_size=(8,)))
    assert (len(collection.train), collection.val) == (count, None)
    assert collection.why
    names = [collection.train.name(i) for i in range(count)]
    assert names == sorted(names)


def test_archive_without_classes(pack):
    collection = open_collection(Data(root=pack("a.tar", "x/1.png", "x/2.png", "3.png"), img_size=(8,)))
    assert len(collection.train) == 3
    assert collection.train.read(0).mode == "RGB"


@pytest.mark.parametrize("val", [["val/3.png"], ["val/a/3.png", "val/b/4.png"], ["Test/a/3.png"]], ids=" ".join)
@pytest.mark.parametrize("labels", [True, False])
def test_val_is_not_used_for_training_without_classes(plant, val, labels):
    collection = open_collection(Data(root=plant("train/1.png", "train/2.png", *val), img_size=(8,)), labels)
    assert [Path(collection.train.name(i)).name for i in range(len(collection.train))] == ["1.png", "2.png"]
    assert "tree/train are used" in collection.why
    assert "next to it" not in collection.why
    assert ("no class folders" in collection.why) == labels


def test_class_named_train_is_not_a_split(plant):
    vehicles = Data(root=plant("bus/1.png", "bus/2.png", "train/3.png", "train/4.png"), img_size=(8,))
    collection = open_collection(vehicles, labels=False)
    assert (len(collection.train), collection.why) == (4, "labels were not requested")
    assert open_collection(vehicles).train.classes == ("bus", "train")


@pytest.mark.parametrize("paths", [[], ["notes.txt"]])
def test_no_images(plant, paths):
    with pytest.raises(UserError, match="empty|no images"):
        open_collection(Data(root=plant(*paths), img_size=(8,)))
    with pytest.raises(UserError, match="no such file or folder"):
        open_collection(Data(root="/nowhere/at/all", img_size=(8,)), labels=False)
    with pytest.raises(UserError, match="--data.root is not given"):
        open_collection(Data(img_size=(8,)))
