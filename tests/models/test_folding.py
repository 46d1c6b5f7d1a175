"""The folded copy against the network itself, in float64, where a difference is an error."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from numeric import assert_rounded
from torch import nn

from resmlp.config.preprocessing import Preprocessing
from resmlp.config.vision import Architecture
from resmlp.models import Trunk, TrunkConfig, save_model
from resmlp.models.folding import FoldedTrunk, fold, split_diagonal
from resmlp.nn import Affine, LayerScale, TokenBatchNorm
from resmlp.nn.channel_scaling import Diagonal, fold_after, fold_before
from resmlp.utils.errors import UserError

pytestmark = pytest.mark.isa
MIXERS = ["linear", "mlp", "conv3x3", "dwconv", "sepconv", "attention", "globalfilter", "none"]
NORMS = ["affine", "layernorm", "batchnorm", "none"]
BASE = Architecture(patch_size=2, dim=6, depth=2, heads=2, token_hidden=5)


def network(classes: int = 3, **changes) -> Trunk:
    """A network on a grid of 3x4 tokens, with random parameters."""
    model = Trunk(TrunkConfig("it", replace(BASE, **changes), (6, 8), classes)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.4)
        for part in model.modules():
            if isinstance(part, TokenBatchNorm):
                part.running_mean.normal_()
                part.running_var.uniform_(0.3, 3)
    return model


@torch.no_grad()
def difference(model: Trunk) -> float:
    """Largest difference of the outputs, relative to the largest output."""
    images = torch.randn(3, 3, 6, 8, dtype=torch.float64)
    expected, outputs = model(images), fold(model)(images)
    assert outputs.shape == expected.shape
    return float((outputs - expected).abs().max() / expected.abs().max())


def fits(mixer: str, pool: str) -> bool:
    return pool != "classtoken" or mixer in ("attention", "none")


@pytest.mark.parametrize("residual", ["pre", "post"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("mixer", MIXERS)
def test_outputs_are_the_same(mixer, norm, residual):
    pools, scales = ("mean", "classmlp", "classtoken"), ("layerscale", "affine", "none")
    for number, (pool, scale) in enumerate(product(pools, scales), NORMS.index(norm)):
        classes = 3 * (number % 2)  # a classifier or features, in turn
        if fits(mixer, pool):
            model = network(classes, mixer=mixer, norm=norm, residual=residual, pool=pool, scale=scale, pos_embed=True)
            assert difference(model) < 1e-11, (pool, scale, classes)


@pytest.mark.parametrize("scale", ["layerscale", "affine"])
@pytest.mark.parametrize("pool", ["mean", "classmlp", "classtoken"])
@pytest.mark.parametrize("mixer", [mixer for mixer in MIXERS if mixer != "mlp"])
def test_no_pass_over_channels_remains(mixer, pool, scale):
    if not fits(mixer, pool):
        pytest.skip("a class token has no place on a grid")
    for norm, residual in product(("affine", "batchnorm"), ("pre", "post")):
        folded = fold(network(mixer=mixer, pool=pool, scale=scale, norm=norm, residual=residual))
        assert not any(isinstance(part, Affine | LayerScale | TokenBatchNorm) for part in folded.modules())


def test_an_mlp_over_tokens_keeps_only_the_affine_before_it():
    kept = [type(part) for part in fold(network(mixer="mlp")).modules()]
    assert (kept.count(Affine), kept.count(LayerScale)) == (2, 0)


@torch.no_grad()
def test_the_linear_mixer_by_the_equation():
    """x + gamma alpha (A x) + gamma (beta rowsum(A) + b), written out."""
    model = network(mixer="linear")
    tokens, folded = model.blocks[0].tokens, fold(model).blocks[0][0]
    alpha, beta, gamma = tokens.norm.alpha, tokens.norm.beta, tokens.scale.gamma
    a, b = tokens.fn.weight, tokens.fn.bias
    constant = gamma * (torch.outer(a.sum(1), beta) + b[:, None])
    torch.testing.assert_close(folded.gain, gamma * alpha)
    torch.testing.assert_close(folded.bias, constant)
    assert folded.fn.bias is None
    x = torch.randn(2, 12, 6, dtype=torch.float64)
    torch.testing.assert_close(folded(x), x + gamma * alpha * (a @ x) + constant)


@torch.no_grad()
def test_beta_does_not_extend_beyond_the_border():
    """Beyond the border a convolution reads zeros, without the beta of the Affine before it."""
    bias = fold(network(mixer="dwconv")).blocks[0][0].bias.view(3, 4, 6)
    torch.testing.assert_close(bias[1, 1], bias[1, 2])
    for place in ((0, 0), (0, 1), (1, 0), (2, 3)):
        assert (bias[place] - bias[1, 1]).abs().max() > 1e-3


@torch.no_grad()
def test_diagonals():
    x = torch.randn(4, 7, 5, dtype=torch.float64)
    first, second = (Diagonal(*torch.randn(2, 5, dtype=torch.float64)) for _ in range(2))
    linear = nn.Linear(5, 5).double()
    inside = linear(first.gain * x + first.bias)
    torch.testing.assert_close(fold_before(first, linear)(x), inside)
    torch.testing.assert_close(fold_after(linear, second)(x), second.gain * linear(x) + second.bias)
    both = second.after(first)
    torch.testing.assert_close(both.gain * x + both.bias, second.gain * (first.gain * x + first.bias) + second.bias)
    norm = TokenBatchNorm(5).double().eval()
    norm.running_mean.normal_(), norm.running_var.uniform_(0.3, 3)
    rest, diagonal = split_diagonal(norm, x[0, 0])
    assert isinstance(rest, nn.Identity)
    torch.testing.assert_close(diagonal.gain * x + diagonal.bias, norm(x))


def test_an_unknown_mixer_is_not_changed():
    """A module that is not a `TokenMixer`, and not linear."""

    class Shift(nn.Module):
        def forward(self, x):
            return x.roll(1, dims=1) ** 2

    for residual in ("pre", "post"):
        model = network(residual=residual)
        for block in model.blocks:
            block.tokens.fn = Shift()
        assert difference(model) < 1e-11


def test_an_unknown_scale_is_refused():
    model = network()
    model.blocks[0].channels.scale = nn.Tanh()
    with pytest.raises(UserError, match="ends in a Tanh"):
        fold(model)


def test_zero_gains():
    """An alpha of zero in a post-norm, which must not be a divisor."""
    model = network(residual="post")
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, Affine):
                part.alpha[:2] = 0
    assert difference(model) < 1e-11


def test_rounding_in_32_bits():
    model = network()
    images = torch.randn(2, 3, 6, 8)
    folded = fold(model.float())
    assert {tensor.dtype for tensor in folded.state_dict().values()} == {torch.float32}
    assert_rounded(folded(images), model, images)


def test_the_network_is_not_changed():
    model = network().train()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    folded = fold(model)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert folded.config.folded
    assert folded.config.network == model.config
    shared = {tensor.data_ptr() for tensor in model.state_dict().values()}
    assert not shared & {tensor.data_ptr() for tensor in folded.state_dict().values()}


def test_the_copy_cannot_be_trained_or_saved(tmp_path):
    folded = fold(network())
    assert isinstance(folded.eval(), FoldedTrunk)
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    with pytest.raises(UserError, match="cannot be trained"):
        folded.train()
    with pytest.raises(UserError, match="cannot be saved"):
        save_model(tmp_path, folded, (), Preprocessing((6, 8)))
    assert not any(tmp_path.iterdir())
    with pytest.raises(UserError, match="built for images of 6x8"):
        folded(torch.zeros(1, 3, 8, 8, dtype=torch.float64))
