"""Every network of the paper as values: each size is spelled once, nothing is computed.

Sources: ResMLP Table 3 (sizes, ablation rows) and Table 6 (S36); MLP-Mixer Table 1; DeiT Table 1.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from resmlp.checks import ANY, BELOW_ONE, check_choices, check_range, demand
from resmlp.errors import UserError, lookup
from resmlp.files import read_json
from resmlp.serial import from_dict

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


Mixer = Literal["linear", "mlp", "conv3x3", "dwconv", "sepconv", "attention", "none"]
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
    """token mixing; with `none` the whole sublayer is gone"""
    token_hidden: int | None = None
    """hidden width of the `mlp` mixer; None: 4 times the number of tokens"""
    heads: int = 6
    """heads of the `attention` mixer"""
    mlp_ratio: float = 4.0
    """hidden width of the channel MLP over `dim`"""
    norm: Norm = "affine"
    """what comes before each sublayer and before the head"""
    activation: Activation = "gelu"
    """GELU is the exact one, by erf"""
    scale: Scale = "layerscale"
    """what ends each sublayer; affine is LayerScale with a beta, as equations 2 and 3 write it"""
    layer_scale: float | None = None
    """initial value of `scale`; None: by depth as in CaiT (0.1 up to 18 layers, 1e-5 up to 24, 1e-6 beyond)"""
    residual: Wiring = "pre"
    """pre: x + f(norm(x)); post: norm(x + f(x))"""
    pool: Pool = "mean"
    """mean of the tokens, two Class-MLP layers, or a learned first token (DeiT)"""
    pos_embed: bool = False
    """add a learned embedding to each token"""
    init: Init = "paper"
    """paper: truncated normal of std 0.02, as the authors; fan-in: std by each layer's width, for small networks;
    local: as fan-in, and a linear mixer starts as a random 3x3 convolution, which is what it learns to be (Figure 2)"""

    def __post_init__(self):
        check_choices("--model.", self)
        check_range("--model.", self, patch_size=(1, 2**12), dim=(1, 2**14), depth=(1, 2**10))
        check_range("--model.", self, mlp_ratio=(1 / self.dim, 2**10), layer_scale=(-ANY, ANY))
        check_range("--model.", self, token_hidden=(1, 2**20), heads=(1, 2**10))
        if self.mixer == "attention":
            hint = f"make it a multiple of {self.heads}"
            demand(self.dim % self.heads == 0, f"--model.dim {self.dim} does not split into {self.heads} heads", hint)
        fits = self.pool != "classtoken" or self.mixer in ("attention", "none")
        demand(fits, f"a class token has no place on the grid of a {self.mixer} mixer", "try --model.pool classmlp")

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
    **{f"mixer_{size}{patch}_224": f"mixer_{size}{patch}" for size in "sbl" for patch in (16, 32)},
    "deit_small_patch16_224": "deit_s",
}


def canonical(name: str) -> str:
    """Our name of a model given by our own name or by timm's."""
    name = ALIASES.get(name, name)
    lookup("model", name, {**ARCHITECTURES, **ALIASES}, "see `resmlp list models`")
    return name


def architecture(name: str, **changes) -> Architecture:
    """The named architecture with those of `changes` that are not None; unknown names raise `UserError`."""
    return changed(ARCHITECTURES[canonical(name)], **changes)


def changed(base: Architecture, **changes) -> Architecture:
    """`base` with those of `changes` that are not None."""
    known = {f.name for f in fields(Architecture)}
    for key in changes:
        if key not in known:
            raise UserError(f"a model has no {key!r}", "its parts are " + ", ".join(sorted(known)))
    return replace(base, **{k: v for k, v in changes.items() if v is not None})


def read_card(checkpoint: str) -> tuple[str, Architecture]:
    """Name and architecture from the model.json of a run folder, or beside a file of weights."""
    path = Path(checkpoint)
    card = path / "model.json" if path.is_dir() else path.with_suffix(".json")
    if not card.is_file():
        raise UserError(f"{checkpoint} has no model.json that says which network it is", "give its name with --model")
    found = read_json(card)
    network = found.get("model") if isinstance(found, dict) else None
    if not isinstance(network, dict):
        raise UserError(f"{card} describes no network", "it should be as resmlp wrote it")
    return str(network.get("name")), from_dict(Architecture, network.get("architecture"), "model.architecture.")


FROM_CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Model:
    """Which network; every field left at None is as the named model has it."""

    name: Annotated[str, arg(aliases=["--model"])] = "resmlp_s12"
    """a name of `resmlp list models`, ours or timm's; "checkpoint": as the checkpoint's model.json says"""
    checkpoint: str | None = None
    """start from these weights: a run folder, a .safetensors or a .pth file; another class count swaps the head"""
    drop_path: float = 0.0
    """stochastic depth: probability of dropping a sublayer for a picture, the same at every depth"""
    patch_size: int | None = None
    dim: int | None = None
    depth: int | None = None
    mixer: Mixer | None = None
    """token mixing"""
    mlp_ratio: float | None = None
    """hidden width of the channel MLP over dim"""
    token_hidden: int | None = None
    """hidden width of the mlp mixer"""
    heads: int | None = None
    """heads of the attention mixer"""
    norm: Norm | None = None
    activation: Activation | None = None
    scale: Scale | None = None
    """what ends each sublayer; affine has a beta"""
    layer_scale: float | None = None
    """initial LayerScale value"""
    residual: Wiring | None = None
    """pre-norm or post-norm"""
    pool: Pool | None = None
    pos_embed: bool | None = None
    init: Init | None = None
    """paper: std 0.02; fan-in: std by width, for small networks; local: and linear mixers start as 3x3 convolutions"""

    def __post_init__(self):
        check_range("--model.", self, drop_path=(0, BELOW_ONE))
        if self.name != FROM_CHECKPOINT:
            object.__setattr__(self, "name", canonical(self.name))
            self.network()

    def network(self) -> tuple[str, Architecture]:
        """The network's name, and its architecture with this model's changes."""
        if self.name != FROM_CHECKPOINT:
            name, base = self.name, ARCHITECTURES[self.name]
        else:
            demand(self.checkpoint is not None, "no weights to start from", "give --model.checkpoint, a run folder say")
            name, base = read_card(str(self.checkpoint))
        return name, changed(base, **self.changes())

    def changes(self) -> dict[str, Any]:
        """The parts that differ from the named model's."""
        own = ("name", "checkpoint", "drop_path")
        return {key: value for key, value in vars(self).items() if key not in own and value is not None}
