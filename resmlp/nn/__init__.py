"""The parts of networks. Each table maps the name of an option to a part.

Shapes everywhere: B images, N tokens (h x w, row by row), D channels.
"""

from resmlp.nn.embed import ClassToken, PatchEmbed, PositionalEmbedding
from resmlp.nn.heads import HEADS, ClassMlp, FirstToken, Head, MeanPool
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
)
from resmlp.nn.residual import WIRINGS, PostResidual, Residual
from resmlp.nn.sequence import (
    SEQUENCE_MIXERS,
    CausalAttention,
    CrossAttention,
    LayerCache,
    MaskedAttention,
    SentenceMixer,
    SharedEmbedding,
    Sinusoids,
    Sublayer,
    TriangularMixer,
)
from resmlp.nn.token_mixer import TokenMixer

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
    "LayerCache",
    "LayerScale",
    "LinearMixer",
    "MaskedAttention",
    "MeanPool",
    "Mlp",
    "MlpMixer",
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
