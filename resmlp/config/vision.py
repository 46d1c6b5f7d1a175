"""All vision networks of the paper as values.

Sources: ResMLP Table 3 (sizes, ablation rows) and Table 6 (S36); MLP-Mixer Table 1; DeiT Table 1.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from resmlp.utils.checks import ANY, check_choices, check_range, demand
from resmlp.utils.errors import UserError, lookup
from resmlp.utils.serialization import from_dict

Mixer = Literal["linear", "mlp", "conv3x3", "dwconv", "sepconv", "attention", "globalfilter", "none"]
Norm = Literal["affine", "layernorm", "batchnorm", "none"]
Activation = Literal["gelu", "relu", "silu", "hardswish"]
Scale = Literal["layerscale", "affine", "none"]
Wiring = Literal["pre", "post"]
Pool = Literal["mean", "classmlp", "classtoken"]
Init = Literal["paper", "fan-in", "local"]


@dataclass(frozen=True)
class Architecture:
    """The parts and sizes of one vision network; parts are keys of the tables in `resmlp.nn`.

    The block is `x + scale * fn(norm(x))` twice: `fn` is the token mixer, then the channel MLP (equations 2 and 3).
    """

    patch_size: int = 16
    """side of a square patch, in pixels"""
    dim: int = 384
    """embedding dimension, the paper's d"""
    depth: int = 12
    """number of layers"""
    mixer: Mixer = "linear"
    """token mixing; none: without this sublayer"""
    token_hidden: int | None = None
    """hidden width of the `mlp` mixer; None: 4 times the number of tokens"""
    heads: int = 6
    """heads of the `attention` mixer"""
    mlp_ratio: float = 4.0
    """ratio of the hidden width of the channel MLP to dim"""
    norm: Norm = "affine"
    """normalization before each sublayer and before the head"""
    activation: Activation = "gelu"
    """activation of the MLPs; gelu is exact, with erf"""
    scale: Scale = "layerscale"
    """scaling of the output of each sublayer; affine: LayerScale with a bias, as in equations 2 and 3"""
    layer_scale: float | None = None
    """initial value of the scaling; None: by depth as in CaiT (0.1 up to 18 layers, 1e-5 up to 24, 1e-6 beyond)"""
    residual: Wiring = "pre"
    """pre: x + f(norm(x)); post: norm(x + f(x))"""
    pool: Pool = "mean"
    """mean: mean of the tokens; classmlp: two Class-MLP layers; classtoken: a learned class token (DeiT)"""
    pos_embed: bool = False
    """add a learned position embedding to each token"""
    init: Init = "paper"
    """paper: truncated normal with std 0.02, as the authors; fan-in: std by the width of each layer, for small
    networks; local: fan-in, and a linear mixer starts as a random 3x3 convolution, as it learns (Figure 2)"""
    in_chans: int = 3
    """channels of the image; 1: gray, to which images of colors are converted, and the weights of a start as well"""

    def __post_init__(self) -> None:
        check_choices("--model.", self)
        check_range("--model.", self, patch_size=(1, 2**12), dim=(1, 2**14), depth=(1, 2**10))
        check_range("--model.", self, mlp_ratio=(1 / self.dim, 2**10), layer_scale=(-ANY, ANY))
        check_range("--model.", self, token_hidden=(1, 2**20), heads=(1, 2**10), in_chans=(1, 2**10))
        if self.mixer == "attention":
            hint = f"make it a multiple of {self.heads}"
            demand(self.dim % self.heads == 0, f"--model.dim {self.dim} does not split into {self.heads} heads", hint)
        fits = self.pool != "classtoken" or self.mixer in ("attention", "none")
        demand(
            fits, f"--model.pool classtoken does not work with --model.mixer {self.mixer}", "try --model.pool classmlp"
        )

    def initial_scale(self) -> float:
        """Initial LayerScale value (CaiT's rule, which the paper follows)."""
        if self.layer_scale is not None:
            return self.layer_scale
        return 0.1 if self.depth <= 18 else 1e-5 if self.depth <= 24 else 1e-6


S12 = Architecture()
S24 = replace(S12, depth=24)
B24 = replace(S12, depth=24, dim=768, layer_scale=1e-6)
MIXER = Architecture(mixer="mlp", norm="layernorm", scale="none", dim=512, token_hidden=256, depth=8)
MIXER_B = replace(MIXER, dim=768, token_hidden=384, depth=12)
MIXER_L = replace(MIXER, dim=1024, token_hidden=512, depth=24)

ARCHITECTURES: dict[str, Architecture] = {
    "resmlp_s12": S12,
    "resmlp_s24": S24,
    "resmlp_s36": replace(S12, depth=36),
    "resmlp_b24": B24,
    "resmlp_s12_p14": replace(S12, patch_size=14),
    "resmlp_s12_p8": replace(S12, patch_size=8),
    "resmlp_b24_p8": replace(B24, patch_size=8),
    "resmlp_s12_layernorm": replace(S12, norm="layernorm"),
    "resmlp_s12_classmlp": replace(S12, pool="classmlp"),
    "resmlp_s12_none": replace(S12, mixer="none"),
    "resmlp_s12_mlp": replace(S12, mixer="mlp"),
    "resmlp_s12_conv3x3": replace(S12, mixer="conv3x3"),
    "resmlp_s12_dwconv": replace(S12, mixer="dwconv"),
    "resmlp_s12_sepconv": replace(S12, mixer="sepconv"),
    "resmlp_s12_globalfilter": replace(S12, mixer="globalfilter"),
    "mixer_s32": replace(MIXER, patch_size=32),
    "mixer_s16": MIXER,
    "mixer_b32": replace(MIXER_B, patch_size=32),
    "mixer_b16": MIXER_B,
    "mixer_l32": replace(MIXER_L, patch_size=32),
    "mixer_l16": MIXER_L,
    "deit_s": replace(S12, mixer="attention", norm="layernorm", scale="none", pool="classtoken", pos_embed=True),
    "resmlp_digits": Architecture(patch_size=2, dim=64, depth=4),
    "resmlp_cifar": Architecture(patch_size=4, dim=128, depth=6),
}

ALIASES = {
    "resmlp_12_224": "resmlp_s12",
    "resmlp_24_224": "resmlp_s24",
    "resmlp_36_224": "resmlp_s36",
    "resmlp_big_24_224": "resmlp_b24_p8",  # timm's and the authors' "big" has patches of 8, not the paper's B24
    "resmlp_12": "resmlp_s12",  # the authors' functions (facebookresearch/deit, resmlp_models.py)
    "resmlp_24": "resmlp_s24",
    "resmlp_36": "resmlp_s36",
    "resmlpB_24": "resmlp_b24_p8",
    **{f"mixer_{size}{patch}_224": f"mixer_{size}{patch}" for size in "sbl" for patch in (16, 32)},
    **{f"Mixer-{size.upper()}_{patch}": f"mixer_{size}{patch}" for size in "sbl" for patch in (16, 32)},  # Google's
    "deit_small_patch16_224": "deit_s",
}
TIMM_NAMES = {model: name for name, model in ALIASES.items() if name.endswith("_224")}


def canonical(name: str) -> str:
    """The resmlp name of a model, from its resmlp, timm or author name; unknown names raise `UserError`."""
    name = ALIASES.get(name, name)
    lookup("model", name, {**ARCHITECTURES, **ALIASES}, "see `resmlp list models`")
    return name


def architecture(name: str, **changes: Any) -> Architecture:
    """The named architecture with those of `changes` that are not None; unknown names raise `UserError`."""
    return changed(ARCHITECTURES[canonical(name)], **changes)


def changed(base: Architecture, **changes: Any) -> Architecture:
    """`base` with those of `changes` that are not None."""
    known = {f.name for f in fields(Architecture)}
    for key in changes:
        if key not in known:
            raise UserError(f"a model has no {key!r}", "its parts are " + ", ".join(sorted(known)))
    return from_dict(Architecture, vars(base) | {k: v for k, v in changes.items() if v is not None})
