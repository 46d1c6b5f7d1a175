"""Against logits that are added up for the whole image, one window at a time."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from resmlp.inference import sliding_window
from resmlp.inference.sliding_window import NumpySlidingWindow, SlidingWindow, starts
from resmlp.inference.torch_sliding_window import TorchSlidingWindow

pytestmark = pytest.mark.isa

K, FILL = 7, (9, 9, 9)
WEIGHT = torch.randn(K, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[TorchSlidingWindow, NumpySlidingWindow], ids=["torch", "numpy"])
def windows(request):
    """`windows(see, window, step, ...)`: the same for a network of torch, and for one whose logits are of NumPy."""

    def make(network, *args, **options) -> SlidingWindow:
        def run(images):
            logits = network(torch.from_numpy(images))
            return logits if request.param is TorchSlidingWindow else logits.numpy()

        return request.param(run, *args, **options)

    return make


def see(images):
    """B 3 h w -> B K h w that depends on the pixel and on its place in the window."""
    height, width = images.shape[-2:]
    place = torch.linspace(-1, 1, height)[:, None] + torch.linspace(0, 2, width)
    return torch.einsum("kc,bchw->bkhw", WEIGHT, images / 255) + place * torch.arange(K)[:, None, None] * 0.3


def whole_logits(image, window, step):
    """The mean logits K H W: windows every step, moved back where they would cross the border."""
    height, width = image.shape[1:]
    padded = torch.empty(3, max(height, window[0]), max(width, window[1]), dtype=torch.uint8).fill_(FILL[0])
    padded[:, :height, :width] = image
    sides = padded.shape[1:]
    tops, lefts = (
        sorted({min(at, side - own) for at in range(0, side, by)}) for side, own, by in zip(sides, window, step)
    )
    total, counts = torch.zeros(K, *sides), torch.zeros(sides)
    for top in tops:
        for left in lefts:
            here = (slice(top, top + window[0]), slice(left, left + window[1]))
            total[(slice(None), *here)] += see(padded[(slice(None), *here)][None])[0]
            counts[here] += 1
    return (total / counts)[:, :height, :width]


def random_image(*size):
    return torch.randint(0, 256, (3, *size), dtype=torch.uint8)


def likeliest(logits):
    return logits.argmax(0).to(torch.int16)


def agree(ours, logits):
    """Each pixel is of the largest logit, or of one that rounding may make the largest."""
    chosen = logits.gather(0, torch.from_numpy(ours).long()[None])[0]
    assert torch.allclose(chosen, logits.max(0).values, atol=1e-4, rtol=0)


@pytest.mark.parametrize("held", [sliding_window.HELD, 4 * K * 20 * 33], ids=["whole", "strips"])
@pytest.mark.parametrize("step", [(20, 24), (13, 16), (1, 24)])
@pytest.mark.parametrize("size", [(50, 70), (10, 90), (61, 5), (3, 4), (20, 24), (40, 48)])
def test_equals_logits_of_the_whole_image(windows, monkeypatch, size, step, held):
    monkeypatch.setattr(sliding_window, "HELD", held)
    image, window = random_image(*size), (20, 24)
    ours = windows(see, window, step, K, FILL).label(image.numpy())
    assert ours.dtype == np.int16
    assert ours.shape == size
    agree(ours, whole_logits(image, window, step))


@pytest.mark.parametrize("held", [sliding_window.HELD, 4 * K * 20 * 33])
@pytest.mark.parametrize("size", [(33, 41), (150, 99), (50, 140), (1, 1)])
def test_stretches_the_mean_logits(windows, monkeypatch, size, held):
    monkeypatch.setattr(sliding_window, "HELD", held)
    image = random_image(50, 70)
    ours = windows(see, (20, 20), (13, 13), K, FILL).label(image.numpy(), size)
    logits = whole_logits(image, (20, 20), (13, 13))
    agree(ours, F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0])


def test_steps_of_the_window_are_plain_tiles(windows):
    image = random_image(40, 60)
    ours = windows(see, (20, 20), (20, 20), K).label(image.numpy())
    for top in (0, 20):
        for left in (0, 20, 40):
            tile = image[:, top : top + 20, left : left + 20]
            assert np.array_equal(ours[top : top + 20, left : left + 20], likeliest(see(tile[None])[0]))


@pytest.mark.parametrize(
    ("length", "expected"), [(96, [0, 32, 48]), (48, [0]), (20, [0]), (80, [0, 32]), (49, [0, 1]), (112, [0, 32, 64])]
)
def test_the_last_window_is_flush_with_the_border(length, expected):
    assert starts(length, 48, 32) == expected


def test_windows_come_in_batches(windows):
    seen = []

    def counting(images):
        seen.append(len(images))
        return see(images)

    windows(counting, (20, 20), (20, 20), K, batch=4).label(random_image(20, 200).numpy())
    assert seen == [4, 4, 2]


def test_logits_that_are_held_do_not_grow_with_the_image(monkeypatch):
    monkeypatch.setattr(sliding_window, "HELD", 4 * K * 20 * 100)
    largest = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.is_floating_point():
                largest.append(result.numel())
            return result

    with Watch():
        TorchSlidingWindow(lambda images: see(torch.from_numpy(images)), (20, 20), (10, 10), K).label(
            random_image(400, 700).numpy()
        )
    assert max(largest) <= K * 20 * 100, "the whole image's would be 40 times as many"


def test_what_is_not_finite_is_of_no_class(windows):
    def broken(images):
        logits = see(images)
        logits[:, 2, 3, 4] = float("nan")
        logits[:, 1, 5, 6] = float("inf")
        return logits

    ours = windows(broken, (20, 20), (20, 20), K).label(random_image(20, 20).numpy())
    assert np.argwhere(ours == -1).tolist() == [[3, 4], [5, 6]]


@pytest.mark.parametrize("step", [(0, 20), (20, 21)])
def test_steps_that_leave_gaps_are_refused(windows, step):
    with pytest.raises(ValueError, match="gaps"):
        windows(see, (20, 20), step, K)
