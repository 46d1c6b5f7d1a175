"""Whether a lower precision keeps the answers: counted by hand, and with engines that answer as they are told."""

from types import SimpleNamespace

import numpy as np
import pytest

from resmlp.backends.agreement import agreement, keep_agreeing
from resmlp.backends.check_images import check_images, check_pixels
from resmlp.config.precision import CHECKED, Execution
from resmlp.utils.errors import UserError


def test_agreement_by_hand():
    reference = np.array([[0.0, 4.0, 1.0], [3.0, 2.0, -1.0]])  # the range is 5
    found = agreement(reference, reference + [[0.0, -0.5, 0.1], [-1.5, 0.0, 0.0]])
    assert found[:3] == (2, 0.5, pytest.approx(0.3))
    assert not found.holds
    assert str(found) == "top-1 agrees on 50.0 % of 2 images, outputs differ by at most 30.0 % of their range"
    assert agreement(reference, reference).holds
    assert not agreement(reference, reference + np.nan).holds


def engine(name, precision, add):
    """Gives the mean of each channel, and something more."""
    return SimpleNamespace(name=name, precision=precision, run=lambda images: images.mean((2, 3)) + add)


def test_only_agreeing_engines_are_kept(capsys):
    batches = [np.random.default_rng(0).standard_normal((4, 3, 5, 5)) for _ in range(3)]
    engines = [
        engine("a", "fp32", 0.0),
        engine("b", "bf16", 1e-4),
        engine("c", "bf16", np.array([0, 9, 0])),
        engine("d", "fp32", 0.0),
    ]
    assert [each.name for each in keep_agreeing(engines, lambda: batches)] == ["a", "b", "d"]
    assert capsys.readouterr().err.startswith("note: c is not used in bf16: top-1 agrees on ")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_nothing_is_compared_where_one_precision_was_asked_for(precision):
    engines = [engine("a", precision, 0.0), engine("b", precision, 1.0)]
    assert keep_agreeing(engines, lambda: pytest.fail("images were made")) == engines


def test_the_images_of_a_check():
    batches = list(check_images((20, 12)))
    images = np.concatenate(batches)
    assert images.shape == (CHECKED, 3, 20, 12)
    assert abs(images.mean()) < 0.05
    assert 0.5 < images.std() < 1.5
    rows = images - images.mean((2, 3), keepdims=True)
    assert (rows[:, :, 1:] * rows[:, :, :-1]).mean() > 0.5 * (rows**2).mean()  # smooth
    assert all((again == batch).all() for again, batch in zip(check_images((20, 12)), batches))
    pixels = next(check_pixels((20, 12)))
    assert pixels.dtype == np.uint8
    assert pixels.min() < 50 < 200 < pixels.max()


@pytest.mark.parametrize(
    ("asked", "images", "found"),
    [
        (None, None, ("fp32",)),
        ("fp32", None, ("fp32",)),
        ("bf16", 1, ("bf16",)),
        ("auto", None, ("fp32", "bf16")),
        ("auto", 1023, ("fp32",)),
        ("auto", 1024, ("fp32", "bf16")),
    ],
)
def test_the_precisions_to_measure(asked, images, found):
    assert Execution(precision=asked, images=images).among(("fp32", "bf16"), "it") == found


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ("bf16", r"^--precision bf16: this cpu has fp32 \(leave it out\)$"),
        (
            "int8",
            r"^--precision int8: this cpu has fp32 \(resmlp compress --to int8-openvino writes a network in int8\)$",
        ),
    ],
)
def test_a_precision_that_is_not_there(asked, line):
    with pytest.raises(UserError, match=line):
        Execution(precision=asked).among(("fp32",), "this cpu")


def test_an_unknown_precision():
    with pytest.raises(UserError, match=r"^unknown precision 'fp8' \(one of auto, fp32, bf16, int8\)$"):
        Execution(precision="fp8")
