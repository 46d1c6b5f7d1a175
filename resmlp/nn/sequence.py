"""Parts of networks over sentences, whose lengths vary.

B sentences, S source and T target tokens, N tokens of either, K hypotheses of each sentence, H heads, D channels. Where
a decoder works step by step, the K newest tokens of a sentence stand where the T tokens of a whole one do: B K D.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp.nn.attention import attend, split
from resmlp.nn.layers import Part
from resmlp.nn.mixers import AttentionMixer, LinearMixer
from resmlp.nn.residual import Residual


class Sublayer(Residual):
    """A `Residual` whose `fn` is told more than x: which tokens are padding, the source, or what came before.

    It drops single channels of its output, as Vaswani et al. (2017, section 5.4) do, and no whole branch.
    """

    fn: Any
    """a module; one that is stepped has a method `step`"""

    def __init__(self, norm: nn.Module, fn: nn.Module, scale: nn.Module, dropout: float = 0.0):
        super().__init__(norm, fn, scale)
        self.drop_path = nn.Dropout(dropout)

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """B N D -> B N D"""
        return self._beside(x, self.fn, context)

    def step(self, x: Tensor, *context: Any) -> Tensor:
        """B K D -> B K D: the newest token of each hypothesis, by `fn.step`"""
        return self._beside(x, self.fn.step, context)

    def _beside(self, x: Tensor, fn: Callable[..., Tensor], context: tuple[Any, ...]) -> Tensor:
        return x + self.drop_path(self.scale(fn(self.norm(x), *context)))


class Past(NamedTuple):
    """What one decoder layer has seen, in a table whose rows never move: a hypothesis is a list of their numbers.

    So hypotheses fork, change places and end by their numbers alone, and what two have in common lies there once.
    """

    table: Tensor
    """rows x width; those from `first` on are yet to be written"""
    rows: Tensor
    """B*K t, whole numbers: the rows of each hypothesis, oldest first, the newest token's included"""
    first: int
    """row of the first hypothesis' newest token"""

    def write(self, seen: Tensor) -> None:
        """Put down B K width, the newest token of each hypothesis."""
        self.table[self.first : self.first + len(self.rows)] = seen.flatten(0, 1)


class SentenceMixer(LinearMixer):
    """`A x + b` over a sentence: of A the sub-matrix for the longest one of the batch (section 2)."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """B S D, and B S which is true for tokens -> B S D

        The Affine before it turned padding into beta: it is made zero here, where it would be mixed into the tokens.
        """
        n = x.shape[1]
        x = x * mask.unsqueeze(2)
        return F.linear(x.transpose(1, 2), self.weight[:n, :n], self.bias[:n]).transpose(1, 2)


class TriangularMixer(LinearMixer):
    """`A x + b` with a lower triangular A, so that no token sees a later one (section 2)."""

    remembered = 1
    """width of a row of its past, over D"""

    def forward(self, x: Tensor) -> Tensor:
        """B T D -> B T D"""
        n = x.shape[1]
        return F.linear(x.transpose(1, 2), self.weight[:n, :n].tril(), self.bias[:n]).transpose(1, 2)

    def step(self, x: Tensor, past: Past) -> Tensor:
        """B K D -> B K D: row t of A times the t rows of each hypothesis, gathered as they are summed."""
        past.write(x)
        t = past.rows.shape[1]
        row = self.weight[t - 1, :t].expand_as(past.rows)
        mixed = F.embedding_bag(past.rows, past.table, mode="sum", per_sample_weights=row)
        return (mixed + self.bias[t - 1]).view_as(x)


class MaskedAttention(AttentionMixer):
    """Self-attention of a sentence, blind to padding: the Transformer's encoder."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """B S D, and B S which is true for tokens -> B S D"""
        q, k, v = split(self.qkv(x), 3, self.heads)
        return self.proj(attend(q, k, v, mask[:, None, None]))


class CausalAttention(AttentionMixer):
    """Self-attention in which no token sees a later one: the Transformer's decoder."""

    remembered = 2
    """width of a row of its past, over D: a key and a value"""

    def forward(self, x: Tensor) -> Tensor:
        """B T D -> B T D"""
        q, k, v = split(self.qkv(x), 3, self.heads)
        return self.proj(attend(q, k, v, causal=True))

    def step(self, x: Tensor, past: Past) -> Tensor:
        """B K D -> B K D: the newest token of each hypothesis looks at the t tokens of it."""
        dim = x.shape[2]
        q, seen = self.qkv(x).split((dim, 2 * dim), dim=2)
        past.write(seen)
        (q,) = split(q.reshape(-1, 1, dim), 1, self.heads)  # B*K H 1 D/H
        k, v = split(past.table[past.rows], 2, self.heads)  # B*K H t D/H
        return self.proj(attend(q, k, v).view_as(x))


class CrossAttention(nn.Module):
    """Multi-head attention of target tokens to the source, which both networks keep (section 2)."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)

    def read(self, states: Tensor) -> Tensor:
        """B S D -> 2 B H S D/H: keys and values, once for a sentence."""
        return torch.stack(split(self.kv(states), 2, self.heads))

    def forward(self, x: Tensor, keys_values: Tensor, mask: Tensor) -> Tensor:
        """B T D (or B K D), what `read` gave, and B S which is true for tokens -> B T D"""
        (q,) = split(self.q(x), 1, self.heads)
        k, v = keys_values.unbind()
        return self.proj(attend(q, k, v, mask[:, None, None]))


class SharedEmbedding(nn.Embedding):
    """One matrix V x D for source, target and output (Vaswani et al. 2017, section 3.4)."""

    def __init__(self, vocabulary: int, dim: int):
        super().__init__(vocabulary, dim)
        # tokens have variance 1 once scaled, and logits have where states do; but at the start states are much like the
        # token just put in where the norm is an Affine, and its logit is about sqrt(D)
        nn.init.normal_(self.weight, std=dim**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """B N -> B N D"""
        return super().forward(tokens) * math.sqrt(self.embedding_dim)

    def logits(self, states: Tensor) -> Tensor:
        """B N D -> B N V"""
        return F.linear(states, self.weight)


class NoPositions(nn.Module):
    """Nothing: a linear mixer has a weight for each position, and knows them."""

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """B N D -> B N D"""
        return x


class Sinusoids(nn.Module):
    """Adds sines and cosines of the position (Vaswani et al. 2017, section 3.5), which has no parameters to learn."""

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """B N D, whose tokens stand at `first` and after -> B N D"""
        dim = x.shape[2]
        position = torch.arange(first, first + x.shape[1], device=x.device).unsqueeze(1)
        channel = torch.arange(dim, device=x.device)
        angle = position * torch.exp((channel // 2) * (-2 * math.log(10_000.0) / dim))
        return x + torch.where(channel % 2 == 0, angle.sin(), angle.cos()).to(x.dtype)


class Mixing(NamedTuple):
    """How a network that translates mixes tokens; each part is built from the architecture."""

    encoder: Part
    """B S D, B S -> B S D"""
    decoder: Part
    """B T D -> B T D; has `step` and `remembered`"""
    positions: Part
    """B N D, first -> B N D"""


SEQUENCE_MIXERS: dict[str, Mixing] = {
    "linear": Mixing(
        encoder=lambda arch: SentenceMixer(arch.max_length, arch.max_length),
        decoder=lambda arch: TriangularMixer(arch.max_length, arch.max_length),
        positions=lambda arch: NoPositions(),
    ),
    "attention": Mixing(
        encoder=lambda arch: MaskedAttention(arch.dim, arch.heads),
        decoder=lambda arch: CausalAttention(arch.dim, arch.heads),
        positions=lambda arch: Sinusoids(),
    ),
}
