"""Weights that are rounded for the length of a step."""

import pytest
import torch
from torch import nn

from resmlp.models.quantize import QuantNoise, nearest, noisy, widest


def test_a_share_is_rounded_and_all_comes_back():
    model = nn.Sequential(nn.Linear(50, 40), nn.ReLU(), nn.Linear(40, 3))
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with QuantNoise(model, 0.25):
        moved = model[0].weight != before["0.weight"]
        step = widest(before["0.weight"])
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
    step = widest(layer.weight.detach())
    rounded = (nearest(layer.weight.detach(), step) * step[:, None]).requires_grad_()
    (x @ rounded.T).square().sum().backward()
    with QuantNoise(layer, 1.0):
        layer(x).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, rounded.grad)


def test_off_draws_nothing():
    model = nn.Linear(3, 3)
    state = torch.get_rng_state()
    with QuantNoise(model, 0.0):
        model(torch.ones(1, 3))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(noisy(torch.randn(20, 20), 1.0), noisy(torch.randn(20, 20), 1.0))
