"""4-bit codes against loops in NumPy, steps against an exhaustive search, and malformed files."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from resmlp.models import create_model, read_weights
from resmlp.models.quantize import (
    LEVELS,
    Quantized,
    best_step,
    full_range_step,
    in_8_bits,
    matrices,
    nearest,
    pack,
    packed_state,
    to_half,
    unpack,
    unpacked_state,
)
from resmlp.utils.errors import UserError


@pytest.mark.parametrize("shape", [(1, 5), (2, 1), (7, 3), (8, 49), (5, 3, 4, 4)])
def test_packing_against_a_loop(shape):
    codes = torch.randint(-7, 8, shape, dtype=torch.int8)
    packed = pack(codes)
    assert packed.shape == (-(-shape[0] // 2), *shape[1:])
    assert packed.dtype == torch.uint8
    flat = codes.reshape(shape[0], -1).numpy()
    for i, row in enumerate(packed.reshape(len(packed), -1).numpy()):
        for j, byte in enumerate(row):
            assert int(byte) % 16 - 8 == flat[2 * i, j]
            if 2 * i + 1 < len(flat):
                assert int(byte) // 16 - 8 == flat[2 * i + 1, j]
    assert torch.equal(unpack(packed, shape[0]), codes)


def test_rounding_errors_are_at_most_half_a_step():
    weight = torch.randn(13, 3, 5)
    step = full_range_step(weight)
    error = (Quantized(nearest(weight, step), step).weight() - weight).abs()
    assert (error <= step.view(-1, 1, 1) * (0.5 + 1e-5)).all()
    assert torch.equal(nearest(weight, step).abs().flatten(1).amax(1), torch.full((13,), LEVELS, dtype=torch.int8))
    grid = torch.arange(-LEVELS, LEVELS + 1).float() * 0.25
    assert torch.equal(Quantized(nearest(grid[None], torch.tensor([0.25])), torch.tensor([0.25])).weight()[0], grid)


def test_the_best_step_against_an_exhaustive_search():
    weight, importance = torch.randn(4, 40), torch.rand(40)
    step = best_step(weight, importance)

    def loss(row, step):
        codes = np.clip(np.round(row / step), -7, 7)
        return (importance.numpy() * (codes * step - row) ** 2).sum()

    for row, best in zip(weight.numpy().astype(np.float64), step.tolist()):
        tried = [loss(row, share * abs(row).max() / 7) for share in np.linspace(0.4, 1, 2000)]
        assert loss(row, best) <= 1.05 * min(tried)
        assert loss(row, best) <= loss(row, abs(row).max() / 7) * 1.001


def test_a_row_of_zeros_and_one_of_tiny_numbers():
    weight = torch.stack([torch.zeros(6), torch.full((6,), 1e-30), torch.full((6,), 1e30)])
    for step in (full_range_step(weight), best_step(weight)):
        torch.testing.assert_close(Quantized(nearest(weight, step), step).weight(), weight, rtol=1e-3, atol=0)


def test_sixteen_bits_if_they_suffice():
    assert to_half(torch.tensor([0.0, 1.0, -3.3])).dtype == torch.float16
    assert to_half(torch.tensor([0.0])).dtype == torch.float16
    for odd in (1e-6, 1e6):
        assert torch.equal(to_half(torch.tensor([1.0, odd])), torch.tensor([1.0, odd]))


def small(**changes):
    model = create_model("resmlp_digits", img_size=(6, 6), num_classes=3, patch_size=2, dim=8, depth=1, **changes)
    return model.eval()


def test_bytes_as_counted_by_hand(tmp_path):
    """A 3x3 grid: 9 rows of 9; an MLP of 8 and 32; 8 rows of 3 * 2 * 2; a head of 3."""
    model = small()
    weights = matrices(model)
    assert sum(w.numel() for w in weights.values()) == 9 * 9 + 2 * 8 * 32 + 8 * 12 + 3 * 8
    quantized = {key: Quantized(nearest(w, full_range_step(w)), full_range_step(w)) for key, w in weights.items()}
    state = packed_state(model.state_dict(), quantized)
    codes = 5 * 9 + 16 * 8 + 4 * 32 + 4 * 12 + 2 * 8
    steps = 9 + 32 + 8 + 8 + 3
    biases, diagonals = 9 + 32 + 8 + 8 + 3, 8 * (2 + 1 + 2 + 1 + 2)
    assert sum(t.nbytes for t in state.values()) == codes + 2 * (steps + biases + diagonals)
    save_file(state, tmp_path / "model.safetensors")
    read = read_weights(tmp_path / "model.safetensors").state
    assert read.keys() == model.state_dict().keys()
    for key, weight in weights.items():
        torch.testing.assert_close(read[key], quantized[key].weight(), rtol=1e-3, atol=0)
        assert (read[key] - weight).abs().max() <= full_range_step(weight).max() * 0.51


def test_8_bits_round_by_at_most_half_a_step_of_the_row(tmp_path):
    model = small()
    weights = matrices(model)
    state = packed_state(model.state_dict(), {key: in_8_bits(weight) for key, weight in weights.items()})
    save_file(state, tmp_path / "model.safetensors")
    read = read_weights(tmp_path / "model.safetensors").state
    assert read.keys() == model.state_dict().keys()
    for key, weight in weights.items():
        assert state[f"{key}.codes"].dtype == torch.int8
        half = weight.detach().flatten(1).abs().amax(1) / 127 / 2
        off = (read[key] - weight.detach()).flatten(1).abs().amax(1)
        assert (off <= half * 1.13).all()  # the largest code, 127, also has the rounding of the step to 16 bits
        assert off.max() > 0


def test_8_bits_of_rows_of_zeros_are_zeros():
    assert torch.equal(in_8_bits(torch.zeros(2, 3)).weight(), torch.zeros(2, 3))


CODES, STEP = torch.full((2, 5), 0x97, dtype=torch.uint8), torch.ones(4)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"a.codes": CODES}, "a.codes has no a.step"),
        ({"a.codes": CODES, "a.step": STEP, "a": torch.ones(4, 5)}, "has a twice"),
        (
            {"a.codes": CODES, "a.step": torch.ones(5)},
            "a.codes is not in codes of 4 or 8 bits, shape (2, 5) for steps (5,)",
        ),
        ({"a.codes": CODES, "a.step": torch.ones(2)}, "a.codes is not in codes of 4 or 8 bits"),
        ({"a.codes": CODES, "a.step": torch.ones(4, 1)}, "a.codes is not in codes of 4 or 8 bits"),
        ({"a.codes": CODES, "a.step": torch.ones(4, dtype=torch.int64)}, "a.codes is not in codes of 4 or 8 bits"),
        ({"a.codes": CODES.float(), "a.step": STEP}, "a.codes is not in codes of 4 or 8 bits"),
        ({"a.codes": CODES.char(), "a.step": STEP}, "a.codes is not in codes of 4 or 8 bits, shape (2, 5)"),
        ({"a.codes": CODES[0], "a.step": STEP}, "a.codes is not in codes of 4 or 8 bits"),
        (
            {"a.codes": torch.zeros((), dtype=torch.uint8), "a.step": torch.zeros(0)},
            "a.codes is not in codes of 4 or 8 bits",
        ),
    ],
)
def test_hostile_files(tensors, words, tmp_path):
    with pytest.raises(UserError) as refused:
        unpacked_state(tmp_path / "x", tensors)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"head.weight.step": torch.tensor([1.0, float("nan"), 1.0])}, "head.weight holds values that are not finite"),
        ({"head.weight.codes": torch.zeros(2, 9, dtype=torch.uint8)}, ""),
        ({"head.weight.codes": torch.zeros(2, 0, dtype=torch.uint8)}, "head.weight is empty"),
        ({"head.bias.codes": torch.zeros(2, 1, dtype=torch.uint8)}, "head.bias.codes has no head.bias.step"),
    ],
)
def test_a_network_with_hostile_codes(change, words, tmp_path):
    from resmlp.config.preprocessing import Preprocessing
    from resmlp.models import open_model, save_model

    model = small()
    save_model(tmp_path, model, (), Preprocessing((6, 6)))
    steps = {key: full_range_step(w) for key, w in matrices(model).items()}
    quantized = {key: Quantized(nearest(w, steps[key]), steps[key]) for key, w in matrices(model).items()}
    state = packed_state(model.state_dict(), quantized)
    save_file(state, tmp_path / "model.safetensors")
    open_model(tmp_path)
    save_file(state | change, tmp_path / "model.safetensors")
    with pytest.raises(UserError) as refused:
        open_model(tmp_path)
    assert words in str(refused.value)
