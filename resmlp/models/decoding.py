"""A faster copy of a translation network for decoding, with the same outputs.

A step of the decoder multiplies a few large matrices by one token of each hypothesis. The Affine and LayerScale next to
a matrix are folded into it, and oneDNN stores the matrix once in its own layout. Otherwise each step converts the
layout, which for few hypotheses takes longer than the product.
"""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp.models.folding import split_diagonal
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
from resmlp.nn.channel_scaling import fold_after, fold_before, linear_of

ENDS: dict[type, tuple[str, str]] = {
    Mlp: ("fc1", "fc2"),
    CrossAttention: ("q", "proj"),
    CausalAttention: ("qkv", "proj"),
    MaskedAttention: ("qkv", "proj"),
}
"""module of a sublayer -> names of the linear layers over channels that read its input and write its output"""

POINTWISE: dict[type, str] = {
    nn.Identity: "none",
    nn.GELU: "gelu",
    nn.ReLU: "relu",
    nn.SiLU: "swish",
    nn.Hardswish: "hardswish",
}
"""activation -> its name in oneDNN"""

FEWEST = 4
"""rows of a product: oneDNN takes longer for 1 or 2 (8.9 and 10.5 ms for a step of resmlp_mt6) than for 4 (6.8)"""


@torch.no_grad()
def prepare(model: Seq2Seq) -> Seq2Seq:
    """A copy of `model` for `translate`, in evaluation mode. Do not train, move or save it.

    Its layers are folded on any device, and stored by oneDNN on a CPU in fp32.
    """
    copy = deepcopy(model).eval().requires_grad_(False)
    head = linear_of(copy.embedding.weight, None)
    if isinstance(copy.decoder_norm, Affine):
        copy.decoder_norm, last = split_diagonal(copy.decoder_norm, head.weight[0])
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
    """Fold the Affine before a sublayer into its first linear layer, and the LayerScale after it into its last."""
    fn, (first, last) = sublayer.fn, ENDS[type(sublayer.fn)]
    enter, leave = getattr(fn, first), getattr(fn, last)
    if isinstance(sublayer.norm, Affine):
        sublayer.norm, diagonal = split_diagonal(sublayer.norm, enter.weight[0])
        setattr(fn, first, fold_before(diagonal, enter))
    if isinstance(sublayer.scale, LayerScale):
        sublayer.scale, diagonal = split_diagonal(sublayer.scale, leave.bias)
        setattr(fn, last, fold_after(leave, diagonal))


def packed(linear: nn.Linear, act: nn.Module | None = None) -> nn.Module:
    """`act(linear(x))`, by oneDNN if it supports the layer."""
    act = nn.Identity() if act is None else act
    return PackedLinear(linear, POINTWISE[type(act)]) if packable(linear.weight) else nn.Sequential(linear, act)


def packable(weight: Tensor) -> bool:
    """Whether oneDNN can store the matrix. Inductor uses the same operators; they have no public name."""
    has_onednn = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return has_onednn and weight.device.type == "cpu" and weight.dtype == torch.float32


class PackedLinear(nn.Module):
    """`act(W x + b)`, with W in the layout of oneDNN."""

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
    """A shared embedding with another matrix for the logits, which contains the Affine before it."""

    def __init__(self, embedding: SharedEmbedding, head: nn.Module):
        nn.Embedding.__init__(self, embedding.num_embeddings, embedding.embedding_dim, device="meta")
        self.weight = embedding.weight
        self.head = head

    def logits(self, states: Tensor) -> Tensor:
        """B N D -> B N V"""
        return self.head(states)
