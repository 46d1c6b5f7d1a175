"""One set of parameters at several sizes, beside networks whose weights were moved once, and finite differences."""

import copy

import pytest
import torch
from torch import nn

from resmlp import create_model
from resmlp.models.any_size import AnySizeTrunk
from resmlp.models.resize import resize
from resmlp.utils.errors import UserError

SIZES = [(4, 4), (8, 12), (6, 10)]
KINDS = [{}, {"mixer": "mlp"}, {"mixer": "globalfilter"}, {"mixer": "dwconv", "pos_embed": True}, {"pool": "classmlp"}]


def trunk(**changes) -> AnySizeTrunk:
    torch.manual_seed(0)
    plain = create_model("resmlp_digits", img_size=8, num_classes=3, depth=2, dim=8, **changes)
    found = AnySizeTrunk(plain.config, SIZES)
    for parameter in found.parameters():
        nn.init.normal_(parameter, std=0.3)
    return found.eval()


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_each_size_is_a_network_whose_weights_were_moved_once(changes):
    several = trunk(**changes)
    hidden = {"token_hidden": 4 * 16} if changes.get("mixer") == "mlp" else {}
    for height, width in SIZES:
        x = torch.randn(2, 3, height, width)
        options = {"depth": 2, "dim": 8, "num_classes": 3, "img_size": (height, width)} | changes | hidden
        alone = create_model("resmlp_digits", **options).eval()
        state = resize(several.state_dict(), several.config.architecture, (4, 4), (height // 2, width // 2))
        alone.load_state_dict(state)
        torch.testing.assert_close(several(x), alone(x), rtol=1e-4, atol=1e-5)


def test_its_own_size_is_the_plain_network_and_so_is_its_checkpoint():
    several = trunk()
    plain = create_model("resmlp_digits", img_size=8, num_classes=3, depth=2, dim=8).eval()
    plain.load_state_dict(several.state_dict())  # the same names
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(several(x), plain(x))


def test_gradients_reach_the_shared_parameters():
    several = trunk().double()
    x, weight = torch.randn(2, 3, 6, 10).double(), several.blocks[1].tokens.fn.weight

    def loss() -> torch.Tensor:
        return several(x).square().sum()

    loss().backward()
    for i, j in ((0, 0), (3, 12), (15, 5)):
        step, ends = 1e-5, []
        for sign in (1, -1):
            with torch.no_grad():
                weight[i, j] += sign * step
                ends.append(loss().item())
                weight[i, j] -= sign * step
        assert weight.grad is not None
        assert weight.grad[i, j].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4, abs=1e-6)


@torch.no_grad()
def test_what_is_kept_without_gradients_follows_the_weights():
    several, x = trunk(), torch.randn(2, 3, 4, 4)
    first = several(x)
    assert torch.equal(several(x), first)
    moved = several.sizes["4x4"]._kept.moved
    assert several.sizes["4x4"]._kept.moved is moved  # not made again
    several.blocks[0].tokens.fn.weight.mul_(2)
    second = several(x)
    assert not torch.allclose(second, first)
    other = copy.deepcopy(several)
    other.load_state_dict({key: torch.zeros_like(tensor) for key, tensor in other.state_dict().items()})
    assert torch.equal(other(x), torch.zeros(2, 3))
    assert torch.equal(several(x), second)
    several.double()
    torch.testing.assert_close(several(x.double()).float(), second, rtol=1e-4, atol=1e-5)


def test_a_size_that_it_was_not_made_for():
    with pytest.raises(UserError, match="images of 2x2 for a network of 8x8, 4x4, 8x12, 6x10"):
        trunk()(torch.randn(1, 3, 2, 2))
