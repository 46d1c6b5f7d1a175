"""Small resmlp networks, created by timm with its own keywords and by `resmlp.create_model`."""

import pytest
import timm
import torch

import resmlp.timm  # noqa: F401  registers the networks
from resmlp.models import create_model

OURS = {"dim": 12, "depth": 3, "patch_size": 4}
SIZE = (8, 12)
NAMES = [
    pytest.param("resmlp_s12", id="linear"),
    pytest.param("resmlp_s12_classmlp", id="classmlp"),
    pytest.param("resmlp_s12_dwconv", id="dwconv"),
    pytest.param("mixer_s16", id="mixer"),
    pytest.param("deit_s", id="deit"),
]


def tiny(name, **options):
    """timm's entry of `name` at (8, 12) pixels: a grid of 2 x 3 tokens of 12 channels, three layers."""
    small = {"embed_dim": 12, "num_blocks": 3, "patch_size": 4, "img_size": SIZE, "num_classes": 5}
    return timm.create_model(name, **small | options)


def tiny_of_resmlp(name, **options):
    return create_model(name, **OURS | {"img_size": SIZE, "num_classes": 5} | options)


def randomized(model):
    """Make every parameter random, so that no part is the identity or zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def random_images(batch=2, channels=3):
    return torch.randn(batch, channels, *SIZE)


@pytest.fixture
def make():
    return tiny


@pytest.fixture
def make_ours():
    return tiny_of_resmlp


@pytest.fixture
def shake():
    return randomized


@pytest.fixture
def images():
    return random_images


@pytest.fixture(params=NAMES)
def name(request):
    """One name for each kind of network."""
    return request.param
