"""What is kept is what was fastest and right; a clock of our own says which that is."""

from types import SimpleNamespace

import pytest
import torch
from numeric import assert_rounded
from torch import nn

from resmlp.inference.gpu import fastest, ways
from resmlp.models import create_model
from resmlp.models.folding import FoldedTrunk


class Time:
    """A clock that moves by what each way says that it takes."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def way(self, seconds: float, change=lambda logits: logits):
        def make(network):
            def run(images):
                self.now += seconds
                return change(network(images))

            return run

        return make


@pytest.fixture
def model():
    return create_model("resmlp_digits", img_size=8, patch_size=4, dim=8, depth=2, num_classes=3).eval()


@pytest.fixture
def images():
    return torch.randn(2, 3, 8, 8)


@pytest.mark.isa
def test_the_fastest_is_kept(model, images):
    time = Time()
    offered = {"slow": time.way(0.02), "quick": time.way(0.005), "middling": time.way(0.01)}
    found = fastest(model, images, lambda example: offered, time)
    assert found.name == "quick"
    assert found.seconds == pytest.approx({"slow": 0.02, "quick": 0.005, "middling": 0.01})
    before = time.now
    assert_rounded(found(images), model, images)
    assert time.now - before == pytest.approx(0.005)


@pytest.mark.parametrize("spoil", [lambda y: 1.2 * y, lambda y: y * float("nan"), lambda y: y + 1])
def test_what_gives_something_else_is_left_out(model, images, spoil, capsys):
    time = Time()
    found = fastest(model, images, lambda example: {"torch": time.way(1), "wrong": time.way(0.1, spoil)}, time)
    assert found.name == "torch"
    assert list(found.seconds) == ["torch"]
    assert "wrong is not used: its logits differ" in capsys.readouterr().err


def test_what_fails_is_left_out(model, images, capsys):
    def broken(network):
        raise RuntimeError("no\nkernel image")

    time = Time()
    found = fastest(model, images, lambda example: {"torch": time.way(1), "broken": broken}, time)
    assert found.name == "torch"
    assert capsys.readouterr().err == "note: broken cannot be used here: no kernel image\n"


def test_each_way_is_tried_as_a_graph_too(model, images):
    time = Time()

    def graph(run, example):
        assert example is images
        return lambda images: (run(images), setattr(time, "now", time.now - 0.015))[0]

    found = fastest(model, images, lambda example: {"torch": time.way(0.02)}, time, graph)
    assert found.name == "torch, graph"
    assert found.seconds == pytest.approx({"torch": 0.02, "torch, graph": 0.005})


@pytest.mark.isa
def test_other_shapes_are_run_by_torch(model, images):
    time = Time()
    found = fastest(model, images, lambda example: {"way": time.way(0.1)}, time)
    before = time.now
    assert_rounded(found(images[:1]), model, images[:1])
    assert time.now == before
    found(images)
    assert time.now == pytest.approx(before + 0.1)


def test_a_trunk_is_folded_and_another_network_is_not(model, images):
    assert isinstance(fastest(model, images).network, FoldedTrunk)
    other = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2)).eval()
    assert fastest(other, images).network is other


def test_ways():
    def offered(device: str, dtype: torch.dtype) -> list[str]:
        return list(ways(SimpleNamespace(device=torch.device(device), dtype=dtype)))

    assert offered("cpu", torch.bfloat16) == ["torch"]
    assert offered("cuda", torch.float32) == ["torch", "compile"]
    pytest.importorskip("triton")
    assert offered("cuda", torch.bfloat16) == offered("cuda", torch.float16) == ["torch", "compile", "kernels"]


@pytest.mark.isa
def test_with_nothing_left_it_is_torch(model, images):
    found = fastest(model, images, lambda example: {"wrong": Time().way(0.1, lambda y: y + 1)})
    assert found.name == "torch"
    assert_rounded(found(images), model, images)
