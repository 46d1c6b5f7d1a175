"""One picture's transforms, against timm's and against Pillow alone."""

import pickle
import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps
from timm.data import create_transform
from torchvision.transforms import Compose

from resmlp.config import Augment, Data
from resmlp.data import eval_transform, train_transform
from resmlp.errors import UserError
from resmlp.preprocessing import Preprocessing
from resmlp.randomness import seed_host

PLAIN = {"flip": 0.0, "policy": "none"}


@pytest.mark.parametrize("crop_ratio", [0.875, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("size", [(24, 24), (96, 96), (32, 48), (64, 16)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_evaluation_is_timms_to_the_pixel(photo, size, crop_ratio, interpolation):
    ours = eval_transform(Preprocessing(size, crop_ratio, interpolation))
    theirs = create_transform((3, *size), crop_pct=crop_ratio, interpolation=interpolation, normalize=False)
    for image in (photo, photo.rotate(90, expand=True), photo.resize((9, 200))):
        assert ours(image).shape == (3, *size)
        assert torch.equal(ours(image), theirs(image))


def test_evaluation_of_real_pictures(shared):
    ours = eval_transform(Preprocessing((224, 224), 0.9))
    theirs = create_transform((3, 224, 224), crop_pct=0.9, interpolation="bicubic", normalize=False)
    for path in sorted((shared / "caltech20" / "val").glob("*/*"))[::97]:
        image = Image.open(path).convert("RGB")
        assert torch.equal(ours(image), theirs(image))


@pytest.mark.parametrize(("policy", "name"), [("rand", "rand-m5-n2-mstd0.5-inc1"), ("three", "3a")])
def test_policies_are_those_of_timms_factory(photo, policy, name):
    """With the same draws, to the pixel; magnitude 5 is so low that posterize keeps its bits."""
    augment = Augment(policy=policy, magnitudes=name, jitter=0.3)
    crop, flip, *ours = train_transform(Data(img_size=(32,)), augment).transforms
    _, *theirs = create_transform(
        32,
        is_training=True,
        color_jitter=0.3,
        auto_augment=name,
        interpolation="bicubic",
        use_prefetcher=True,
        separate=True,
    )
    view = flip(crop(photo))
    for key in range(60):
        seed_host(key)
        image = Compose(ours)(view)
        seed_host(key)
        assert torch.equal(image, Compose(theirs)(view))


def test_three_augment_is_grey_solarised_or_blurred():
    """DeiT III: greyscale, solarise at 128, blur of radius 0.1 to 2, each as often."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    data = Data(img_size=(16,), crop_ratio=1.0)
    transform = train_transform(data, Augment(crop="centre", policy="three", flip=0.0))
    grey, solar = (np.asarray(x.convert("RGB")) for x in (image.convert("L"), ImageOps.solarize(image, 128)))
    blurred = image.filter(ImageFilter.GaussianBlur(2.0))
    counts = [0, 0, 0]
    for key in range(300):
        random.seed(key)
        out = transform(image).permute(1, 2, 0).numpy().astype(int)
        kind = 0 if abs(out - grey).max() <= 1 else 1 if (out == solar).all() else 2
        counts[kind] += 1
        assert kind < 2 or out.std() >= np.asarray(blurred).std() - 0.5
    assert min(counts) > 70


def test_rand_augment_never_fails(photo):
    """timm's posterize may ask for 0 bits, which Pillow refuses from version 12 on."""
    small = photo.resize((16, 16))
    for magnitudes in ("rand-m9-n2-mstd0.5-inc1", "rand-m10-n4-p1.0-inc1", "rand-m0-n4-p1.0"):
        transform = train_transform(Data(img_size=(16,)), Augment(**{**PLAIN, "policy": "rand"}, magnitudes=magnitudes))
        for key in range(300):
            seed_host(key)
            assert transform(small).shape == (3, 16, 16)


def test_posterize_keeps_one_bit(photo):
    transform = train_transform(Data(), Augment(policy="rand", magnitudes="rand-m10-n1-p1.0-inc1"))
    op = next(op for op in transform.transforms[2].ops if op.name == "PosterizeIncreasing")
    assert np.asarray(op(photo)).tolist() == (np.asarray(photo) & 0x80).tolist()


def test_magnitudes_that_timm_refuses():
    with pytest.raises(UserError, match="--augment.magnitudes"):
        train_transform(Data(), Augment(policy="rand", magnitudes="random-m9"))
    with pytest.raises(UserError, match="--augment.magnitudes"):
        train_transform(Data(), Augment(policy="rand", magnitudes="rand-z9"))


@pytest.mark.parametrize("size", [8, 32])
def test_pad_crop_is_a_shift_into_black(size):
    pixels = np.random.default_rng(0).integers(1, 256, (size, size, 3), dtype=np.uint8)
    transform = train_transform(Data(img_size=(size,)), Augment(crop="pad", flip=0.0))
    most = size // 8
    padded = np.pad(pixels, ((most, most), (most, most), (0, 0)))
    views = {
        padded[y : y + size, x : x + size].tobytes(): (y, x) for y in range(2 * most + 1) for x in range(2 * most + 1)
    }
    seen = {views[transform(Image.fromarray(pixels)).permute(1, 2, 0).numpy().tobytes()] for _ in range(500)}
    assert len(seen) > 0.95 * len(views)


def test_other_shapes(photo):
    for crop in ("pad", "centre", "resized"):
        assert train_transform(Data(img_size=(24, 40)), Augment(crop=crop))(photo).shape == (3, 24, 40)


def test_centre_crop_is_evaluations(photo):
    data = Data(img_size=(32,), crop_ratio=0.8)
    ours = train_transform(data, Augment(crop="centre", flip=0.0))
    assert torch.equal(ours(photo), eval_transform(data.preprocessing())(photo))


def test_flip(photo):
    always, never = (train_transform(Data(img_size=(32,)), Augment(crop="centre", flip=p)) for p in (1.0, 0.0))
    assert torch.equal(always(photo).flip(2), never(photo))


def test_jitter_alone(photo):
    """Brightness, contrast and saturation, but no hue: a grey picture stays grey."""
    transform = train_transform(Data(img_size=(32,)), Augment(crop="centre", flip=0.0, jitter=0.4))
    plain = train_transform(Data(img_size=(32,)), Augment(crop="centre", flip=0.0))
    assert not torch.equal(transform(photo), plain(photo))
    grey = transform(photo.convert("L").convert("RGB"))
    assert torch.equal(grey[0], grey[1])


@pytest.mark.parametrize("policy", ["rand", "three", "none"])
def test_transforms_can_be_pickled(photo, policy):
    """Loader processes that are not forked receive them so."""
    transform = train_transform(Data(img_size=(16,)), Augment(policy=policy, jitter=0.1))
    assert pickle.loads(pickle.dumps(transform))(photo).shape == (3, 16, 16)
