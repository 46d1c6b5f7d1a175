"""Parameters and multiply-adds against the paper's tables (ResMLP Tables 1 and 3, MLP-Mixer Table 1, DeiT Table 1)."""

import pytest
import torch
from torch import nn

from resmlp.models import count_macs, count_parameters, create_model, list_models

# name, parameters in M and their tolerance, GMACs and their tolerance (1 %, or half of the last printed digit)
ROWS = [
    ("resmlp_s12", 15.351, 0.001, 3.01, 0.0301),
    ("resmlp_s24", 30.021, 0.001, 5.96, 0.0596),
    ("resmlp_s36", 44.690, 0.001, 8.91, 0.0891),
    ("resmlp_b24", 115.737, 0.001, 23.02, 0.2302),
    ("resmlp_s12_p14", 15.608, 0.001, 3.98, 0.0398),
    ("resmlp_s12_p8", 22.052, 0.001, 13.99, 0.1399),
    ("resmlp_b24_p8", 129.138, 0.001, 100.23, 1.0023),
    ("resmlp_s12_layernorm", 15.351, 0.001, 3.01, 0.0301),
    ("resmlp_s12_classmlp", 17.72, 0.005, 3.0, 0.05),
    ("resmlp_s12_none", 14.874, 0.001, 2.8, 0.05),
    ("resmlp_s12_mlp", 18.587, 0.001, 4.25, 0.0425),
    ("resmlp_s12_conv3x3", 30.817, 0.001, 5.95, 0.0595),
    ("resmlp_s12_dwconv", 14.934, 0.001, 2.84, 0.0284),
    ("resmlp_s12_sepconv", 16.708, 0.001, 3.19, 0.0319),
    ("mixer_s32", 19.105, 0.001, 1.00, 0.01),
    ("mixer_s16", 18.528, 0.001, 3.78, 0.0378),
    ("mixer_b32", 60.293, 0.001, 3.24, 0.0324),
    ("mixer_b16", 59.880, 0.001, 12.60, 0.126),
    ("mixer_l32", 206.939, 0.001, 11.25, 0.1125),
    ("mixer_l16", 208.196, 0.001, 44.55, 0.4455),
    ("deit_s", 22.05, 0.005, 4.6, 0.05),
]


@pytest.mark.parametrize(("name", "params", "params_off", "gmacs", "gmacs_off"), ROWS, ids=[row[0] for row in ROWS])
def test_published_counts(name, params, params_off, gmacs, gmacs_off):
    with torch.device("meta"):
        model, image = create_model(name), torch.empty(1, 3, 224, 224)
    assert count_parameters(model) / 1e6 == pytest.approx(params, abs=params_off)
    assert count_macs(model, image) / 1e9 == pytest.approx(gmacs, abs=gmacs_off)


def test_every_model_of_the_papers_is_counted():
    ours = {"resmlp_digits", "resmlp_cifar", "resmlp_s12_globalfilter"}
    assert {row[0] for row in ROWS} | ours == set(list_models())


def test_small_models_are_small():
    with torch.device("meta"):
        digits = create_model("resmlp_digits", img_size=8, num_classes=10)
        cifar = create_model("resmlp_cifar", img_size=32, num_classes=10)
    assert count_parameters(digits) < 1e6
    assert count_parameters(cifar) < 1e6, "the cifar10 recipe promises under 1 M"


def test_macs_of_a_linear_layer_by_hand():
    model = nn.Linear(7, 5)
    assert count_macs(model, torch.zeros(3, 7)) == 3 * 7 * 5


def test_macs_leave_the_mode_alone_and_frozen_weights_are_not_counted():
    model = nn.Linear(7, 5).train()
    count_macs(model, torch.zeros(1, 7))
    assert model.training
    model.bias.requires_grad_(False)
    assert count_parameters(model) == 35
