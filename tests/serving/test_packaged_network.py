"""The packaged classifier, which NumPy runs: every operation, and other sizes by torch."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import resmlp
from resmlp.config.precision import Execution
from resmlp.hub.packaged import packaged_folder
from resmlp.hub.resolve import resolve
from resmlp.inference.plain import PlainClassifier
from resmlp.models import open_model
from resmlp.serving.limits import Refusal
from resmlp.serving.metrics import Metrics
from resmlp.serving.networks import Network, load_network
from resmlp.serving.options import LookOptions

UNMEASURED = Execution(precision="auto", images=1)


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network("cifar10", resolve("packaged:cifar10"), UNMEASURED, Metrics())


def test_it_does_all_that_torch_does(network):
    assert isinstance(network.predictor, PlainClassifier)
    network.warm_up()
    assert network.info.operations == ("predict", "embed", "look")
    assert network.sizes == ((16, 16), (24, 24), (32, 32), (40, 40), (48, 48), (64, 64))
    assert [layer.grid for layer in network.info.layers] == [(8, 8)] * 6


def test_nothing_of_it_loads_torch():
    code = """
import sys
import resmlp.serving.server
from resmlp.config.precision import Execution
from resmlp.hub.resolve import resolve
from resmlp.serving.metrics import Metrics
from resmlp.serving.networks import load_network
load_network("cifar10", resolve("packaged:cifar10"), Execution(precision="auto", images=1), Metrics()).warm_up()
print({"torch", "scipy", "timm", "sklearn"} & set(sys.modules))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


@pytest.mark.parametrize(("layer", "row", "column"), [(0, 0, 0), (5, 3, 7)])
def test_look_shows_the_row_of_a(network, layer, row, column):
    block = open_model(packaged_folder("cifar10")).model.blocks[layer]
    a = block.tokens.fn.weight.detach()
    found = network.look.row(LookOptions(layer=layer, row=row, column=column))
    assert np.allclose(found.weights, a[8 * row + column].view(8, 8), atol=1e-5)
    assert found.largest == pytest.approx(a.abs().max().item())


def test_another_size_is_that_of_load(network):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 48, 48), dtype=np.uint8)
    moved = network.at("48x48").predictor
    expected = resmlp.load("packaged:cifar10", "cpu", img_size=48).logits(images)
    assert torch.allclose(torch.as_tensor(moved.logits(images)), expected, atol=1e-5)
    with pytest.raises(Refusal, match="size 33x33: cifar10 takes 16x16"):
        network.at("33x33")
