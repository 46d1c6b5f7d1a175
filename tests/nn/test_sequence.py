"""Parts over sentences against loops, and against PyTorch's own attention."""

import math

import pytest
import torch
from numeric import gamma
from torch import nn

from resmlp.nn import (
    CausalAttention,
    CrossAttention,
    LayerCache,
    LayerScale,
    MaskedAttention,
    SentenceMixer,
    SharedEmbedding,
    Sinusoids,
    Sublayer,
    TriangularMixer,
)
from resmlp.nn.sequence import NoPositions

pytestmark = pytest.mark.isa

DIM, HEADS, LONGEST = 8, 2, 9


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def mixed_by_loops(mixer, x, allowed):
    """`A x + b` one number at a time, over those s that `allowed(t, s)`."""
    weight, bias, (n, dim) = mixer.weight.tolist(), mixer.bias.tolist(), x.shape
    out = torch.empty_like(x)
    for t in range(n):
        for c in range(dim):
            out[t, c] = bias[t] + sum(weight[t][s] * x[s, c].item() for s in range(n) if allowed(t, s))
    return out


@pytest.mark.parametrize("length", [1, 4, LONGEST])
def test_triangular_mixer_is_a_double_loop(length):
    mixer, x = TriangularMixer(LONGEST, LONGEST).double(), draw(2, length, DIM)
    for mixed, sentence in zip(mixer(x), x):
        torch.testing.assert_close(mixed, mixed_by_loops(mixer, sentence, lambda t, s: s <= t))


def test_sentence_mixer_is_a_double_loop_over_tokens_that_are_there():
    mixer, x = SentenceMixer(LONGEST, LONGEST).double(), draw(2, 6, DIM)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]).bool()
    for mixed, sentence, there in zip(mixer(x, mask), x, mask.tolist()):
        torch.testing.assert_close(mixed, mixed_by_loops(mixer, sentence, lambda t, s, there=there: there[s]))


@pytest.mark.parametrize("part", [TriangularMixer(LONGEST, LONGEST), CausalAttention(DIM, HEADS)])
def test_a_future_token_changes_nothing_before_it(part):
    x = draw(2, LONGEST, DIM).float()
    for t in range(1, LONGEST):
        other = x.clone()
        other[:, t:] = torch.randn(2, LONGEST - t, DIM) * 100
        assert torch.equal(part(x)[:, :t], part(other)[:, :t])
        assert not torch.equal(part(x)[:, t:], part(other)[:, t:])


@pytest.mark.parametrize("part", [TriangularMixer(LONGEST, LONGEST), CausalAttention(DIM, HEADS)])
def test_steps_give_what_the_whole_does_where_hypotheses_fork(part):
    """Hypotheses are random branches of a tree: each one's last output is that of its own path, seen as a whole."""
    part = part.double()
    sentences, beams = 2, 3
    table = torch.full((LONGEST * sentences * beams, part.cache_width * DIM), math.nan, dtype=torch.float64)
    rows, paths = torch.empty(sentences * beams, 0, dtype=torch.int64), [[] for _ in range(sentences * beams)]
    for t in range(LONGEST):
        x = draw(sentences, beams, DIM)
        first = t * sentences * beams
        rows = torch.cat([rows, torch.arange(first, first + sentences * beams)[:, None]], dim=1)
        paths = [[*path, token] for path, token in zip(paths, x.flatten(0, 1))]
        with torch.no_grad():
            stepped = part.step(x, LayerCache(table, rows, first)).flatten(0, 1)
            for out, path in zip(stepped, paths):
                torch.testing.assert_close(out, part(torch.stack(path)[None])[0, -1])
        chosen = torch.randint(sentences * beams, (sentences * beams,))
        rows, paths = rows[chosen], [paths[i] for i in chosen]


def torchs(own, q, k, v):
    """PyTorch's attention with the same weights."""
    other = nn.MultiheadAttention(DIM, HEADS, batch_first=True).double()
    with torch.no_grad():
        other.in_proj_weight.copy_(torch.cat([part.weight for part in (q, k, v) if part is not None]))
        other.in_proj_bias.copy_(torch.cat([part.bias for part in (q, k, v) if part is not None]))
        other.out_proj.load_state_dict(own.proj.state_dict())
    return other


def test_masked_attention_is_pytorchs():
    own, x = MaskedAttention(DIM, HEADS).double(), draw(2, 6, DIM)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]).bool()
    expected, _ = torchs(own, own.qkv, None, None)(x, x, x, key_padding_mask=~mask)
    torch.testing.assert_close(own(x, mask), expected)


def test_causal_attention_is_pytorchs():
    own, x = CausalAttention(DIM, HEADS).double(), draw(2, 6, DIM)
    later = torch.ones(6, 6).triu(1).bool()
    expected, _ = torchs(own, own.qkv, None, None)(x, x, x, attn_mask=later)
    torch.testing.assert_close(own(x), expected)


def test_cross_attention_is_pytorchs():
    own, x, states = CrossAttention(DIM, HEADS).double(), draw(2, 3, DIM), draw(2, 6, DIM)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]).bool()
    expected, _ = torchs(own, own.q, own.kv, None)(x, states, states, key_padding_mask=~mask)
    torch.testing.assert_close(own(x, own.read(states), mask), expected)


def test_attention_to_nothing_is_finite():
    """A sentence that is all padding, in training: no NaN may reach the others through the gradient."""
    own = CrossAttention(DIM, HEADS)
    out = own(torch.randn(2, 3, DIM), own.read(torch.randn(2, 6, DIM)), torch.tensor([[True] * 6, [False] * 6]))
    out.sum().backward()
    assert out.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in own.parameters())


def test_sinusoids_are_the_formula():
    dim, first = 6, 3
    added = Sinusoids()(torch.zeros(1, 4, dim, dtype=torch.float64), first)[0]
    for t in range(4):
        for i in range(dim // 2):
            angle = (first + t) / 10_000 ** (2 * i / dim)
            bound = gamma(2) + angle * gamma(4 + math.ceil(2 * math.log(10_000)))  # the exponent is rounded to float32
            assert added[t, 2 * i].item() == pytest.approx(math.sin(angle), rel=0, abs=bound)
            assert added[t, 2 * i + 1].item() == pytest.approx(math.cos(angle), rel=0, abs=bound)


def test_no_positions_add_nothing():
    x = draw(1, 4, DIM)
    assert NoPositions()(x, 3) is x


def test_embedding_and_logits_share_a_matrix_of_unit_variance():
    shared = SharedEmbedding(5000, 64).double()
    tokens, states = torch.arange(5000)[None], draw(1, 20, 64)
    assert [name for name, _ in shared.named_parameters()] == ["weight"]
    torch.testing.assert_close(shared(tokens)[0], 8.0 * shared.weight)
    assert shared(tokens).std().item() == pytest.approx(1.0, abs=0.02)
    assert shared.logits(states).std().item() == pytest.approx(1.0, abs=0.1)
    torch.testing.assert_close(shared.logits(states), states @ shared.weight.T)


def test_dropout_zeroes_single_channels_of_the_branch():
    x = draw(3, 50, 40)
    sublayer = Sublayer(nn.Identity(), nn.Identity(), LayerScale(40, 0.2).double(), dropout=0.25)
    branch = sublayer(x) - x
    dropped = branch.abs() < 1e-7
    assert dropped.float().mean().item() == pytest.approx(0.25, abs=0.03)
    torch.testing.assert_close(branch[~dropped], (0.2 / 0.75 * x)[~dropped])
    torch.testing.assert_close(sublayer.eval()(x), 1.2 * x)
