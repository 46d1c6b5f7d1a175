"""A network that translates as two graphs: the encoder, and one step of the decoder with its cache.

B sentences, S source tokens, K hypotheses of each sentence, L layers of the decoder, H heads, D channels, V tokens in
the vocabulary. B, S and K are any numbers. The cache has C places, any number up to the longest sentence; in place t is
the state of each layer for token t, of W channels: D of a linear mixer, 2 D of attention (keys and values).
"""

import torch
from torch import Tensor, nn

from resmlp.config.seq2seq import PAD
from resmlp.models.decoding import folded
from resmlp.models.seq2seq import Seq2Seq
from resmlp.nn import CausalAttention
from resmlp.nn.attention import attend, split_heads
from resmlp.nn.sequence import TriangularMixer


class Encoder(nn.Module):
    """Tokens of source sentences -> their keys and values for the decoder."""

    def __init__(self, model: Seq2Seq):
        super().__init__()
        self.model = model

    def forward(self, source: Tensor) -> Tensor:
        """int64 B S, padded with 0 -> L 2 B H S D/H"""
        return torch.stack(self.model.encode(source).layers)


class DecoderStep(nn.Module):
    """The newest token of each hypothesis, and the cache of the tokens before it -> logits of the next token.

    The token mixing of the decoder of `model` is replaced.
    """

    def __init__(self, model: Seq2Seq):
        super().__init__()
        arch = model.config.architecture
        self.embedding, self.decoder, self.norm = model.embedding, model.decoder, model.decoder_norm
        for layer in self.decoder:
            layer.tokens.fn = STEPS[type(layer.tokens.fn)](layer.tokens.fn)
        self.positions: Tensor
        self.register_buffer("positions", model.positions(torch.zeros(1, arch.max_length, arch.dim))[0])

    def forward(
        self, tokens: Tensor, position: Tensor, source: Tensor, memory: Tensor, cache: Tensor
    ) -> tuple[Tensor, Tensor]:
        """int64 B K, int64 1, B S, L 2 B H S D/H, L B K C W -> logits B K V, and the cache with place `position`."""
        x = self.embedding(tokens) + self.positions.index_select(0, position)
        caches = []
        for layer, keys_values, states in zip(self.decoder, memory.unbind(), cache.unbind()):
            place = StepCache(states, position)
            x = layer.step(x, keys_values, source != PAD, place)
            caches.append(place.states)
        return self.embedding.logits(self.norm(x)), torch.stack(caches)


class StepCache:
    """The cache of one layer in a step."""

    def __init__(self, states: Tensor, position: Tensor):
        self.states, self.position = states, position
        self.places = torch.arange(states.shape[2])

    @property
    def read(self) -> Tensor:
        """bool C: the places of the tokens so far, the newest among them"""
        return self.places <= self.position

    def write(self, states: Tensor) -> Tensor:
        """States of the newest token B K W -> of all places, B K C W; those of later tokens are as they were."""
        newest = (self.places == self.position)[:, None]
        self.states = torch.where(newest, states.unsqueeze(2), self.states)
        return self.states


class TriangularStep(nn.Module):
    """A step of `TriangularMixer`: one row of its matrix, in which later places have zeros."""

    def __init__(self, mixer: TriangularMixer):
        super().__init__()
        self.weight, self.bias = nn.Parameter(mixer.weight.detach().tril()), mixer.bias

    def step(self, x: Tensor, cache: StepCache) -> Tensor:
        """B K D -> B K D"""
        states = cache.write(x)
        row = self.weight.index_select(0, cache.position)[:, : states.shape[2]]  # 1 C
        return (row @ states).squeeze(2) + self.bias.index_select(0, cache.position)


class AttentionStep(nn.Module):
    """A step of `CausalAttention`."""

    def __init__(self, attention: CausalAttention):
        super().__init__()
        self.qkv, self.proj, self.heads = attention.qkv, attention.proj, attention.heads

    def step(self, x: Tensor, cache: StepCache) -> Tensor:
        """B K D -> B K D"""
        dim = x.shape[2]
        q, new = self.qkv(x).split((dim, 2 * dim), dim=2)
        states = cache.write(new).flatten(0, 1)  # B*K C 2D
        (q,) = split_heads(q.reshape(-1, 1, dim), 1, self.heads)
        k, v = split_heads(states, 2, self.heads)
        return self.proj(attend(q, k, v, cache.read[None, None, None]).view_as(x))


STEPS: dict[type, type[nn.Module]] = {TriangularMixer: TriangularStep, CausalAttention: AttentionStep}


def graphs_of(model: Seq2Seq) -> tuple[Encoder, DecoderStep]:
    """The two graphs of a network, made of a folded copy of it."""
    network = folded(model)
    return Encoder(network).eval(), DecoderStep(network).eval()
