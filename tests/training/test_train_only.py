"""`--optim.only`: which parameters an optimizer changes, compared by their values."""

import pytest
import torch
from torch import nn

from resmlp import create_model
from resmlp.config import Optim
from resmlp.training.optimizers import make_optimizer, train_only

SMALL = {"dim": 12, "depth": 1}


def test_only_the_named_parameters_are_trained():
    model = create_model("resmlp_s12", img_size=32, num_classes=3, **SMALL)
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    train_only(model, ["head.*", "blocks.*.tokens.fn.weight"])
    for _ in range(2):
        optimizer = make_optimizer(model, Optim("adamw", lr=0.1, weight_decay=0.5))
        model(torch.randn(2, 3, 32, 32)).square().sum().backward()
        optimizer.step()
    changed = {name for name, tensor in model.named_parameters() if not torch.equal(tensor, before[name])}
    assert changed == {"head.weight", "head.bias", "blocks.0.tokens.fn.weight"}


@pytest.mark.parametrize("name", ["sgd", "adagrad", "lamb", "muon"])
def test_every_optimizer_leaves_the_others_alone(name):
    model = create_model("resmlp_s12", img_size=32, num_classes=3, **SMALL)
    before = {key: tensor.clone() for key, tensor in model.named_parameters()}
    train_only(model, ["blocks.*.tokens.fn.*"])
    optimizer = make_optimizer(model, Optim(name, lr=0.1, weight_decay=0.5))
    model(torch.randn(2, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    changed = {key for key, tensor in model.named_parameters() if not torch.equal(tensor, before[key])}
    assert changed == {"blocks.0.tokens.fn.weight", "blocks.0.tokens.fn.bias"}


def test_without_patterns_every_parameter_is_trained():
    model = nn.Linear(2, 2)
    train_only(model, ())
    assert all(parameter.requires_grad for parameter in model.parameters())
