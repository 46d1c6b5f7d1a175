"""RandAugment against timm's, each operation and the whole policy, with the same random numbers."""

import random

import numpy as np
import pytest
from PIL import Image
from timm.data.auto_augment import rand_augment_transform

from resmlp.config.preprocessing import Preprocessing
from resmlp.data.images.randaugment import rand_augment
from resmlp.utils.seeding import seed_host

RECIPE = "rand-m9-n2-mstd0.5-inc1"


def timm_policy(p: Preprocessing, magnitudes: str):
    settings = {
        "translate_const": int(min(p.size) * 0.45),
        "img_mean": tuple(round(255 * mean) for mean in p.mean),
        "interpolation": {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR}[p.interpolation],
    }
    policy = rand_augment_transform(magnitudes, settings)
    for op in policy.ops:
        if op.name.startswith("Posterize"):  # Pillow refuses 0 bits; resmlp keeps 1
            op.level_fn = lambda level, hparams, own=op.level_fn: (max(1, own(level, hparams)[0]),)
    return policy


def differences(actual, expected, image: Image.Image, key: int) -> np.ndarray:
    seed_host(key)
    pixels = actual(np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))).transpose(1, 2, 0).astype(int)
    after = random.random(), np.random.rand()
    seed_host(key)
    far = abs(pixels - np.asarray(expected(image)))
    assert after == (random.random(), np.random.rand()), "other random numbers"
    return far


@pytest.mark.parametrize("number", range(15))
@pytest.mark.parametrize("magnitudes", [RECIPE, "rand-m7-mstd2-inc0"])
def test_each_operation(photo, number, magnitudes):
    """Color operations are equal; moved pixels differ by at most 1."""
    image, p = photo.resize((48, 40)), Preprocessing((40, 48))
    actual, expected = rand_augment(p, magnitudes).ops[number], timm_policy(p, magnitudes).ops[number]
    assert actual.name == expected.name
    moves = actual.name.startswith(("Shear", "Translate"))
    for key in range(25):
        far = differences(actual, expected, image, key)
        assert far.max() <= moves
        assert far.mean() < 0.02


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("magnitudes", [RECIPE, "rand-m9-n3-p0.9-mstd101-mmax20-inc1", "rand-n1-tweights", "rand-t3aw"])
def test_whole_policy(photo, magnitudes, interpolation):
    p = Preprocessing((47, 61), interpolation=interpolation)
    actual, expected = rand_augment(p, magnitudes), timm_policy(p, magnitudes)
    far = [differences(actual, expected, photo, key).mean() for key in range(60)]
    assert np.mean(far) < 0.02
    assert max(far) < 0.5  # a difference of 1 before equalization is more after it


def test_frequency_of_the_operations(photo):
    """2 of 15 operations, each applied with probability 1/2: 2,000 policies, within five standard deviations."""
    policy = rand_augment(Preprocessing((8, 8)), RECIPE)
    counts = np.zeros(15)
    for number, op in enumerate(policy.ops):
        op.aug_fn = lambda image, *level, number=number, **_: (counts.__setitem__(number, counts[number] + 1), image)[1]
    for _ in range(2000):
        policy(np.zeros((3, 8, 8), np.uint8))
    assert abs(counts - 2000 / 15).max() < 5 * np.sqrt(2000 / 15)
