"""Translation networks: against NumPy, against the Transformer of PyTorch, and `step` against `forward`."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from resmlp.config.model_json import Seq2SeqConfig
from resmlp.config.seq2seq import BOS, PAD, SEQ2SEQ
from resmlp.models import Seq2Seq, count_parameters
from resmlp.training.optimizers import roles
from resmlp.utils.errors import UserError

DIM, HIDDEN, HEADS, LONGEST, VOCABULARY = 8, 12, 2, 11, 13
SIZES = {"dim": DIM, "hidden": HIDDEN, "heads": HEADS, "max_length": LONGEST}
NAMES = ("resmlp_mt_tiny", "transformer_mt_tiny")
pytestmark = pytest.mark.isa


def network(name, dropout=0.0, **changes):
    """A tiny network with random parameters, in evaluation mode."""
    config = Seq2SeqConfig(name, replace(SEQ2SEQ[name], **{**SIZES, **changes}), VOCABULARY, dropout)
    model = Seq2Seq(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.empty_like(parameter).normal_(std=0.3, generator=generator))
    return model


def sentences(*shape):
    return torch.randint(4, VOCABULARY, shape)


# the network in numpy, one sentence at a time, without padding


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def written_out(p, source, target, depth):
    """Logits T V of `resmlp_mt_*` with the parameters `p`, by name."""

    def affine(name, x):
        return p[f"{name}.alpha"] * x + p[f"{name}.beta"]

    def linear(name, x):
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def mix(name, x, triangular):
        a = np.array(p[f"{name}.weight"])[: len(x), : len(x)]
        if triangular:
            a = np.where(np.arange(len(x))[:, None] >= np.arange(len(x))[None], a, 0)
        return a @ x + p[f"{name}.bias"][: len(x), None]

    def attend(name, x, states):
        q, kv = linear(f"{name}.q", x), linear(f"{name}.kv", states)
        out, size = np.empty_like(q), DIM // HEADS
        for head in range(HEADS):
            at = slice(head * size, (head + 1) * size)
            k, v = kv[:, at], kv[:, DIM + head * size : DIM + (head + 1) * size]
            weights = np.exp(q[:, at] @ k.T / math.sqrt(size))
            out[:, at] = weights / weights.sum(1, keepdims=True) @ v
        return linear(f"{name}.proj", out)

    def channels(name, x):
        hidden = gelu(linear(f"{name}.fn.fc1", affine(f"{name}.norm", x)))
        return x + p[f"{name}.scale.gamma"] * linear(f"{name}.fn.fc2", hidden)

    def tokens(name, x, triangular):
        return x + p[f"{name}.scale.gamma"] * mix(f"{name}.fn", affine(f"{name}.norm", x), triangular)

    x = p["embedding.weight"][source] * math.sqrt(DIM)
    for i in range(depth):
        x = channels(f"encoder.{i}.channels", tokens(f"encoder.{i}.tokens", x, triangular=False))
    states = affine("encoder_norm", x)
    x = p["embedding.weight"][target] * math.sqrt(DIM)
    for i in range(depth):
        x = tokens(f"decoder.{i}.tokens", x, triangular=True)
        name = f"decoder.{i}.source"
        x = x + p[f"{name}.scale.gamma"] * attend(f"{name}.fn", affine(f"{name}.norm", x), states)
        x = channels(f"decoder.{i}.channels", x)
    return affine("decoder_norm", x) @ p["embedding.weight"].T


def test_forward_equals_the_network_in_numpy():
    model = network("resmlp_mt_tiny").double()
    source, target = sentences(3, 7), sentences(3, 5)
    source[1, 3:] = PAD
    p = {key: tensor.detach().numpy() for key, tensor in model.named_parameters()}
    logits = model(source, target).detach().numpy()
    for n, length in enumerate([7, 3, 7]):
        np.testing.assert_allclose(logits[n], written_out(p, source[n, :length], target[n], depth=2), atol=1e-9)


# PyTorch's Transformer with the weights of ours


def copy_norm(theirs, ours):
    theirs.load_state_dict(ours.state_dict())
    theirs.eps = ours.eps


def copy_attention(theirs, proj, *inputs):
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in inputs]))
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in inputs]))
    theirs.out_proj.load_state_dict(proj.state_dict())


def copy_mlp(theirs, ours):
    theirs.linear1.load_state_dict(ours.fc1.state_dict())
    theirs.linear2.load_state_dict(ours.fc2.state_dict())


def pytorchs(model):
    sizes = {"d_model": DIM, "nhead": HEADS, "dim_feedforward": HIDDEN, "dropout": 0.0, "activation": "gelu"}
    depth = {"num_encoder_layers": 2, "num_decoder_layers": 2}
    other = nn.Transformer(**sizes, **depth, batch_first=True, norm_first=True).double()
    for theirs, ours in zip(other.encoder.layers, model.encoder):
        copy_attention(theirs.self_attn, ours.tokens.fn.proj, ours.tokens.fn.qkv)
        copy_mlp(theirs, ours.channels.fn)
        for norm, sublayer in zip((theirs.norm1, theirs.norm2), (ours.tokens, ours.channels)):
            copy_norm(norm, sublayer.norm)
    for theirs, ours in zip(other.decoder.layers, model.decoder):
        copy_attention(theirs.self_attn, ours.tokens.fn.proj, ours.tokens.fn.qkv)
        copy_attention(theirs.multihead_attn, ours.source.fn.proj, ours.source.fn.q, ours.source.fn.kv)
        copy_mlp(theirs, ours.channels.fn)
        for norm, sublayer in zip(
            (theirs.norm1, theirs.norm2, theirs.norm3), (ours.tokens, ours.source, ours.channels)
        ):
            copy_norm(norm, sublayer.norm)
    copy_norm(other.encoder.norm, model.encoder_norm)
    copy_norm(other.decoder.norm, model.decoder_norm)
    return other


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_attention_baseline_equals_the_transformer_of_pytorch():
    model = network("transformer_mt_tiny").double()
    source, target = sentences(3, 7), sentences(3, 5)
    source[1, 3:] = PAD
    other, padding = pytorchs(model), source == PAD

    def embed(tokens):  # the positions are compared with their formula in nn/test_sequence.py
        return model.positions(model.embedding.weight[tokens] * math.sqrt(DIM))

    later = torch.ones(5, 5).triu(1).bool()
    hidden = {"tgt_mask": later, "src_key_padding_mask": padding, "memory_key_padding_mask": padding}
    states = other(embed(source), embed(target), **hidden)
    torch.testing.assert_close(model(source, target), states @ model.embedding.weight.T, atol=1e-12, rtol=0)


# properties


@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_no_logit(name):
    model, source, target = network(name).double(), sentences(1, 4), sentences(1, 5)
    alone = model(source, target)
    for padding in range(1, LONGEST - 4 + 1):
        others = sentences(2, 4 + padding)
        padded = nn.functional.pad(source, (0, padding), value=PAD)
        among = model(torch.cat([others, padded]), sentences(3, 5).index_copy(0, torch.tensor([2]), target))[2:]
        torch.testing.assert_close(among, alone, atol=1e-11, rtol=0)
    assert (model(sentences(1, 4), target) - alone).abs().max() > 0.1  # the source does matter


@pytest.mark.parametrize("name", NAMES)
def test_a_future_token_changes_no_logit_before_it(name):
    model, source, target = network(name), sentences(2, 6), sentences(2, LONGEST)
    logits = model(source, target)
    for t in range(1, LONGEST):
        other = target.clone()
        other[:, t:] = (other[:, t:] + 1) % VOCABULARY
        assert torch.equal(model(source, other)[:, :t], logits[:, :t])
        assert (model(source, other)[:, t:] - logits[:, t:]).abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_steps_give_the_logits_of_forward(name):
    """Hypotheses fork and end, sentences end, one hypothesis becomes three."""
    model, source = network(name).double(), sentences(4, 7)
    source[1, 3:] = PAD
    cache = model.start(model.encode(source), 3)
    tokens, there = torch.full((4, 1), BOS), torch.arange(4)
    texts = [[[BOS]] for _ in there]  # the hypotheses of each sentence
    for t in range(LONGEST):
        logits = model.step(tokens, cache)
        for row, sentence, hypotheses in zip(logits, there, texts):
            expected = model(source[sentence].expand(len(hypotheses), -1), torch.tensor(hypotheses))[:, -1]
            torch.testing.assert_close(row, expected, atol=1e-11, rtol=0)
        parents, tokens = torch.randint(len(texts[0]), (len(texts), 3)), sentences(len(texts), 3)
        texts = [
            [[*hypotheses[parent], token] for parent, token in zip(of, new)]
            for hypotheses, of, new in zip(texts, parents.tolist(), tokens.tolist())
        ]
        flat = parents + torch.arange(len(there))[:, None] * logits.shape[1]
        if t in (2, 5):  # the second sentence leaves
            still = torch.tensor([0, *range(2, len(there))])
            there, tokens, flat, texts = there[still], tokens[still], flat[still], [texts[i] for i in still]
            cache.memory = cache.memory.select(still)
        cache.reorder(flat)


@pytest.mark.parametrize("name", NAMES)
def test_a_sentence_that_is_too_long_is_refused(name):
    model, fits, longer = network(name), sentences(1, LONGEST), sentences(1, LONGEST + 1)
    assert model(fits, fits).shape == (1, LONGEST, VOCABULARY)
    for pair in ((longer, fits), (fits, longer)):
        with pytest.raises(
            UserError, match=rf"{LONGEST + 1} tokens is too long for {name}: at most {LONGEST}.*max-length"
        ):
            model(*pair)
    with torch.inference_mode():
        cache = model.start(model.encode(fits), 1)
        for token in fits.T:
            model.step(token[:, None], cache)
        with pytest.raises(UserError, match=f"{LONGEST + 1} tokens"):
            model.step(fits[:, :1], cache)


@pytest.mark.parametrize("name", SEQ2SEQ)
def test_parameters_by_closed_form(name):
    arch, vocabulary = SEQ2SEQ[name], 1000
    d, h, n = arch.dim, arch.hidden, arch.max_length
    norm, attention, mlp = 2 * d, 4 * (d * d + d), d * h + h + h * d + d
    gamma = d if arch.layer_scale else 0
    mixing = n * n + n if arch.mixer == "linear" else attention
    encoder = arch.encoder_depth * (mixing + mlp + 2 * (norm + gamma)) + norm
    decoder = arch.decoder_depth * (mixing + attention + mlp + 3 * (norm + gamma)) + norm
    with torch.device("meta"):
        model = Seq2Seq(Seq2SeqConfig(name, arch, vocabulary))
    assert count_parameters(model) == vocabulary * d + encoder + decoder


def test_the_state_determines_the_network():
    """A network that is built on "meta" and loaded gives the same outputs."""
    for name in NAMES:
        model, source, target = network(name), sentences(2, 6), sentences(2, 5)
        with torch.device("meta"):
            other = Seq2Seq(model.config)
        other.to_empty(device="cpu").load_state_dict(model.state_dict())
        assert torch.equal(other.eval()(source, target), model(source, target))


def test_weight_decay_acts_on_linear_layers_only():
    model = network("resmlp_mt_tiny")
    decayed = {parameter for parameter, role in roles(model) if role == "weight"}
    named = {name for name, parameter in model.named_parameters() if parameter in decayed}
    linear = ("tokens.fn", "fc1", "fc2", "fn.q", "fn.kv", "fn.proj")
    assert named == {
        name for name, _ in model.named_parameters() if name.endswith(tuple(f"{n}.weight" for n in linear))
    }
    assert "embedding.weight" not in named


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns(name):
    """On a batch with padding on both sides; of a triangular matrix, the part in use."""
    model = network(name, dropout=0.1).train()
    source, target = sentences(3, LONGEST), sentences(3, LONGEST)
    source[1, 3:], target[2, 4:] = PAD, PAD
    before = model(source, target)
    assert not torch.equal(before, model(source, target))  # dropout
    nn.functional.cross_entropy(before.flatten(0, 1), target.flatten(), ignore_index=PAD).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0, key
    if name.startswith("resmlp"):
        assert (model.decoder[0].tokens.fn.weight.grad.triu(1) == 0).all()


def test_no_layer_scale_for_zero():
    scaled, plain = network("resmlp_mt_tiny"), network("resmlp_mt_tiny", layer_scale=0.0)
    assert {
        key for key in scaled.state_dict() if "gamma" in key
    } == scaled.state_dict().keys() - plain.state_dict().keys()
    fresh = Seq2Seq(scaled.config)
    assert all((value == 0.2).all() for key, value in fresh.state_dict().items() if key.endswith("gamma"))
