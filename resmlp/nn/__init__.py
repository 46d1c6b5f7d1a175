"""The parts a network is made of. Each table maps an option's name to the part; a new mixer is one class and one key.

Shapes everywhere: B pictures, N tokens (h x w, row by row), D channels.
"""

from resmlp.nn.embed import ClassToken, PatchEmbed, PositionalEmbedding
from resmlp.nn.init import INITS, convolution_matrix
from resmlp.nn.layers import ACTIVATIONS, NORMS, SCALES, Affine, LayerScale, Mlp, TokenBatchNorm
from resmlp.nn.mixers import (
    MIXERS,
    AttentionMixer,
    ConvMixer,
    DepthwiseConvMixer,
    LinearMixer,
    MlpMixer,
    SeparableConvMixer,
)
from resmlp.nn.pool import ClassMlp, FirstToken, MeanPool
from resmlp.nn.residual import WIRINGS, DropPath, PostResidual, Residual

__all__ = [
    "ACTIVATIONS",
    "INITS",
    "MIXERS",
    "NORMS",
    "SCALES",
    "WIRINGS",
    "Affine",
    "AttentionMixer",
    "ClassMlp",
    "ClassToken",
    "ConvMixer",
    "DepthwiseConvMixer",
    "DropPath",
    "FirstToken",
    "LayerScale",
    "LinearMixer",
    "MeanPool",
    "Mlp",
    "MlpMixer",
    "PatchEmbed",
    "PositionalEmbedding",
    "PostResidual",
    "Residual",
    "SeparableConvMixer",
    "TokenBatchNorm",
    "convolution_matrix",
]
