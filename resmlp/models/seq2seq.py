"""The translation network (section 2, "Sequence-to-Sequence ResMLP"); with other parts, a Transformer.

B sentences, S source and T target tokens, K hypotheses of each sentence, D channels, V tokens in the vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from resmlp.config.model_json import Seq2SeqConfig
from resmlp.config.seq2seq import PAD
from resmlp.nn import (
    ACTIVATIONS,
    INITS,
    NORMS,
    SCALES,
    SEQUENCE_MIXERS,
    CrossAttention,
    LayerCache,
    Mlp,
    SharedEmbedding,
    Sublayer,
)
from resmlp.nn.shared_masks import Dropout
from resmlp.utils.checks import demand

Make = Callable[[], nn.Module]


class Memory(NamedTuple):
    """The encoded source sentences, for the decoder."""

    states: Tensor
    """B S D, after the encoder's last norm"""
    mask: Tensor
    """B S, true for tokens, false for padding"""
    layers: list[Tensor]
    """2 B H S D/H for each decoder layer: keys and values, shared by all hypotheses of a sentence"""

    def select(self, sentences: Tensor) -> "Memory":
        """The memory of the sentences at these positions."""
        layers = [keys_values.index_select(1, sentences) for keys_values in self.layers]
        return Memory(self.states[sentences], self.mask[sentences], layers)


@dataclass
class Cache:
    """The decoder's cache of K hypotheses for each of B sentences, after some steps (see `resmlp.nn.LayerCache`)."""

    memory: Memory
    tables: list[Tensor]
    """rows x width for each decoder layer"""
    rows: Tensor
    """B*K t: the rows of each hypothesis"""
    used: int = 0
    """number of rows in use"""

    @property
    def length(self) -> int:
        """Number of steps so far, t."""
        return self.rows.shape[1]

    def extend(self, hypotheses: int) -> None:
        """Add a row for each of B*K hypotheses."""
        if not self.length:  # the empty hypothesis of a sentence may fork into any number
            self.rows = self.rows.new_empty(hypotheses, 0)
        new = torch.arange(self.used, self.used + hypotheses, device=self.rows.device)
        self.rows = torch.cat([self.rows, new.unsqueeze(1)], dim=1)
        self.used += hypotheses

    def layers(self) -> list[LayerCache]:
        """The cache of each layer, for the newest rows."""
        return [LayerCache(table, self.rows, self.used - len(self.rows)) for table in self.tables]

    def reorder(self, hypotheses: Tensor) -> None:
        """Replace the hypotheses by those at B K positions among all B*K; some fork, some end."""
        self.rows = self.rows[hypotheses.flatten()]


class EncoderLayer(nn.Module):
    """Token mixing, then the feed-forward sublayer."""

    def __init__(self, tokens: Sublayer, channels: Sublayer):
        super().__init__()
        self.tokens = tokens
        self.channels = channels

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """B S D, B S -> B S D"""
        return self.channels(self.tokens(x, mask))


class DecoderLayer(nn.Module):
    """Causal token mixing, attention to the source, then the feed-forward sublayer."""

    def __init__(self, tokens: Sublayer, source: Sublayer, channels: Sublayer):
        super().__init__()
        self.tokens = tokens
        self.source = source
        self.channels = channels

    def forward(self, x: Tensor, keys_values: Tensor, mask: Tensor) -> Tensor:
        """B T D, 2 B H S D/H, B S -> B T D"""
        return self.channels(self.source(self.tokens(x), keys_values, mask))

    def step(self, x: Tensor, keys_values: Tensor, mask: Tensor, cache: LayerCache) -> Tensor:
        """B K D, 2 B H S D/H, B S -> B K D: the newest token of each hypothesis"""
        return self.channels(self.source(self.tokens.step(x, cache), keys_values, mask))


class Seq2Seq(nn.Module):
    """Tokens of a sentence and of a prefix of its translation -> logits of the next token.

    `forward` reads whole translations, as in training. `encode`, `start` and repeated `step` read one more token of
    each hypothesis at a time, and return the same logits. The result for a sentence does not depend on its batch.
    """

    def __init__(self, config: Seq2SeqConfig):
        super().__init__()
        arch = config.architecture
        mixing = SEQUENCE_MIXERS[arch.mixer]
        norm: Make = partial(NORMS[arch.norm], arch.dim)
        scale: Make = partial(SCALES["layerscale" if arch.layer_scale else "none"], arch.dim, arch.layer_scale)

        def sublayer(fn: nn.Module) -> Sublayer:
            return Sublayer(norm(), fn, scale(), config.dropout)

        def channels() -> Sublayer:
            return sublayer(Mlp(arch.dim, arch.hidden, ACTIVATIONS[arch.activation]))

        def encoder_layer() -> EncoderLayer:
            return EncoderLayer(sublayer(mixing.encoder(arch)), channels())

        def decoder_layer() -> DecoderLayer:
            source = sublayer(CrossAttention(arch.dim, arch.heads))
            return DecoderLayer(sublayer(mixing.decoder(arch)), source, channels())

        self.config = config
        self.embedding = SharedEmbedding(config.vocabulary, arch.dim)
        self.positions = mixing.positions(arch)
        self.dropout = Dropout(config.dropout)
        self.encoder = nn.ModuleList(encoder_layer() for _ in range(arch.encoder_depth))
        self.encoder_norm = norm()
        self.decoder: Any = nn.ModuleList(decoder_layer() for _ in range(arch.decoder_depth))
        self.decoder_norm = norm()
        self.apply(lambda module: INITS["fan-in"](module, (arch.max_length, 1)))

    def encode(self, source: Tensor) -> Memory:
        """B S token numbers, padded with `PAD` -> the memory of the decoder. Raises `UserError` if too long."""
        mask = source != PAD
        x = self._embed(source)
        for layer in self.encoder:
            x = layer(x, mask)
        states = self.encoder_norm(x)
        return Memory(states, mask, [layer.source.fn.read(states) for layer in self.decoder])

    def decode(self, target: Tensor, memory: Memory) -> Tensor:
        """B T tokens, `BOS` first -> B T D: states, which `logits` takes to the token after each."""
        x = self._embed(target)
        for layer, keys_values in zip(self.decoder, memory.layers):
            x = layer(x, keys_values, memory.mask)
        return self.decoder_norm(x)

    def logits(self, states: Tensor) -> Tensor:
        """B T D -> B T V"""
        return self.embedding.logits(states)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """B S, B T -> B T V: logits of the token after each of `target`, which starts with `BOS`"""
        return self.logits(self.decode(target, self.encode(source)))

    def start(self, memory: Memory, beams: int, steps: int | None = None) -> Cache:
        """An empty cache for up to `beams` hypotheses of each sentence, and `steps` or the longest sentence."""
        arch = self.config.architecture
        rows = len(memory.mask) * beams * (steps or arch.max_length)
        tables = [memory.states.new_empty(rows, layer.tokens.fn.cache_width * arch.dim) for layer in self.decoder]
        return Cache(memory, tables, torch.empty(0, 0, dtype=torch.int64, device=memory.mask.device))

    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """B K tokens, the newest of each hypothesis -> B K V: the logits of `forward`. Not for training."""
        return self.logits(self.advance(tokens, cache))

    def advance(self, tokens: Tensor, cache: Cache) -> Tensor:
        """B K -> B K D: as `step`, without the logits"""
        x = self._embed(tokens.view(-1, 1), cache.length).view(*tokens.shape, -1)
        cache.extend(tokens.numel())
        for layer, keys_values, own in zip(self.decoder, cache.memory.layers, cache.layers()):
            x = layer.step(x, keys_values, cache.memory.mask, own)
        return self.decoder_norm(x)

    def _embed(self, tokens: Tensor, first: int = 0) -> Tensor:
        """B N tokens, at the positions from `first` on -> B N D"""
        self._check_length(first + tokens.shape[1])
        return self.dropout(self.positions(self.embedding(tokens), first))

    def _check_length(self, length: int) -> None:
        most = self.config.architecture.max_length
        what = f"a sentence of {length} tokens is too long for {self.config.name}: at most {most} with its end"
        demand(length <= most, what, "shorten it, or train with a larger --model.max-length")
