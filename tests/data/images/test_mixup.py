"""Normalization, erasing and mixing against closed forms."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from resmlp.config import Augment, Data
from resmlp.data import BatchAugment, eval_transform, normalize

DATA = Data(img_size=(16,))
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])
KEYS = torch.arange(6)


def images(side: int = 16) -> torch.Tensor:
    return torch.randint(0, 256, (6, 3, side, side), dtype=torch.uint8)


@pytest.mark.isa
def test_normalize():
    x, mean, std = images(), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    expected = (x.double() / 255 - torch.tensor(mean).double().view(3, 1, 1)) / torch.tensor(std).double().view(3, 1, 1)
    before = x.clone()
    out = normalize(x, mean, std)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=1e-5)
    assert torch.equal(x, before)


@pytest.mark.isa
def test_evaluation_input_equals_timm(photo: Image.Image):
    p = DATA.preprocessing()
    expected = create_transform((3, 16, 16), crop_pct=p.crop_ratio, interpolation="bicubic", mean=p.mean, std=p.std)
    actual = normalize(eval_transform(p)(photo)[None], p.mean, p.std)[0]
    torch.testing.assert_close(actual, expected(photo), rtol=0, atol=1e-5)  # pixel values differ by 0.017


def test_without_augmentation():
    x = images()
    out, targets = BatchAugment(Augment(), DATA, 5)(x, LABELS, KEYS)
    assert torch.equal(out, normalize(x, DATA.mean, DATA.std))
    assert targets.dtype == torch.float32
    assert torch.equal(targets, torch.eye(5)[LABELS])


@pytest.mark.isa
def test_mixup_mixes_images_and_targets_with_the_same_weight():
    x, weights = images(), []
    plain, mix = normalize(x, DATA.mean, DATA.std), BatchAugment(Augment(mixup=1.0), DATA, 5)
    for seed in range(20):
        np.random.seed(seed)
        out, targets = mix(x, LABELS, KEYS)
        weight = targets[1, 1].item()  # image 1 is mixed with image 4, of class 4
        one_hot = torch.eye(5)[LABELS]
        torch.testing.assert_close(targets, weight * one_hot + (1 - weight) * one_hot.flip(0))
        torch.testing.assert_close(out, weight * plain + (1 - weight) * plain.flip(0), rtol=0, atol=1e-5)
        weights.append(weight)
    assert len(set(weights)) == 20
    assert targets[0, 0] == 1  # images 0 and 5 are of the same class


def test_cutmix_weighs_targets_by_area():
    x = images()
    plain, mix = normalize(x, DATA.mean, DATA.std), BatchAugment(Augment(cutmix=1.0), DATA, 5)
    for seed in range(20):
        np.random.seed(seed)
        out, targets = mix(x, LABELS, KEYS)
        own, other = (out == plain).all(1), (out == plain.flip(0)).all(1)
        assert (own | other).all()
        torch.testing.assert_close(targets[1, 1], own[1].float().mean(), rtol=0, atol=2 / 256)
        torch.testing.assert_close(targets.sum(1), torch.ones(6))


def test_mixing_probabilities():
    """`mix_prob` of the batches are mixed, and `switch_prob` of those by CutMix."""
    x = images(8)
    plain = normalize(x, DATA.mean, DATA.std)
    mix = BatchAugment(Augment(mixup=1.0, cutmix=1.0, mix_prob=0.5, switch_prob=0.25), DATA, 5)
    untouched = cut = 0
    for seed in range(600):
        np.random.seed(seed)
        out, targets = mix(x, LABELS, KEYS)
        same = torch.equal(out, plain)
        untouched += same
        cut += not same and bool(((out == plain) | (out == plain.flip(0))).all())
        assert not same or targets[1, 1] == 1
    assert untouched / 600 == pytest.approx(0.5, abs=0.07)
    assert cut / (600 - untouched) == pytest.approx(0.25, abs=0.08)


def test_erasing_is_a_rectangle_of_normal_noise():
    x = torch.full((64, 3, 32, 32), 255, dtype=torch.uint8)
    out, _ = BatchAugment(Augment(erasing=0.5), DATA, 5)(
        x, torch.zeros(64, dtype=torch.int64), torch.arange(64) + 2**40
    )
    white = normalize(x, DATA.mean, DATA.std)
    erased = (out != white).any(1)  # B H W
    hit = erased.flatten(1).any(1)
    assert 20 < hit.sum() < 44
    for mask in erased[hit]:
        rows, columns = mask.any(1), mask.any(0)
        assert torch.equal(mask, rows[:, None] & columns[None])
        assert 0.01 < mask.float().mean() < 0.4
    noise = out.permute(0, 2, 3, 1)[erased]
    assert noise.mean().abs() < 0.05
    assert noise.std() == pytest.approx(1, abs=0.05)


def test_erasing_goes_before_mixing():
    """As in timm: the noise itself is mixed, so half of it remains if one of two images is erased."""
    x, labels = torch.zeros(2, 3, 16, 16, dtype=torch.uint8), torch.tensor([0, 1])
    augment = BatchAugment(Augment(erasing=0.5, mixup=1e6), DATA, 2)  # alpha so large that the weight is 1/2
    alone = BatchAugment(Augment(erasing=0.5), DATA, 2)
    for seed in range(8):
        keys = torch.tensor([seed, seed + 100])
        erased, _ = alone(x, labels, keys)
        mixed, _ = augment(x, labels, keys)
        torch.testing.assert_close(mixed, (erased + erased.flip(0)) / 2, rtol=0, atol=0.02)


def test_erasing_is_a_function_of_the_key_and_leaves_all_generators():
    x = torch.zeros(8, 3, 16, 16, dtype=torch.uint8)
    labels, keys = torch.zeros(8, dtype=torch.int64), torch.arange(8)
    erase = BatchAugment(Augment(erasing=0.5), DATA, 2)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    whole, _ = erase(x, labels, keys)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    own = torch.tensor([6, 1, 4])
    assert torch.equal(erase(x[own], labels[own], keys[own])[0], whole[own])
    assert not torch.equal(erase(x, labels, keys + 8)[0], whole)


def test_erasing_on_a_cpu_seeds_no_accelerator(monkeypatch):
    """torch.manual_seed would keep a formatted stack trace for each image, to seed a GPU that is not in use."""
    monkeypatch.setattr(torch, "manual_seed", lambda number: pytest.fail("it was called"))
    x = torch.zeros(8, 3, 16, 16)
    BatchAugment(Augment(erasing=0.5), DATA, 2).erase(x, torch.arange(8))
    assert x.any()
