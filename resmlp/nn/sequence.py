"""Parts of networks over sentences of different lengths.

B sentences, S source and T target tokens, N tokens of either, K hypotheses of each sentence, H heads, D channels. A
decoder that works step by step takes B K D, the newest token of each hypothesis, in place of B T D.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp.nn.attention import attend, split_heads
from resmlp.nn.layers import Part
from resmlp.nn.mixers import AttentionMixer, LinearMixer
from resmlp.nn.null_gradient import null_gradient
from resmlp.nn.residual import Residual
from resmlp.nn.shared_masks import Dropout


class Sublayer(Residual):
    """A `Residual` with more inputs of `fn` than x: a padding mask, the source, or a cache.

    It has dropout of single channels of the branch (Vaswani et al. 2017, section 5.4), not stochastic depth.
    """

    fn: Any
    """a module; in a decoder also with a method `step`"""

    def __init__(self, norm: nn.Module, fn: nn.Module, scale: nn.Module, dropout: float = 0.0):
        super().__init__(norm, fn, scale)
        self.drop_path = Dropout(dropout)

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """B N D -> B N D"""
        return self._residual(x, self.fn, context)

    def step(self, x: Tensor, *context: Any) -> Tensor:
        """B K D -> B K D, by `fn.step`: the newest token of each hypothesis"""
        return self._residual(x, self.fn.step, context)

    def _residual(self, x: Tensor, fn: Callable[..., Tensor], context: tuple[Any, ...]) -> Tensor:
        return x + self.drop_path(self.scale(fn(self.norm(x), *context)))


class LayerCache(NamedTuple):
    """The states of one decoder layer for all tokens so far, in the rows of a table. A hypothesis is a list of rows.

    Hypotheses fork, are reordered and end by changes of these lists alone. They share the rows of common tokens.
    """

    table: Tensor
    """rows x width; rows from `first` on are not yet written"""
    rows: Tensor
    """B*K t int64: the rows of each hypothesis, oldest first, with the newest token last"""
    first: int
    """row of the newest token of the first hypothesis"""

    def write(self, states: Tensor) -> None:
        """Write B K width, the states of the newest token of each hypothesis."""
        self.table[self.first : self.first + len(self.rows)] = states.flatten(0, 1)


class SentenceMixer(LinearMixer):
    """`A x + b` over a sentence, with the sub-matrix of A for the longest sentence of the batch (section 2)."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """B S D, mask B S (true for tokens) -> B S D

        The Affine before it turns padding into beta, so padding is set to 0 here, before it is mixed into the tokens.
        """
        n = x.shape[1]
        x = x * mask.unsqueeze(2)
        return F.linear(x.transpose(1, 2), self.weight[:n, :n], self.bias[:n]).transpose(1, 2)


class TriangularMixer(LinearMixer):
    """`A x + b` with a lower triangular A: no token reads a later one (section 2)."""

    cache_width = 1
    """width of a row of its cache, over D"""

    def forward(self, x: Tensor) -> Tensor:
        """B T D -> B T D"""
        n = x.shape[1]
        return F.linear(x.transpose(1, 2), self.weight[:n, :n].tril(), self.bias[:n]).transpose(1, 2)

    def step(self, x: Tensor, cache: LayerCache) -> Tensor:
        """B K D -> B K D: row t of A times the t rows of each hypothesis"""
        cache.write(x)
        t = cache.rows.shape[1]
        row = self.weight[t - 1, :t].expand_as(cache.rows)
        mixed = F.embedding_bag(cache.rows, cache.table, mode="sum", per_sample_weights=row)
        return (mixed + self.bias[t - 1]).view_as(x)


class MaskedAttention(AttentionMixer):
    """Self-attention of a sentence, with padding masked out: the encoder of the Transformer."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """B S D, mask B S (true for tokens) -> B S D"""
        q, k, v = split_heads(self.qkv(x), 3, self.heads)
        return self.proj(attend(q, k, v, mask[:, None, None]))


class CausalAttention(AttentionMixer):
    """Self-attention in which no token reads a later one: the decoder of the Transformer."""

    cache_width = 2
    """width of a row of its cache, over D: a key and a value"""

    def forward(self, x: Tensor) -> Tensor:
        """B T D -> B T D"""
        q, k, v = split_heads(self.qkv(x), 3, self.heads)
        return self.proj(attend(q, k, v, causal=True))

    def step(self, x: Tensor, cache: LayerCache) -> Tensor:
        """B K D -> B K D: the newest token of each hypothesis attends to its t tokens"""
        dim = x.shape[2]
        q, states = self.qkv(x).split((dim, 2 * dim), dim=2)
        cache.write(states)
        (q,) = split_heads(q.reshape(-1, 1, dim), 1, self.heads)  # B*K H 1 D/H
        k, v = split_heads(cache.table[cache.rows], 2, self.heads)  # B*K H t D/H
        return self.proj(attend(q, k, v).view_as(x))


class CrossAttention(nn.Module):
    """Multi-head attention of target tokens to the source, in the Transformer and in ResMLP (section 2)."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        null_gradient(self.kv.bias, slice(0, dim))  # of the keys
        self.proj = nn.Linear(dim, dim)

    def read(self, states: Tensor) -> Tensor:
        """B S D -> 2 B H S D/H: the keys and values of the source, computed once for a sentence"""
        return torch.stack(split_heads(self.kv(states), 2, self.heads))

    def forward(self, x: Tensor, keys_values: Tensor, mask: Tensor) -> Tensor:
        """B T D (or B K D), keys and values from `read`, mask B S (true for tokens) -> B T D"""
        (q,) = split_heads(self.q(x), 1, self.heads)
        k, v = keys_values.unbind()
        return self.proj(attend(q, k, v, mask[:, None, None]))


class SharedEmbedding(nn.Embedding):
    """One matrix V x D for source, target and output (Vaswani et al. 2017, section 3.4)."""

    def __init__(self, vocabulary: int, dim: int):
        super().__init__(vocabulary, dim)
        # tokens scaled by sqrt(D) have variance 1, and so have logits if states have; but with an Affine as norm, the
        # first states are similar to the embedding of the last input token, and its logit is about sqrt(D)
        nn.init.normal_(self.weight, std=dim**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """B N -> B N D"""
        return super().forward(tokens) * math.sqrt(self.embedding_dim)

    def logits(self, states: Tensor) -> Tensor:
        """B N D -> B N V"""
        return F.linear(states, self.weight)


class NoPositions(nn.Module):
    """The identity: a linear mixer has a weight for each position and needs no positional encoding."""

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """B N D -> B N D"""
        return x


class Sinusoids(nn.Module):
    """Adds sines and cosines of the position (Vaswani et al. 2017, section 3.5), without parameters."""

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """B N D, tokens at the positions from `first` on -> B N D"""
        dim = x.shape[2]
        position = torch.arange(first, first + x.shape[1], device=x.device).unsqueeze(1)
        channel = torch.arange(dim, device=x.device)
        angle = position * torch.exp((channel // 2) * (-2 * math.log(10_000.0) / dim))
        return x + torch.where(channel % 2 == 0, angle.sin(), angle.cos()).to(x.dtype)


class SequenceMixing(NamedTuple):
    """The token mixing of a translation network; each part is built from the architecture."""

    encoder: Part
    """B S D, B S -> B S D"""
    decoder: Part
    """B T D -> B T D; has `step` and `cache_width`"""
    positions: Part
    """B N D, first -> B N D"""


SEQUENCE_MIXERS: dict[str, SequenceMixing] = {
    "linear": SequenceMixing(
        encoder=lambda arch: SentenceMixer(arch.max_length, arch.max_length),
        decoder=lambda arch: TriangularMixer(arch.max_length, arch.max_length),
        positions=lambda arch: NoPositions(),
    ),
    "attention": SequenceMixing(
        encoder=lambda arch: MaskedAttention(arch.dim, arch.heads),
        decoder=lambda arch: CausalAttention(arch.dim, arch.heads),
        positions=lambda arch: Sinusoids(),
    ),
}
