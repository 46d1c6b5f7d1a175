"""Linear layers in 8 bits against the same rounding written out, and translations with them."""

import numpy as np
import pytest
import torch
from torch import nn

from resmlp.inference import load
from resmlp.models.packed_linear import Int8Linear


@pytest.mark.parametrize("shape", [(1, 24), (7, 24), (2, 5, 24)])
def test_int8_is_rounding_to_8_bits(shape):
    """Codes of W by row, codes of x from its range; the sums are exact integers."""
    torch.manual_seed(0)
    linear = nn.Linear(24, 40).eval().requires_grad_(False)
    layer, x = Int8Linear(linear), torch.randn(shape)
    weight = linear.weight.double().numpy()
    scales = np.abs(weight).max(1, keepdims=True) / 127
    low, high, most = min(0.0, x.min().item()), max(0.0, x.max().item()), 127 if layer.reduce_range else 255
    step = (high - low) / most
    zero = round(-low / step)
    codes = np.clip(np.rint(x.double().numpy() / step) + zero, 0, most) - zero
    expected = (codes * step) @ (np.rint(weight / scales) * scales).T + linear.bias.double().numpy()
    found = layer(x).double().numpy()
    assert found.shape == (*shape[:-1], 40)
    one_code = step * np.abs(weight).sum(1).max() / 24  # rounding to even or away may choose another code
    assert np.abs(found - expected).max() < 2 * one_code
    assert np.abs(found - linear(x).numpy()).max() < step * np.abs(weight).sum(1).max()


def test_a_translator_in_8_bits(translator_run):
    """What the encoder says of a sentence differs by per cents, and it translates."""
    exact, small = (load(translator_run, "cpu", precision=precision) for precision in ("fp32", "int8"))
    tokens = torch.tensor(exact.tokens(["nine hundred forty-one"]))
    with torch.inference_mode():
        ours, theirs = (translator.model.encode(tokens)[0] for translator in (exact, small))
    assert 0 < (ours - theirs).std() < 0.05 * ours.std()
    assert small.predict("seven", beam=1).text
    assert repr(small).endswith("cpu, int8)")
