"""Scenes: reproducible, with separate digits in the two splits, and masks that match the digits."""

import pickle

import numpy as np
import pytest

from resmlp.config import Data
from resmlp.config.tasks import Segment
from resmlp.data import open_eval_masks, open_masks
from resmlp.data.images.digits import digits_splits
from resmlp.data.masks.scenes import SIDE
from resmlp.utils.errors import UserError

DATA = Data(source="scenes")


@pytest.fixture(scope="module")
def scenes():
    return open_masks(DATA, Segment())


def test_counts_and_classes(scenes):
    train, val = scenes
    assert (len(train), len(val)) == (1500, 200)
    assert train.classes == val.classes == ("background", *"0123456789")
    assert len(set(train.palette)) == 11
    counts = sum(np.bincount(train.read(i)[1].ravel(), minlength=256) for i in range(150))
    frequencies = counts / counts.sum()
    assert 0.8 < frequencies[0] < 0.92
    assert (frequencies[1:11] > 0.005).all()
    assert not counts[11:].any()


def test_scene_is_a_function_of_its_number(scenes):
    train, val = scenes
    again = pickle.loads(pickle.dumps(open_masks(DATA, Segment()).train))
    for i in (0, 7, 1499):
        image, labels = train.read(i)
        other_image, other_labels = again.read(i)
        assert image.mode == "RGB"
        assert labels.shape == (SIDE, SIDE) == image.size
        assert labels.dtype == np.uint8
        assert np.array_equal(image, other_image)
        assert np.array_equal(labels, other_labels)
    seeded = open_masks(Data(source="scenes", split_seed=1), Segment()).train
    first = [np.asarray(masks.read(0)[0]).tobytes() for masks in (train, val, seeded)]
    assert len({*first, np.asarray(train.read(1)[0]).tobytes()}) == 4


def test_splits_share_no_digit(scenes):
    digits = [
        {masks.pairs[i].digits.name(j) for i in (0, -1) for j in range(len(masks.pairs[i].digits))} for masks in scenes
    ]
    expected = [{part.name(i) for i in range(len(part))} for part in digits_splits(DATA)]
    assert digits == expected
    assert not digits[0] & digits[1]


def test_contrast_of_digits(scenes):
    """The mean luminance inside and around a digit differs by at least 0.2 for nearly all digits."""
    gaps = []
    for i in range(60):
        image, labels = scenes.val.read(i)
        gray = np.asarray(image, float) @ [0.299, 0.587, 0.114] / 255
        for label in np.unique(labels)[1:]:
            rows, columns = np.nonzero(labels == label)
            box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            gaps.append(abs(gray[labels == label].mean() - gray[box][labels[box] == 0].mean()))
    assert np.quantile(gaps, 0.1) > 0.2


def test_splits_by_name(scenes):
    assert len(open_eval_masks(DATA, Segment())) == 200
    assert len(open_eval_masks(DATA, Segment(), "train")) == 1500
    with pytest.raises(UserError, match="no split 'test'"):
        open_eval_masks(DATA, Segment(), "test")


def test_fraction_of_the_scenes():
    assert len(open_masks(Data(source="scenes", fraction=0.1), Segment()).train) == 150
