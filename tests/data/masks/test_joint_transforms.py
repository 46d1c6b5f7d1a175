"""Image and labels get the same transform: compared with Pillow's resize and crop, on colors that show positions."""

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image

from resmlp.config import Augment, Data
from resmlp.config.tasks import Segment
from resmlp.data import BaseSize, EvalPairs, JointTransform, MaskSet, TrainBatches
from resmlp.data.masks.joint_transforms import Window, distort_colors, fit_size, nearest_labels, resize_window, saturate
from resmlp.utils.errors import UserError
from resmlp.utils.seeding import seed_host

PLAIN = Segment(scale=(1, 1), flip=0, jitter=0, max_class_share=1)


class Colored:
    """A pair with red equal to 20 times the label; patches of one label have 6 x 5 pixels."""

    def __init__(self, size=(40, 60), seed=0, cell=(6, 5), classes=12):
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, classes, (size[0] // cell[0] + 1, size[1] // cell[1] + 1), np.uint8)
        self.labels = np.kron(coarse, np.ones(cell, np.uint8))[: size[0], : size[1]]
        self.name = f"pair {seed}"

    def read(self):
        blue = np.arange(self.labels.size, dtype=np.int64).reshape(self.labels.shape)
        return Image.fromarray(np.stack([self.labels * 20, blue % 256, blue // 256], 2).astype(np.uint8)), self.labels


def masks(count=6, **fields) -> MaskSet:
    return MaskSet(tuple("abcdefghijkl"), ((0, 0, 0),) * 12, [Colored(seed=i, **fields) for i in range(count)])


def transform(task=PLAIN, size=(24, 30), interpolation="nearest") -> JointTransform:
    return JointTransform(Data(img_size=size, interpolation=interpolation), task)


@pytest.mark.parametrize(
    ("size", "resized"), [((40, 61), (53, 97)), ((40, 61), (17, 23)), ((7, 5), (7, 5)), ((3, 3), (9, 8))]
)
def test_window_equals_resize_and_crop(size, resized):
    rng = np.random.default_rng(0)
    image = Image.fromarray(
        rng.integers(64, 192, (*size, 3), np.uint8)
    )  # extreme values would be clipped between the passes of Pillow
    labels = rng.integers(0, 12, size, np.uint8)
    for _ in range(20):
        top, left = (int(rng.integers(0, side - 2)) for side in resized)
        rows, columns = (
            slice(top, int(rng.integers(top + 1, resized[0]))),
            slice(left, int(rng.integers(left + 1, resized[1]))),
        )
        window, box = Window(*resized, rows, columns), (left, top, columns.stop, rows.stop)
        expected = Image.fromarray(labels).resize(resized[::-1], Image.Resampling.NEAREST).crop(box)
        assert np.array_equal(nearest_labels(labels, window), np.asarray(expected))
        for resample in (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR):
            full = image.resize(resized[::-1], resample).crop(box)
            gap = np.asarray(resize_window(image, window, resample), int) - np.asarray(full, int)
            assert abs(gap).max() <= 1, "except for rounding"


def test_nearest_labels_are_those_at_the_centers():
    labels = np.arange(35, dtype=np.uint8).reshape(5, 7)
    window_labels = nearest_labels(labels, Window(13, 4, slice(0, 13), slice(0, 4)))
    expected = [[labels[int((y + 0.5) * 5 / 13), int((x + 0.5) * 7 / 4)] for x in range(4)] for y in range(13)]
    assert np.array_equal(window_labels, expected)


@pytest.mark.parametrize("task", [PLAIN, Segment(jitter=0), Segment(jitter=0, base_size=(33, 25), flip=1)], ids=str)
def test_image_and_labels_stay_aligned(task):
    """With nearest resizing of both, red is 20 times the label; ignored pixels have the mean color."""
    joint, pair, labeled = transform(task), Colored().read(), 0
    for key in range(60):
        seed_host(key)
        made = joint(pair)
        image, mask = made["image"], made["mask"]
        assert (image.shape, image.dtype, mask.shape, mask.dtype) == ((3, 24, 30), torch.uint8, (24, 30), torch.uint8)
        counts = mask != 255
        assert torch.equal(image[0][counts], 20 * mask[counts])
        assert (image[:, ~counts] == torch.tensor([[124], [116], [104]])).all()
        labeled += int(counts.sum())
    assert labeled > 60 * 24 * 30 / 4


def test_smooth_resizing_stays_aligned_with_the_labels():
    """In large patches, all pixels except those at the edges keep the color of their label."""
    big = Colored((80, 90), cell=(20, 30))
    for interpolation in ("bicubic", "bilinear"):
        joint = transform(Segment(jitter=0, scale=(0.8, 2)), interpolation=interpolation)
        for key in range(20):
            seed_host(key)
            made = joint(big.read())
            counts = made["mask"] != 255
            correct = (made["image"][0].int() - 20 * made["mask"].int()).abs() <= 10
            assert correct[counts].float().mean() > 0.8


def test_small_image_is_in_the_corner_and_the_rest_is_ignored():
    pair = Colored((10, 12)).read()
    made = transform()(pair)
    assert torch.equal(made["mask"][:10, :12], torch.from_numpy(pair[1]))
    assert int((made["mask"] == 255).sum()) == 24 * 30 - 120
    assert np.array_equal(made["image"][:, :10, :12].permute(1, 2, 0), np.asarray(pair[0]))


def test_windows_are_uniformly_distributed():
    joint, pair = transform(size=(39, 58)), Colored().read()
    positions = set()
    for key in range(60):
        seed_host(key)
        made = joint(pair)["image"]
        positions.add(int(made[1, 0, 0]) + 256 * int(made[2, 0, 0]))
    assert positions == {0, 1, 2, 60, 61, 62}


def test_probability_of_a_flip():
    pair = Colored((24, 30)).read()
    flipped = []
    for key in range(300):
        seed_host(key)
        made = transform(Segment(scale=(1, 1), jitter=0))(pair)
        assert np.array_equal(made["mask"], pair[1]) or np.array_equal(made["mask"], pair[1][:, ::-1])
        flipped.append(np.array_equal(made["mask"], pair[1][:, ::-1]))
    assert np.mean(flipped) == pytest.approx(0.5, abs=0.08)


def test_window_of_mostly_one_class_is_drawn_again():
    """A tenth of the columns has class 1: windows without it are rejected, up to ten times."""
    labels = np.zeros((40, 400), np.uint8)
    labels[:, 190:230] = 1
    labels[:20, 100:150] = 255
    pair = Image.fromarray(np.zeros((40, 400, 3), np.uint8)), labels

    def mixed(max_share: float) -> float:
        joint, good = transform(Segment(scale=(1, 1), flip=0, jitter=0, max_class_share=max_share), (40, 40)), 0
        for key in range(200):
            seed_host(key)
            mask = joint(pair)["mask"]
            counts = torch.bincount(mask.flatten(), minlength=256)[:255].float()
            good += bool(counts.max() < 0.75 * counts.sum())
        return good / 200

    allowed = np.mean([max(0, min(x + 40, 230) - max(x, 190)) in range(11, 30) for x in range(361)])
    assert mixed(1.0) == pytest.approx(allowed, abs=0.08)
    assert mixed(0.75) == pytest.approx(1 - (1 - allowed) ** 10, abs=0.1)


@pytest.mark.parametrize(
    ("size", "base", "fits"),
    [
        ((512, 683), (896, 224), (224, 299)),
        ((360, 480), (480, 360), (360, 480)),
        ((100, 1000), (896, 224), (90, 896)),
        ((1000, 100), (224, 896), (896, 90)),
        ((100, 200), (50,), (50, 100)),
        ((31, 17), None, (31, 17)),
    ],
)
def test_base_size(size, base, fits):
    assert fit_size(size, base) == fits


def test_probability_and_range_of_color_distortion():
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(60, 180, (20, 20, 3), np.uint8))
    same, means = [], []
    for key in range(400):
        seed_host(key)
        made = np.asarray(distort_colors(image, 1.0), float)
        same.append(np.array_equal(made, np.asarray(image)))
        means.append(made.mean() / np.asarray(image).mean())
    assert np.mean(same) == pytest.approx(1 / 16, abs=0.04)
    assert 0.35 < min(means) < 0.7
    assert 1.3 < max(means) < 1.8


def test_saturation_equals_that_of_hsv():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 6, 3)).astype(np.float32)
    pixels[0, 0], pixels[0, 1] = 0, 90
    for factor in (0.5, 1.0, 1.5):
        made = saturate(pixels, factor) / 255
        for actual, rgb in zip(made.reshape(-1, 3), pixels.reshape(-1, 3) / 255):
            hue, saturation, value = colorsys.rgb_to_hsv(*rgb)
            assert np.allclose(actual, colorsys.hsv_to_rgb(hue, min(1, saturation * factor), value), atol=1e-5)


def loader(workers=0, seed=3) -> TrainBatches:
    data = Data(img_size=(24, 30), batch_size=2, workers=workers)
    return TrainBatches(masks(), data, Augment(), seed=seed, transform=JointTransform(data, Segment()))


def test_batches_do_not_depend_on_the_workers():
    def same(first, second):
        return all(torch.equal(a[key], b[key]) for a, b in zip(first, second, strict=True) for key in ("image", "mask"))

    whole = list(loader().epoch(1))
    assert whole[0].keys() == {"image", "mask", "index", "key", "unreadable", "places"}
    assert [tuple(batch["mask"].shape) for batch in whole] == [(2, 24, 30)] * 3
    assert same(loader(workers=2).epoch(1), whole)
    assert same(loader().epoch(1, start=2), whole[2:])
    assert not same(loader().epoch(2), whole)
    assert not same(loader(seed=4).epoch(1), whole)


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_loads_images_of_different_sizes(workers):
    dataset = MaskSet(("a",) * 12, (), [Colored((20 + i, 30), seed=i) for i in range(5)])
    parts = [EvalPairs(dataset, BaseSize(None, "bicubic"), workers, rank=rank, world=2) for rank in (0, 1)]
    batches = {int(batch["index"]): batch for part in parts for batch in part}
    assert [len(part) for part in parts] == [3, 2]
    for i in range(5):
        image, labels = dataset.read(i)
        assert np.array_equal(batches[i]["image"][0].permute(1, 2, 0), np.asarray(image))
        assert np.array_equal(batches[i]["mask"][0], labels)
    small = next(iter(EvalPairs(dataset, BaseSize((10,), "bicubic"), workers)))
    assert (small["image"].shape, small["mask"].shape) == ((1, 3, 10, 15), (1, 20, 30))


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": (2.0, 1.0)},
        {"base_size": (1, 2, 3)},
        {"base_size": ()},
        {"eval_size": (1, 2, 3)},
        {"eval_size": (0,)},
        {"base_size": (0,)},
        {"stride": 0.0},
        {"stride": 0.04},
        {"max_class_share": 0.0},
        {"flip": 1.5},
        {"jitter": 3.0},
        {"ignore_index": -1},
        {"width": 0},
    ],
    ids=str,
)
def test_settings_out_of_range(wrong):
    with pytest.raises(UserError, match="--task"):
        Segment(**wrong)
