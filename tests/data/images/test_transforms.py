"""The transforms of one image, against timm and against Pillow."""

import pickle
import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps
from timm.data import create_transform
from timm.data.transforms import RandomResizedCropAndInterpolation

from resmlp.config import Augment, Data
from resmlp.config.preprocessing import Preprocessing
from resmlp.data import eval_transform, train_transform
from resmlp.imaging.crop import RESAMPLING
from resmlp.imaging.image_file import File, Pixels
from resmlp.utils.errors import UserError
from resmlp.utils.seeding import seed_host

PLAIN = {"flip": 0.0, "policy": "none"}


def of(image: Image.Image) -> Pixels:
    """The image as an `ImageSource`, the input of the training transform."""
    return Pixels("photo", np.asarray(image))


@pytest.mark.parametrize("crop_ratio", [0.875, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("size", [(24, 24), (96, 96), (32, 48), (64, 16)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_evaluation_equals_timm(photo, size, crop_ratio, interpolation):
    actual = eval_transform(Preprocessing(size, crop_ratio, interpolation))
    expected = create_transform((3, *size), crop_pct=crop_ratio, interpolation=interpolation, normalize=False)
    for image in (photo, photo.rotate(90, expand=True), photo.resize((9, 200))):
        assert actual(image).shape == (3, *size)
        assert torch.equal(actual(image), expected(image))


def test_evaluation_of_real_images(shared):
    actual = eval_transform(Preprocessing((224, 224), 0.9))
    expected = create_transform((3, 224, 224), crop_pct=0.9, interpolation="bicubic", normalize=False)
    for path in sorted((shared / "caltech20" / "val").glob("*/*"))[::97]:
        image = Image.open(path).convert("RGB")
        assert torch.equal(actual(image), expected(image))


@pytest.mark.parametrize(("policy", "name"), [("rand", "rand-m5-n2-mstd0.5-inc1"), ("three", "3a")])
def test_policies_equal_those_of_timm(photo, policy, name):
    """With the same random numbers; magnitude 5 is so low that posterize keeps its bits."""
    image = photo.resize((90, 70))
    actual = train_transform(Data(img_size=(32,)), Augment(policy=policy, magnitudes=name, jitter=0.3))
    expected = create_transform(
        32, is_training=True, color_jitter=0.3, auto_augment=name, interpolation="bicubic", use_prefetcher=True
    )
    far = []
    for key in range(120):
        seed_host(key)
        pixels = actual(of(image))
        seed_host(key)
        far.append((pixels.int() - expected(image).int()).abs())
    far = torch.stack(far).float()
    assert far.mean() < 0.06
    assert far.mean((1, 2, 3)).median() < 0.02  # equalize and others may increase a difference of 1 after the crop


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (20, 20), (300, 10), (9, 400)])
@pytest.mark.parametrize("share", [(0.08, 1.0), (0.9, 1.0)])
def test_boxes_of_resized_crops_equal_those_of_timm(size, share):
    crop, image = train_transform(Data(), Augment(scale=share)).crop, Image.new("RGB", size)
    for key in range(100):
        seed_host(key)
        left, top, right, bottom = crop.choose(size).box
        after = random.random()
        seed_host(key)
        expected = RandomResizedCropAndInterpolation.get_params(image, share, (3 / 4, 4 / 3))
        assert (top, left, bottom - top, right - left) == expected
        assert random.random() == after


def test_smallest_images_have_a_crop():
    for size in ((1, 1), (1, 30), (2, 1)):
        crop = train_transform(Data(), Augment(scale=(1e-9, 0.1))).crop
        for _ in range(50):
            left, top, right, bottom = crop.choose(size).box
            assert 0 <= left < right <= size[0]
            assert 0 <= top < bottom <= size[1]


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "nearest"])
@pytest.mark.parametrize("size", [(16, 16), (80, 40)])
def test_resizing_is_close_to_pillow(photo, interpolation, size):
    data = Data(img_size=size, interpolation=interpolation)
    for image in (photo, photo.resize((200, 150)), photo.resize((5, 3)), photo.resize((1, 1))):
        actual = train_transform(data, Augment(**PLAIN)).crop.fit(np.asarray(image)).astype(int)
        expected = np.asarray(image.resize(size[::-1], RESAMPLING[interpolation])).transpose(2, 0, 1)
        assert abs(actual - expected).max() <= 3
        assert abs(actual - expected).mean() < 0.2


def test_large_jpegs_are_decoded_at_reduced_resolution(tmp_path):
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((1200, 900))
    smooth.save(tmp_path / "a.jpg", quality=95)
    image = File(str(tmp_path / "a.jpg"))
    crop = train_transform(Data(img_size=(64,)), Augment(**PLAIN, scale=(0.2, 1.0))).crop
    scales = set()
    for _ in range(30):
        parts = []
        actual = crop.fit(image.read_region(lambda size: parts.append(crop.choose(size)) or parts[0]))  # noqa: B023
        left, top, right, bottom = parts[0].box
        scale = 8 if min(right - left, bottom - top) >= 8 * 64 else 4
        x, y, width, height = (scale * (side // scale) for side in (left, top, right - left, bottom - top))
        expected = crop.fit(np.asarray(image.read().crop((x, y, x + width, y + height))))
        assert abs(actual.astype(int) - expected).mean() < 1
        scales.add(scale)
    assert scales == {4, 8}


def test_three_augment_is_gray_solarized_or_blurred():
    """DeiT III: grayscale, solarize at 128, blur of radius 0.1 to 2, with equal probability."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    data = Data(img_size=(16,), crop_ratio=1.0)
    transform = train_transform(data, Augment(crop="center", policy="three", flip=0.0))
    gray, solar = (np.asarray(x.convert("RGB")) for x in (image.convert("L"), ImageOps.solarize(image, 128)))
    blurred = image.filter(ImageFilter.GaussianBlur(2.0))
    counts = [0, 0, 0]
    for key in range(300):
        random.seed(key)
        out = transform(of(image)).permute(1, 2, 0).numpy().astype(int)
        kind = 0 if abs(out - gray).max() <= 1 else 1 if (out == solar).all() else 2
        counts[kind] += 1
        assert kind < 2 or out.std() >= np.asarray(blurred).std() - 0.5
    assert min(counts) > 70


def test_rand_augment_never_fails(photo):
    """timm's posterize may ask for 0 bits, which Pillow 12 and later refuse."""
    small = photo.resize((16, 16))
    for magnitudes in ("rand-m9-n2-mstd0.5-inc1", "rand-m10-n4-p1.0-inc1", "rand-m0-n4-p1.0"):
        transform = train_transform(Data(img_size=(16,)), Augment(**{**PLAIN, "policy": "rand"}, magnitudes=magnitudes))
        for key in range(300):
            seed_host(key)
            assert transform(of(small)).shape == (3, 16, 16)


def test_posterize_keeps_one_bit(photo):
    transform = train_transform(Data(), Augment(policy="rand", magnitudes="rand-m10-n1-p1.0-inc1"))
    op = next(op for op in transform.steps[1].ops if op.name == "PosterizeIncreasing")
    assert op(np.asarray(photo)).tolist() == (np.asarray(photo) & 0x80).tolist()


def test_invalid_magnitudes():
    with pytest.raises(UserError, match="--augment.magnitudes"):
        train_transform(Data(), Augment(policy="rand", magnitudes="random-m9"))
    with pytest.raises(UserError, match="--augment.magnitudes"):
        train_transform(Data(), Augment(policy="rand", magnitudes="rand-z9"))


@pytest.mark.parametrize("size", [8, 32])
def test_pad_crop_shifts_the_image_into_black(size):
    pixels = np.random.default_rng(0).integers(1, 256, (size, size, 3), dtype=np.uint8)
    transform = train_transform(Data(img_size=(size,)), Augment(crop="pad", flip=0.0))
    most = size // 8
    padded = np.pad(pixels, ((most, most), (most, most), (0, 0)))
    views = {
        padded[y : y + size, x : x + size].tobytes(): (y, x) for y in range(2 * most + 1) for x in range(2 * most + 1)
    }
    seen = {views[transform(Pixels("", pixels)).permute(1, 2, 0).numpy().tobytes()] for _ in range(500)}
    assert len(seen) > 0.95 * len(views)


def test_other_shapes(photo):
    for crop in ("pad", "center", "resized"):
        assert train_transform(Data(img_size=(24, 40)), Augment(crop=crop))(of(photo)).shape == (3, 24, 40)


def test_center_crop_equals_evaluation(photo):
    data = Data(img_size=(32,), crop_ratio=0.8)
    actual = train_transform(data, Augment(crop="center", flip=0.0))
    assert torch.equal(actual(of(photo)), eval_transform(data.preprocessing())(photo))


def test_flip(photo):
    always, never = (train_transform(Data(img_size=(32,)), Augment(crop="center", flip=p)) for p in (1.0, 0.0))
    assert torch.equal(always(of(photo)).flip(2), never(of(photo)))


def test_jitter_alone(photo):
    """Brightness, contrast and saturation, but no hue: a gray image stays gray."""
    transform = train_transform(Data(img_size=(32,)), Augment(crop="center", flip=0.0, jitter=0.4))
    plain = train_transform(Data(img_size=(32,)), Augment(crop="center", flip=0.0))
    assert not torch.equal(transform(of(photo)), plain(of(photo)))
    gray = transform(of(photo.convert("L")))
    assert torch.equal(gray[0], gray[1])


@pytest.mark.parametrize("policy", ["rand", "three", "none"])
def test_transforms_can_be_pickled(photo, policy):
    """Worker processes that are not forked receive them as pickles."""
    transform = train_transform(Data(img_size=(16,)), Augment(policy=policy, jitter=0.1))
    assert pickle.loads(pickle.dumps(transform))(of(photo)).shape == (3, 16, 16)
