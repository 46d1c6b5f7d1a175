"""The copy for decoding against the network itself: equal in float64, and in float32 up to rounding."""

from dataclasses import replace

import pytest
import torch
from numeric import assert_rounded
from torch import nn

from resmlp.config.model_json import Seq2SeqConfig
from resmlp.config.seq2seq import BOS, EOS, PAD, SEQ2SEQ
from resmlp.models import Seq2Seq, translate
from resmlp.models.decoding import prepare
from resmlp.models.packed_linear import PackedLinear, packed
from resmlp.nn import ACTIVATIONS, Affine, LayerScale

NAMES = ("resmlp_mt_tiny", "transformer_mt_tiny")
pytestmark = pytest.mark.isa


def network(name, **changes):
    """A small network whose every parameter is random, and which prefers some tokens to others."""
    arch = replace(SEQ2SEQ[name], **{"dim": 24, "hidden": 40, "heads": 3, "max_length": 12} | changes)
    model = Seq2Seq(Seq2SeqConfig(name, arch, vocabulary=300)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def sentences(count, vocabulary=300):
    """Of various lengths, `EOS` last."""
    lengths = torch.randint(1, 11, (count,)).tolist()
    return [[*torch.randint(4, vocabulary, (n,)).tolist(), EOS] for n in lengths]


def padded(some):
    return nn.utils.rnn.pad_sequence([torch.tensor(one) for one in some], True, PAD)


def stepped(model, source, target):
    """The logits, computed one token after the other."""
    cache = model.start(model.encode(source), beams=1)
    return torch.cat([model.step(target[:, t : t + 1], cache) for t in range(target.shape[1])], dim=1)


@pytest.mark.parametrize("norm", ["affine", "layernorm"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layer_scale", [0.0, 0.3])
@torch.no_grad()
def test_gives_the_same(name, norm, layer_scale):
    model = network(name, norm=norm, layer_scale=layer_scale)
    copy = prepare(model)
    assert sum(isinstance(part, PackedLinear) for part in copy.modules()) > 10
    source, target = padded(sentences(5)), torch.randint(4, 300, (5, 9))
    for logits in (model(source, target), copy(source, target), stepped(copy, source, target)):
        assert_rounded(logits, model, source, target)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@torch.no_grad()
def test_folding_is_exact_and_needs_no_onednn(name, activation):
    """In float64 nothing is packed, so every difference above float64 rounding is an error."""
    model = network(name, norm="affine", layer_scale=0.3, activation=activation)
    source, target = padded(sentences(4)), torch.randint(4, 300, (4, 7))
    single = prepare(model)
    assert_rounded(single(source, target), model, source, target)
    double = prepare(model.double())
    kinds = [type(part) for part in double.modules()]
    assert PackedLinear not in kinds
    assert kinds.count(LayerScale) == (2 + 2 if name == "resmlp_mt_tiny" else 0)  # what a linear mixer has stays
    assert kinds.count(Affine) == (2 + 2 + 1 if name == "resmlp_mt_tiny" else 1)  # and the encoder's last
    expected = model(source, target)
    for logits in (double(source, target), stepped(double, source, target)):
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12 * expected.abs().max().item())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("beam", [1, 4])
def test_translates_the_same(name, beam):
    model = network(name)
    sources = sentences(20)
    expected = translate(model, sources, beam=beam, n_best=beam)
    found = translate(prepare(model), sources, beam=beam, n_best=beam)
    for one, other in zip(found, expected):
        assert [h.tokens for h in one] == [h.tokens for h in other]
        assert [h.score for h in one] == pytest.approx([h.score for h in other], abs=1e-2)
    assert len({h.tokens for one in found for h in one}) > 5  # they differ


def test_leaves_the_network_as_it_was():
    model = network("resmlp_mt_tiny").train()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    copy = prepare(model)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not copy.training
    with torch.no_grad():  # and the copy does not follow it
        source, target = padded(sentences(2)), torch.full((2, 1), BOS)
        expected = copy(source, target)
        for parameter in model.parameters():
            parameter.zero_()
        assert torch.equal(copy(source, target), expected)


@torch.no_grad()
def test_without_onednn_or_its_operators(monkeypatch):
    model = network("resmlp_mt_tiny")
    source, target = padded(sentences(3)), torch.randint(4, 300, (3, 5))
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        copy = prepare(model)
    assert not any(isinstance(part, PackedLinear) for part in copy.modules())
    assert_rounded(copy(source, target), model, source, target)
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    copy = prepare(model)
    assert not any(isinstance(part, PackedLinear) for part in copy.modules())
    assert_rounded(copy(source, target), model, source, target)


@pytest.mark.parametrize("shape", [(6,), (1, 6), (2, 1, 6), (3, 6), (2, 2, 6), (2, 3, 6), (9, 6)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@torch.no_grad()
def test_a_packed_layer_of_any_shape(shape, activation):
    linear, act, x = nn.Linear(6, 5), ACTIVATIONS[activation](), torch.randn(*shape)
    layer = packed(linear, act)
    assert isinstance(layer, PackedLinear)
    turned = torch.randn(6, 4).T
    for inputs in (x, turned):
        assert_rounded(layer(inputs), nn.Sequential(linear, act), inputs)
