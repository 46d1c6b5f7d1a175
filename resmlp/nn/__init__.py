"""The parts a network is made of. Each table maps an option's name to the part; a new mixer is one class and one key.

Shapes everywhere: B images, N tokens (h x w, row by row), D channels.
"""

from resmlp.nn.embed import ClassToken, PatchEmbed, PositionalEmbedding
from resmlp.nn.init import INITS, convolution_matrix
from resmlp.nn.layers import ACTIVATIONS, NORMS, SCALES, Affine, DropPath, LayerScale, Mlp, TokenBatchNorm
from resmlp.nn.mixers import (
    MIXERS,
    AttentionMixer,
    ConvMixer,
    DepthwiseConvMixer,
    LinearMixer,
    MlpMixer,
    SeparableConvMixer,
    TokenMixer,
)
from resmlp.nn.pool import HEADS, ClassMlp, FirstToken, Head, MeanPool
from resmlp.nn.residual import WIRINGS, PostResidual, Residual
from resmlp.nn.sequence import (
    SEQUENCE_MIXERS,
    CausalAttention,
    CrossAttention,
    MaskedAttention,
    Past,
    SentenceMixer,
    SharedEmbedding,
    Sinusoids,
    Sublayer,
    TriangularMixer,
)

__all__ = [
    "ACTIVATIONS",
    "HEADS",
    "INITS",
    "MIXERS",
    "NORMS",
    "SCALES",
    "SEQUENCE_MIXERS",
    "WIRINGS",
    "Affine",
    "AttentionMixer",
    "CausalAttention",
    "ClassMlp",
    "ClassToken",
    "ConvMixer",
    "CrossAttention",
    "DepthwiseConvMixer",
    "DropPath",
    "FirstToken",
    "Head",
    "LayerScale",
    "LinearMixer",
    "MaskedAttention",
    "MeanPool",
    "Mlp",
    "MlpMixer",
    "Past",
    "PatchEmbed",
    "PositionalEmbedding",
    "PostResidual",
    "Residual",
    "SentenceMixer",
    "SeparableConvMixer",
    "SharedEmbedding",
    "Sinusoids",
    "Sublayer",
    "TokenBatchNorm",
    "TokenMixer",
    "TriangularMixer",
    "convolution_matrix",
]
