"""Shares of small weights and mean magnitudes of known matrices."""

import pytest
import torch

from resmlp.analysis.layers.anatomy import of_trunk
from resmlp.analysis.layers.scales import scales
from resmlp.analysis.layers.sparsity import small_share, zero_share

from .networks import network


def test_shares_of_small_weights():
    matrix = torch.full((10, 10), 1.0)
    matrix[0, 0] = -2.0
    matrix.view(-1)[20:57] = 0.0999  # below 5 % of 2
    assert small_share(matrix) == 0.37
    matrix.view(-1)[20:57] = 0.1
    assert small_share(matrix.double()) == small_share(matrix, 0.0499) == 0.0
    assert small_share(matrix, 0.0501) == 0.37
    assert small_share(matrix, 1.0) == 0.99
    assert small_share(torch.zeros(3, 3)) == zero_share(torch.zeros(3, 3)) == 1.0


def test_weights_that_round_to_zero_in_four_bits():
    levels = torch.arange(-7, 8) / 7
    assert zero_share(levels) == pytest.approx(1 / 15)
    nudged = torch.tensor([7.0, 0.49, -0.49, 0.51, -0.51, 1.49])
    assert zero_share(nudged) == pytest.approx(2 / 6)
    matrix = torch.randn(40, 30)
    scale = float(matrix.abs().max()) / 7
    loop = sum(round(w / scale) == 0 for w in matrix.double().flatten().tolist())
    assert zero_share(matrix) == pytest.approx(loop / 1200)


def test_scales_are_mean_magnitudes():
    trunk = network(scale="affine", depth=1)
    tokens = trunk.blocks[0].tokens
    with torch.no_grad():
        tokens.norm.alpha.copy_(torch.tensor([1.0, -3] * 4))
        tokens.norm.beta.fill_(-0.5)
        tokens.scale.alpha.fill_(-0.25)
        tokens.scale.beta.fill_(4.0)
    (layer,) = of_trunk(trunk).layers
    assert scales(layer)["tokens"] == {"alpha": 2.0, "beta": 0.5, "gamma": 0.25, "gamma beta": 4.0}
    bare = of_trunk(network(norm="none", scale="none", mixer="none")).layers[0]
    assert scales(bare) == {"channels": {}}
