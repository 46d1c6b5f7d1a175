"""Stochastic depth against its definition (Huang et al. 2016; constant over depth as in CaiT and ResMLP)."""

import pytest
import torch
from torch import nn

from resmlp.models import create_model
from resmlp.nn import DropPath, PostResidual, Residual

pytestmark = pytest.mark.isa


def test_expectation_is_the_identity_and_each_image_is_kept_or_dropped_whole():
    torch.manual_seed(0)
    p, count = 0.3, 20_000
    x = torch.randn(count, 2, 3, dtype=torch.float64).abs() + 0.1
    ratio = DropPath(p).train()(x) / x
    factor = ratio[:, 0, 0]
    torch.testing.assert_close(ratio, factor[:, None, None].expand_as(ratio))
    kept = factor != 0
    torch.testing.assert_close(factor[kept], torch.full_like(factor[kept], 1 / (1 - p)))
    five_sigma = 5 * (p / (1 - p) / count) ** 0.5
    assert float(factor.mean()) == pytest.approx(1, abs=five_sigma)


@pytest.mark.parametrize("part", [DropPath(0.0).train(), DropPath(0.7).eval()], ids=["p is 0", "evaluation"])
def test_off(part):
    x = torch.randn(50, 2, 3)
    assert torch.equal(part(x), x)


def test_keeps_the_dtype():
    assert DropPath(0.5).train()(torch.ones(4, 2, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("wiring", [Residual, PostResidual])
def test_a_dropped_image_passes_by_the_skip_connection(wiring):
    torch.manual_seed(0)
    layer = wiring(nn.Identity(), nn.Linear(3, 3), nn.Identity(), drop_path=0.5).double().train()
    x = torch.randn(64, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        branch, update = layer.fn(x), layer(x) - x
    dropped = (update == 0).all(dim=(1, 2))
    assert 10 < dropped.sum() < 54
    torch.testing.assert_close(update[~dropped], 2 * branch[~dropped], atol=1e-12, rtol=0)


def test_same_probability_in_all_layers_and_both_branches():
    model = create_model("resmlp_s12", dim=8, img_size=32, drop_path=0.05)
    parts = [m for m in model.modules() if isinstance(m, DropPath)]
    assert len(parts) == 2 * 12
    assert {part.p for part in parts} == {0.05}


def test_a_network_in_evaluation_ignores_it():
    torch.manual_seed(0)
    sizes = {"dim": 8, "depth": 3, "img_size": 32, "num_classes": 4, "layer_scale": 1.0}
    plain = create_model("resmlp_s12", **sizes).eval()
    dropping = create_model("resmlp_s12", drop_path=0.5, **sizes).eval()
    dropping.load_state_dict(plain.state_dict())
    x = torch.randn(6, 3, 32, 32)
    assert torch.equal(plain(x), dropping(x))
    assert not torch.allclose(plain(x), dropping.train()(x))
