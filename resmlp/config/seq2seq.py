"""All translation networks as values (section 2, "Sequence-to-Sequence ResMLP"; sizes of Table 5)."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from resmlp.utils.checks import ANY, check_choices, check_range, demand
from resmlp.utils.errors import UserError, lookup

PAD, BOS, EOS, UNK = 0, 1, 2, 3
"""ids of the special tokens: padding, beginning and end of a sentence, unknown"""

SEARCH = {"beam": (1, 2**10), "length_penalty": (0, math.nextafter(100, 0))}
"""smallest and largest values of the settings of the beam search"""

Mixer = Literal["linear", "attention"]
Norm = Literal["affine", "layernorm"]
Activation = Literal["gelu", "relu", "silu", "hardswish"]


@dataclass(frozen=True)
class Seq2SeqArchitecture:
    """The parts and sizes of an encoder and a decoder; the residual structure is that of the vision trunk.

    A layer of the encoder has token mixing and a feed-forward sublayer; a layer of the decoder has attention to the
    encoder between the two.
    """

    dim: int = 512
    """embedding dimension"""
    hidden: int = 2048
    """width of the feed-forward sublayers"""
    encoder_depth: int = 6
    decoder_depth: int = 6
    heads: int = 8
    """heads of the cross-attention and of the `attention` mixer"""
    mixer: Mixer = "linear"
    """linear: a matrix over the positions, triangular in the decoder; attention: that of the Transformer"""
    norm: Norm = "affine"
    activation: Activation = "gelu"
    layer_scale: float = 0.2
    """initial LayerScale at the end of each sublayer (section 3.5); 0: no LayerScale, as in the Transformer"""
    max_length: int = 256
    """tokens of the longest sentence, including its end: the size of the matrix of a linear mixer"""

    def __post_init__(self) -> None:
        check_choices("--model.", self)
        check_range("--model.", self, dim=(1, 2**14), hidden=(1, 2**16), heads=(1, 2**10), layer_scale=(0, ANY))
        check_range("--model.", self, encoder_depth=(1, 2**8), decoder_depth=(1, 2**8), max_length=(2, 2**14))
        hint = f"make it a multiple of {self.heads}"
        demand(self.dim % self.heads == 0, f"--model.dim {self.dim} does not split into {self.heads} heads", hint)


MT6 = Seq2SeqArchitecture()
SMALL = replace(MT6, dim=256, hidden=1024, encoder_depth=3, decoder_depth=3, heads=4, max_length=64)
TINY = replace(MT6, dim=128, hidden=256, encoder_depth=2, decoder_depth=2, heads=4, max_length=32)
ATTENTION: dict[str, Any] = {"mixer": "attention", "norm": "layernorm", "layer_scale": 0.0}

SEQ2SEQ: dict[str, Seq2SeqArchitecture] = {
    "resmlp_mt6": MT6,
    "resmlp_mt12": replace(MT6, encoder_depth=12, decoder_depth=12),
    "resmlp_mt_small": SMALL,
    "resmlp_mt_tiny": TINY,
    "transformer_mt6": replace(MT6, **ATTENTION),
    "transformer_mt12": replace(MT6, encoder_depth=12, decoder_depth=12, **ATTENTION),
    "transformer_mt_small": replace(SMALL, **ATTENTION),
    "transformer_mt_tiny": replace(TINY, **ATTENTION),
}


def changed(name: str, **changes: Any) -> Seq2SeqArchitecture:
    """The named architecture with those of `changes` that are not None; unknown names raise `UserError`."""
    base = lookup("model that translates", name, SEQ2SEQ, "weights to start from are --model.checkpoint")
    known = {f.name for f in fields(Seq2SeqArchitecture)}
    for key in changes:
        if key not in known:
            raise UserError(f"a model has no {key!r}", "its parts are " + ", ".join(sorted(known)))
    return replace(base, **{key: value for key, value in changes.items() if value is not None})
