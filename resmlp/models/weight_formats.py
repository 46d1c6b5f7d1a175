"""Weights of other code bases: their keys converted to resmlp's, and the network guessed from the tensors.

Each dialect has one pure renaming function, and is recognized by a key. The dialects of the authors and of timm differ
from resmlp's only by names, so one table serves both directions; Google's also has other axis orders. A prefix of all
keys (`module.`, `backbone.`, `teacher.`) and the dictionaries that training scripts put around weights are removed.
`guess_config` then describes a network whose file has no configuration.
"""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resmlp.config.model_json import ModelConfig, TrunkConfig
from resmlp.config.preprocessing import COUNTS, Preprocessing
from resmlp.config.pretrained import MIXER_GOOGLE
from resmlp.config.vision import ARCHITECTURES, Architecture, Scale
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

State = dict[str, Tensor]
Names = tuple[tuple[str, str], ...]

BLOCK: Names = (
    (".tokens.norm.", ".norm1."),
    (".channels.norm.", ".norm2."),
)
OFFICIAL: Names = (
    ("embed.patches.", "patch_embed."),
    ("embed.cls.token", "cls_token"),
    ("embed.position.embedding", "pos_embed"),
    *BLOCK,
    (".tokens.fn.", ".attn."),
    (".tokens.scale.gamma", ".gamma_1"),
    (".channels.fn.", ".mlp."),
    (".channels.scale.gamma", ".gamma_2"),
)
"""resmlp's names, the authors' (facebookresearch/deit: `resmlp_models.py`; attention baseline: `models_v2.py`)"""
TIMM: Names = (
    ("embed.patches.", "stem."),
    *BLOCK,
    (".tokens.fn.fc", ".mlp_tokens.fc"),
    (".tokens.fn.", ".linear_tokens."),
    (".tokens.scale.gamma", ".ls1"),
    (".channels.fn.", ".mlp_channels."),
    (".channels.scale.gamma", ".ls2"),
)
"""resmlp's names, timm's (`timm/models/mlp_mixer.py`); Affines of timm have the shape (1, 1, d)"""
GOOGLE = (
    (r"^stem/kernel$", "embed.patches.proj.weight"),
    (r"^stem/bias$", "embed.patches.proj.bias"),
    (r"^pre_head_layer_norm/", "norm."),
    (r"^MixerBlock_(\d+)/", r"blocks.\1."),
    (r"\.LayerNorm_0/", ".tokens.norm."),
    (r"\.LayerNorm_1/", ".channels.norm."),
    (r"\.token_mixing/Dense_(\d)/", lambda m: f".tokens.fn.fc{int(m[1]) + 1}."),
    (r"\.channel_mixing/Dense_(\d)/", lambda m: f".channels.fn.fc{int(m[1]) + 1}."),
    (r"^head/", "head."),
    (r"(scale|kernel)$", "weight"),
)
"""patterns in the MLP-Mixer archives of google-research/vision_transformer -> replacements"""


def _rename(state: State, names: Names) -> State:
    """Replace fragments of keys; a fragment that does not begin with a dot must be at the start of the key."""

    def renamed(key: str) -> str:
        for old, new in names:
            if old.startswith(".") or key.startswith(old):
                key = key.replace(old, new, 1)
        return key

    return {renamed(key): tensor for key, tensor in state.items()}


def _reversed(names: Names) -> Names:
    return tuple((new, old) for old, new in names)


def from_official(state: State) -> State:
    """Keys of the authors -> resmlp's."""
    return _rename(state, _reversed(OFFICIAL))


def from_timm(state: State) -> State:
    """Keys of timm -> resmlp's; Affines (1, 1, d) -> (d)."""
    flat = {key: tensor.flatten() if _is_affine(key) else tensor for key, tensor in state.items()}
    return _rename(flat, _reversed(TIMM))


def to_timm(state: State) -> State:
    """Keys of resmlp -> timm's; Affines (d) -> (1, 1, d)."""
    wide = {key: tensor.view(1, 1, -1) if _is_affine(key) else tensor for key, tensor in state.items()}
    return _rename(wide, TIMM)


def _is_affine(key: str) -> bool:
    return key.endswith((".alpha", ".beta"))


def from_google(state: State) -> State:
    """Keys of Google's MLP-Mixer -> resmlp's; kernels (in, out) -> (out, in), (h, w, in, out) -> (out, in, h, w)."""

    def renamed(key: str) -> str:
        for pattern, new in GOOGLE:
            key = re.sub(pattern, new, key)
        return key

    def permuted(tensor: Tensor) -> Tensor:
        return tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor.t() if tensor.ndim == 2 else tensor

    return {renamed(key): permuted(tensor).contiguous() for key, tensor in state.items()}


DIALECTS: dict[str, Callable[[State], State]] = {
    "embed.patches.proj.weight": dict,
    "patch_embed.proj.weight": from_official,
    "stem.proj.weight": from_timm,
    "stem/kernel": from_google,
}
"""a key that only one dialect has -> the renaming function of the dialect"""

PREFERRED = ("teacher.", "ema.", "")
"""prefixes of the network to take from a file with several, in order of preference; other prefixes come last"""


def to_resmlp(state: State) -> State | None:
    """The network in `state` with resmlp's keys, without a common prefix; None if no dialect is recognized.

    Other tensors are dropped, such as DINO's projection head, or the student in a file with a teacher.
    """
    matches = [(marker, key.removesuffix(marker)) for key in state for marker in DIALECTS if key.endswith(marker)]
    matches = [(marker, prefix) for marker, prefix in matches if not prefix or prefix[-1] in "./"]
    if not matches:
        return None
    rank = {prefix: next(i for i, word in enumerate(PREFERRED) if word in prefix) for _, prefix in matches}
    marker, prefix = min(matches, key=lambda match: (rank[match[1]], len(match[1])))
    own = {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
    return DIALECTS[marker](own)


WRAPPERS = ("teacher", "state_dict_ema", "model", "state_dict", "student")
"""keys of the weights in checkpoints of training scripts, in order of preference: the evaluation of DINO uses the
teacher, that of timm the average, that of DeiT the raw weights"""
MAX_WRAPPERS = 4
"""nested dictionaries that are unwrapped; a dictionary may contain itself"""


def unwrapped(loaded: Any) -> State | None:
    """The tensors in the content of a file, by key, out of nested dictionaries; None if it is not a dictionary.

    NumPy arrays become tensors.
    """
    for _ in range(MAX_WRAPPERS):
        inner = [w for w in WRAPPERS if isinstance(loaded, dict) and isinstance(loaded.get(w), dict)]
        loaded = loaded[inner[0]] if inner else loaded
    if not isinstance(loaded, dict):
        return None
    arrays = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in loaded.items()}
    return {key: value for key, value in arrays.items() if isinstance(key, str) and isinstance(value, Tensor)}


def guess_config(state: State, source: str) -> ModelConfig:
    """The configuration of a ResMLP or MLP-Mixer with a square grid, guessed from its tensors.

    `state` has resmlp's keys; preprocessing is that of the authors. Raises `UserError`, with the name `source`, for
    weights of another family, and for tokens that form no square.
    """
    hint = "give its network by name: create_model(NAME, checkpoint=FILE), or --model NAME --model.checkpoint FILE"
    required = {"embed.patches.proj.weight": 4, "blocks.0.channels.fn.fc1.weight": 2}
    for key, ndim in required.items():
        demand(key in state and state[key].ndim == ndim, f"unknown network in {source}: it has no {key}", hint)
    linear, mlp = "blocks.0.tokens.fn.weight", "blocks.0.tokens.fn.fc1.weight"
    mixing = state.get(linear, state.get(mlp))
    if mixing is None or mixing.ndim != 2 or {"embed.position.embedding", "embed.cls.token"} & state.keys():
        raise UserError(f"unknown network in {source}: it is not a plain ResMLP or MLP-Mixer", hint)
    dim, channels, patch, _ = state["embed.patches.proj.weight"].shape
    side = math.isqrt(mixing.shape[1])
    demand(side**2 == mixing.shape[1], f"{source}: {mixing.shape[1]} tokens form no square grid", hint)
    arch = Architecture(
        patch_size=patch,
        dim=dim,
        depth=len({key.split(".")[1] for key in state if key.startswith("blocks.")}),
        mixer="linear" if linear in state else "mlp",
        token_hidden=None if linear in state else mixing.shape[0],
        mlp_ratio=state["blocks.0.channels.fn.fc1.weight"].shape[0] / dim,
        norm="affine" if "norm.alpha" in state else "layernorm",
        scale=_scale(state),
        in_chans=channels,
    )
    names = {replace(named, layer_scale=None): name for name, named in reversed(ARCHITECTURES.items())}
    size = (side * patch, side * patch)
    is_mixer = arch.mixer == "mlp" and arch.norm == "layernorm"
    classes = len(state["head.weight"]) if "head.weight" in state else 0
    network = TrunkConfig(
        names.get(replace(arch, in_chans=3), "mixer_s16" if is_mixer else "resmlp_s12"), arch, size, classes
    )
    demand(channels in COUNTS, f"{source} is for images of {channels} channels", "only 1 and 3 are supported")
    seen = replace(MIXER_GOOGLE if is_mixer else Preprocessing(size), size=size)
    return ModelConfig(network, seen.for_channels(channels))


def _scale(state: State) -> Scale:
    if "blocks.0.tokens.scale.gamma" in state:
        return "layerscale"
    return "affine" if "blocks.0.tokens.scale.alpha" in state else "none"
