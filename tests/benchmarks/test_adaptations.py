"""Ways to move a network to another image size, against closed forms."""

import pytest
import torch
import torch.nn.functional as F

import resmlp
from resmlp.config.preprocessing import Preprocessing
from resmlp.models import Saved
from resmlp.models.at_size import at_size
from resmlp.nn.grid_resampling import resampling
from resmlp.nn.init import convolution_matrix

GRID = (4, 5)


@pytest.fixture
def ways(benchmark_module):
    return benchmark_module("adaptations")


@pytest.fixture
def saved() -> Saved:
    torch.manual_seed(0)
    model = resmlp.create_model("resmlp_digits", img_size=(8, 10), num_classes=3, depth=2, init="local").eval()
    for name, parameter in model.named_parameters():
        if "tokens" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return Saved(model, ("a", "b", "c"), Preprocessing((8, 10), 1.0))


def convolution() -> torch.Tensor:
    return convolution_matrix(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)), GRID).double()


def test_a_convolution_is_a_table_of_its_kernel(ways):
    kernel = torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).double()
    table = ways.offset_table(convolution(), GRID)
    torch.testing.assert_close(table, F.pad(kernel, (3, 3, 2, 2)), rtol=0, atol=1e-6)
    torch.testing.assert_close(ways.matrix_of(table, GRID), convolution(), rtol=0, atol=1e-6)
    torch.testing.assert_close(ways.by_offsets(convolution(), resampling(GRID, GRID)), convolution())


def test_the_rest_of_low_rank_is_kept(ways):
    left, right = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(2)).double()
    rest = left @ right.T
    rest -= ways.matrix_of(ways.offset_table(rest, GRID), GRID)
    assert not ways.offset_table(rest, GRID).abs().max() > 1e-12
    near = ways.low_rank(rest, ways.RANK)
    assert torch.linalg.matrix_rank(near) == ways.RANK
    torch.testing.assert_close(ways.by_offsets(convolution() + rest, resampling(GRID, GRID)), convolution() + near)


@pytest.mark.parametrize("new", [(8, 10), (2, 3), (6, 4)])
@pytest.mark.parametrize("move", ["plain", "by_offsets"])
def test_a_mean_over_all_tokens_stays_one(ways, move, new):
    moved = getattr(ways, move)(torch.full((20, 20), 1 / 20).double(), resampling(GRID, new))
    tokens = new[0] * new[1]
    torch.testing.assert_close(moved, torch.full((tokens, tokens), 1 / tokens).double(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("way", ["interpolated", "relative"])
def test_only_the_matrices_differ_from_ours(ways, saved, way):
    ours, other = at_size(saved, (12, 16)).model.state_dict(), getattr(ways, way)(saved, (12, 16)).model.state_dict()
    assert {key for key in ours if not torch.equal(ours[key], other[key])} == {
        f"blocks.{i}.tokens.fn.weight" for i in range(2)
    }
    again = at_size(saved, (12, 16)).model.state_dict()
    assert all(torch.equal(ours[key], again[key]) for key in ours), "our rule is back"


def test_moments_at_the_own_size_are_the_identity(ways, saved):
    images = torch.randn(16, 3, 8, 10, generator=torch.Generator().manual_seed(0))
    same = ways.with_moments(saved, saved, images, images)
    torch.testing.assert_close(same.model(images[:2]), saved.model(images[:2]), rtol=1e-5, atol=1e-5)


def test_moments_are_those_of_the_trained_size(ways, saved):
    images = torch.randn(16, 3, 8, 10, generator=torch.Generator().manual_seed(0))
    others = F.interpolate(images, (16, 20), mode="bilinear")
    matched = ways.with_moments(saved, at_size(saved, (16, 20)), images, others).model

    def outputs(model, x):
        found = []
        hooks = [b.tokens.fn.register_forward_hook(lambda m, a, y: found.append(y.flatten(0, 1))) for b in model.blocks]
        model(x)
        for hook in hooks:
            hook.remove()
        return found

    for own, other in zip(outputs(saved.model, images), outputs(matched, others)):
        torch.testing.assert_close(other.mean(0), own.mean(0), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(other.var(0), own.var(0), rtol=1e-3, atol=1e-4)
