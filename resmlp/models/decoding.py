"""A faster copy of a translation network for decoding, with the same outputs.

A step of the decoder multiplies a few large matrices by one token of each hypothesis. The Affine and LayerScale next to
a matrix are folded into it, and oneDNN stores the matrix once in its own layout. Otherwise each step converts the
layout, which for few hypotheses takes longer than the product (`resmlp.models.packed_linear`).
"""

from copy import deepcopy

import torch
from torch import Tensor, nn

from resmlp.config.precision import Precision
from resmlp.models.folding import split_diagonal
from resmlp.models.packed_linear import packed
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


@torch.no_grad()
def prepare(model: Seq2Seq, precision: Precision = "fp32") -> Seq2Seq:
    """A copy of `model` for `translate`, in evaluation mode. Do not train, move or save it.

    Its layers are folded on any device, in fp32. On a CPU the matrices over channels and that of the logits are then
    stored for products of this precision; all else stays in fp32.
    """
    copy = folded(model)
    for part in list(copy.modules()):
        if isinstance(part, Mlp):
            part.fc1, part.act = packed(part.fc1, part.act, precision), nn.Identity()  # type: ignore[assignment]
        for name, child in part.named_children():
            if type(child) is nn.Linear:
                setattr(part, name, packed(child, precision=precision))
    return copy


@torch.no_grad()
def folded(model: Seq2Seq) -> Seq2Seq:
    """A copy of `model` for inference, with the Affine and LayerScale next to a matrix over channels folded into it."""
    copy = deepcopy(model).eval().requires_grad_(False)
    head = linear_of(copy.embedding.weight, None)
    if isinstance(copy.decoder_norm, Affine):
        copy.decoder_norm, last = split_diagonal(copy.decoder_norm, head.weight[0])
        head = fold_before(last, head)
    for part in list(copy.modules()):
        if isinstance(part, Sublayer) and type(part.fn) in ENDS:
            fold(part)
    copy.embedding = FoldedEmbedding(copy.embedding, head)
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


class FoldedEmbedding(SharedEmbedding):
    """A shared embedding with another matrix for the logits, which contains the Affine before it."""

    def __init__(self, embedding: SharedEmbedding, head: nn.Module):
        nn.Embedding.__init__(self, embedding.num_embeddings, embedding.embedding_dim, device="meta")
        self.weight = embedding.weight
        self.head = head

    def logits(self, states: Tensor) -> Tensor:
        """B N D -> B N V"""
        return self.head(states)
