"""Quant-Noise: weights that are rounded during a step."""

import pytest
import torch
from torch import nn

from resmlp.models.quantize import QuantNoise, full_range_step, nearest, with_quant_noise


def test_a_share_is_rounded_and_restored():
    model = nn.Sequential(nn.Linear(50, 40), nn.ReLU(), nn.Linear(40, 3))
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with QuantNoise(model, 0.25):
        moved = model[0].weight != before["0.weight"]
        step = full_range_step(before["0.weight"])
        rounded = nearest(before["0.weight"], step) * step[:, None]
        assert torch.equal(model[0].weight[moved], rounded[moved])
        assert moved.float().mean().item() == pytest.approx(0.25, abs=0.04)
        assert torch.equal(model[0].bias, before["0.bias"])
        model(torch.randn(2, 50)).sum().backward()
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    with pytest.raises(KeyError), QuantNoise(model, 1.0):
        raise KeyError
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@pytest.mark.isa
def test_the_gradient_is_that_of_the_rounded_weights():
    layer, x = nn.Linear(6, 4, bias=False).double(), torch.randn(5, 6).double()
    step = full_range_step(layer.weight.detach())
    rounded = (nearest(layer.weight.detach(), step) * step[:, None]).requires_grad_()
    (x @ rounded.T).square().sum().backward()
    with QuantNoise(layer, 1.0):
        layer(x).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, rounded.grad)


def test_share_0_draws_no_random_numbers():
    model = nn.Linear(3, 3)
    state = torch.get_rng_state()
    with QuantNoise(model, 0.0):
        model(torch.ones(1, 3))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(with_quant_noise(torch.randn(20, 20), 1.0), with_quant_noise(torch.randn(20, 20), 1.0))
