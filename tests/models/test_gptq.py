"""Moments against the inputs written down, and error feedback against rounding and against least squares."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resmlp.models import create_model
from resmlp.models.gptq import moments, rounded
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
    wanted = {}

    def keep(name):
        def hook(part, args):
            x = args[0]
            if isinstance(part, nn.Conv2d):
                x = F.unfold(x, part.kernel_size, part.dilation, part.padding, part.stride).transpose(1, 2)
            elif type(part).__name__ in ("LinearMixer", "TokenGather"):
                x = x.transpose(1, 2)
            x = x.detach().reshape(-1, x.shape[-1])
            wanted[name] = wanted.get(name, 0) + x.T @ x

        return hook

    for name, part in model.named_modules():
        if isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and part.groups == 1):
            part.register_forward_pre_hook(keep(f"{name}.weight"))
    found = moments(model, images)
    assert found.keys() == wanted.keys()
    assert found.keys() <= matrices(model).keys()
    for name, moment in found.items():
        torch.testing.assert_close(moment, wanted[name], rtol=1e-4, atol=1e-4)


def test_feedback_beats_rounding_over_the_inputs():
    weight, inputs = torch.randn(24, 32), correlated(500, 32)
    moment = inputs.T @ inputs
    step = best_step(weight, moment.diagonal())
    near = nearest(weight, step) * step[:, None]
    found = rounded(weight, moment, lambda column, _: nearest(column[:, None], step)[:, 0] * step)
    torch.testing.assert_close(found, nearest(found, step) * step[:, None])  # it is made of codes
    lost = [(inputs @ (weight - q).T).square().mean() for q in (near, found)]
    assert lost[1] < 0.5 * lost[0]


def test_what_is_left_after_the_last_column_is_least_squares():
    """With all but the first columns kept free, the update is the regression of what was lost on the others."""
    weight, inputs = torch.randn(3, 6).double(), correlated(200, 6).double()
    inputs[:, 0] *= 100  # so that it comes first
    moment = inputs.T @ inputs
    found = rounded(weight, moment, lambda column, j: column * 0 if j == 0 else column)
    damped = moment + 0.01 * moment.diagonal().mean() * torch.eye(6)
    free = slice(1, None)
    others = weight[:, free] + weight[:, :1] @ damped[:1, free] @ torch.linalg.inv(damped[free, free])
    assert (found[:, 0] == 0).all()
    torch.testing.assert_close(found[:, free], others)


def test_inputs_that_are_always_zero():
    weight = torch.randn(3, 4)
    found = rounded(weight, torch.zeros(4, 4), lambda column, _: column.round())
    torch.testing.assert_close(found, weight.round())
    one = torch.zeros(4, 4)
    one[1, 1] = 7.0
    torch.testing.assert_close(rounded(weight, one, lambda column, _: column.round()), weight.round())
