"""A copy of a network that translates, made for decoding: it gives the same, sooner.

A step of the decoder is a few large matrices times one token of each hypothesis. The Affine and LayerScale beside a
matrix are folded into it, and oneDNN lays it out once, as it reads it best: else it is laid out again in each step,
which for few hypotheses takes longer than to multiply.
"""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp.models.folding import split
from resmlp.models.seq2seq import Seq2Seq
from resmlp.nn import (
    Affine,
    CausalAttention,
    CrossAttention,
    LayerScale,
    MaskedAttention,
    Mlp,
    SharedEmbedding,
    Sublayer,
)
from resmlp.nn.diagonal import fold_after, fold_before, linear_of

ENDS: dict[type, tuple[str, str]] = {
    Mlp: ("fc1", "fc2"),
    CrossAttention: ("q", "proj"),
    CausalAttention: ("qkv", "proj"),
    MaskedAttention: ("qkv", "proj"),
}
"""modules of a sublayer -> the linear layer over channels that reads its input, and the one that makes its output"""

POINTWISE: dict[type, str] = {
    nn.Identity: "none",
    nn.GELU: "gelu",
    nn.ReLU: "relu",
    nn.SiLU: "swish",
    nn.Hardswish: "hardswish",
}
"""what oneDNN calls an activation"""

FEWEST = 4
"""rows at a time: oneDNN takes longer for one or two (8.9 and 10.5 ms for a step of resmlp_mt6) than for four (6.8)"""


@torch.no_grad()
def prepare(model: Seq2Seq) -> Seq2Seq:
    """A copy of `model` for `translate`, in evaluation mode. It is not to be trained, moved or saved.

    Folded anywhere; laid out by oneDNN where that is at hand: on a CPU, with numbers of 32 bits.
    """
    copy = deepcopy(model).eval().requires_grad_(False)
    head = linear_of(copy.embedding.weight, None)
    if isinstance(copy.decoder_norm, Affine):
        copy.decoder_norm, last = split(copy.decoder_norm, head.weight[0])
        head = fold_before(last, head)
    for part in list(copy.modules()):
        if isinstance(part, Sublayer) and type(part.fn) in ENDS:
            fold(part)
        if isinstance(part, Mlp):
            part.fc1, part.act = packed(part.fc1, part.act), nn.Identity()  # type: ignore[assignment]
        for name, child in part.named_children():
            if type(child) is nn.Linear:
                setattr(part, name, packed(child))
    copy.embedding = PackedEmbedding(copy.embedding, packed(head))
    return copy


def fold(sublayer: Sublayer) -> None:
    """Take the Affine before a sublayer and the LayerScale behind it into its first and its last linear layer."""
    fn, (first, last) = sublayer.fn, ENDS[type(sublayer.fn)]
    enter, leave = getattr(fn, first), getattr(fn, last)
    if isinstance(sublayer.norm, Affine):
        sublayer.norm, diagonal = split(sublayer.norm, enter.weight[0])
        setattr(fn, first, fold_before(diagonal, enter))
    if isinstance(sublayer.scale, LayerScale):
        sublayer.scale, diagonal = split(sublayer.scale, leave.bias)
        setattr(fn, last, fold_after(leave, diagonal))


def packed(linear: nn.Linear, act: nn.Module | None = None) -> nn.Module:
    """`act(linear(x))` in the fastest way there is."""
    act = nn.Identity() if act is None else act
    return PackedLinear(linear, POINTWISE[type(act)]) if packable(linear.weight) else nn.Sequential(linear, act)


def packable(weight: Tensor) -> bool:
    """Whether oneDNN lays out such a matrix. Inductor packs with the same operators, which have no public name."""
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return there and weight.device.type == "cpu" and weight.dtype == torch.float32


class PackedLinear(nn.Module):
    """`act(W x + b)`, W laid out by oneDNN."""

    def __init__(self, linear: nn.Linear, act: str):
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.bias, self.act = linear.bias, act

    def forward(self, x: Tensor) -> Tensor:
        """... D_in -> ... D_out"""
        shape = x.shape[:-1]
        if (missing := FEWEST - shape.numel()) > 0:
            padded = F.pad(x.reshape(-1, x.shape[-1]), (0, 0, 0, missing))
            return self._multiply(padded)[: shape.numel()].view(*shape, -1)
        return self._multiply(x)

    def _multiply(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, self.act, [], "none")


class PackedEmbedding(SharedEmbedding):
    """A shared embedding whose logits another matrix gives: the Affine before it is in there."""

    def __init__(self, embedding: SharedEmbedding, head: nn.Module):
        nn.Embedding.__init__(self, embedding.num_embeddings, embedding.embedding_dim, device="meta")
        self.weight = embedding.weight
        self.head = head

    def logits(self, states: Tensor) -> Tensor:
        """B N D -> B N V"""
        return self.head(states)
