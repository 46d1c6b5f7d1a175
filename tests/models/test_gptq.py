"""Moments against inputs recorded by hooks, and error compensation against rounding and least squares."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resmlp.models import create_model
from resmlp.models.gptq import compensated, moments
from resmlp.models.quantize import best_step, matrices, nearest


def correlated(samples, columns):
    return torch.randn(samples, columns) @ (torch.randn(columns, columns) / columns**0.5) + torch.randn(columns)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mixer": "mlp"},
        {"mixer": "attention", "heads": 2, "pool": "classtoken"},
        {"pool": "classmlp"},
        {"mixer": "sepconv"},
    ],
)
def test_moments_against_hooks(changes):
    model = create_model("resmlp_digits", img_size=(6, 8), num_classes=3, patch_size=2, dim=8, depth=2, **changes)
    model.eval()
    images = [torch.randn(2, 3, 6, 8), torch.randn(1, 3, 6, 8)]
    expected = {}

    def keep(name):
        def hook(part, args):
            x = args[0]
            if isinstance(part, nn.Conv2d):
                x = F.unfold(x, part.kernel_size, part.dilation, part.padding, part.stride).transpose(1, 2)
            elif type(part).__name__ in ("LinearMixer", "TokenGather"):
                x = x.transpose(1, 2)
            x = x.detach().reshape(-1, x.shape[-1])
            expected[name] = expected.get(name, 0) + x.T @ x

        return hook

    for name, part in model.named_modules():
        if isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and part.groups == 1):
            part.register_forward_pre_hook(keep(f"{name}.weight"))
    sums = moments(model, images)
    assert sums.keys() == expected.keys()
    assert sums.keys() <= matrices(model).keys()
    for name, moment in sums.items():
        torch.testing.assert_close(moment, expected[name], rtol=1e-4, atol=1e-4)


def test_compensation_beats_rounding_over_the_inputs():
    weight, inputs = torch.randn(24, 32), correlated(500, 32)
    moment = inputs.T @ inputs
    step = best_step(weight, moment.diagonal())
    near = nearest(weight, step) * step[:, None]
    result = compensated(weight, moment, lambda column, _: nearest(column[:, None], step)[:, 0] * step)
    torch.testing.assert_close(result, nearest(result, step) * step[:, None])  # it consists of codes
    lost = [(inputs @ (weight - q).T).square().mean() for q in (near, result)]
    assert lost[1] < 0.5 * lost[0]


def test_removing_one_column_is_least_squares():
    """With all other columns free, the update is the regression of the lost part on them."""
    weight, inputs = torch.randn(3, 6).double(), correlated(200, 6).double()
    inputs[:, 0] *= 100  # so that it comes first
    moment = inputs.T @ inputs
    result = compensated(weight, moment, lambda column, j: column * 0 if j == 0 else column)
    damped = moment + 0.01 * moment.diagonal().mean() * torch.eye(6)
    free = slice(1, None)
    others = weight[:, free] + weight[:, :1] @ damped[:1, free] @ torch.linalg.inv(damped[free, free])
    assert (result[:, 0] == 0).all()
    torch.testing.assert_close(result[:, free], others)


def test_inputs_that_are_always_zero():
    weight = torch.randn(3, 4)
    result = compensated(weight, torch.zeros(4, 4), lambda column, _: column.round())
    torch.testing.assert_close(result, weight.round())
    one = torch.zeros(4, 4)
    one[1, 1] = 7.0
    torch.testing.assert_close(compensated(weight, one, lambda column, _: column.round()), weight.round())
