"""Weights of others under our names: one pure renaming function for each dialect, told apart by their keys.

The authors' and timm's differ from ours by names alone, so one table reads both ways; Google's also lays out its arrays
in another order. A name in front of all keys (`module.`, `backbone.`, `teacher.`) and the dictionaries that training
scripts put around the weights are taken off here as well.
"""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resmlp.config.model_config import ModelConfig, TrunkConfig
from resmlp.config.preprocessing import Preprocessing
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
"""ours, the authors' (facebookresearch/deit: `resmlp_models.py`, and `models_v2.py` for the attention baseline)"""
TIMM: Names = (
    ("embed.patches.", "stem."),
    *BLOCK,
    (".tokens.fn.fc", ".mlp_tokens.fc"),
    (".tokens.fn.", ".linear_tokens."),
    (".tokens.scale.gamma", ".ls1"),
    (".channels.fn.", ".mlp_channels."),
    (".channels.scale.gamma", ".ls2"),
)
"""ours, timm's (`timm/models/mlp_mixer.py`), whose Affines have the shape (1, 1, d)"""
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
"""patterns of google-research/vision_transformer's MLP-Mixer archives, and what each becomes"""


def _rename(state: State, names: Names) -> State:
    """Each fragment of a key replaced; one that does not begin with a dot stands at the key's start."""

    def renamed(key: str) -> str:
        for old, new in names:
            if old.startswith(".") or key.startswith(old):
                key = key.replace(old, new, 1)
        return key

    return {renamed(key): tensor for key, tensor in state.items()}


def _reversed(names: Names) -> Names:
    return tuple((theirs, ours) for ours, theirs in names)


def from_official(state: State) -> State:
    """The authors' keys -> ours."""
    return _rename(state, _reversed(OFFICIAL))


def from_timm(state: State) -> State:
    """timm's keys -> ours; Affines (1, 1, d) -> (d)."""
    flat = {key: tensor.flatten() if _is_affine(key) else tensor for key, tensor in state.items()}
    return _rename(flat, _reversed(TIMM))


def to_timm(state: State) -> State:
    """Our keys -> timm's; Affines (d) -> (1, 1, d)."""
    wide = {key: tensor.view(1, 1, -1) if _is_affine(key) else tensor for key, tensor in state.items()}
    return _rename(wide, TIMM)


def _is_affine(key: str) -> bool:
    return key.endswith((".alpha", ".beta"))


def from_google(state: State) -> State:
    """Keys of Google's MLP-Mixer -> ours; kernels (in, out) -> (out, in), (h, w, in, out) -> (out, in, h, w)."""

    def renamed(key: str) -> str:
        for pattern, new in GOOGLE:
            key = re.sub(pattern, new, key)
        return key

    def turned(tensor: Tensor) -> Tensor:
        return tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor.t() if tensor.ndim == 2 else tensor

    return {renamed(key): turned(tensor).contiguous() for key, tensor in state.items()}


DIALECTS: dict[str, Callable[[State], State]] = {
    "embed.patches.proj.weight": dict,
    "patch_embed.proj.weight": from_official,
    "stem.proj.weight": from_timm,
    "stem/kernel": from_google,
}
"""a key that only this dialect has -> its renaming function"""

PREFERRED = ("teacher.", "ema.", "")
"""of several networks side by side, the one in front of whose keys this stands; any other last"""


def to_ours(state: State) -> State | None:
    """The network in `state` under our names, whatever stands before its keys; None where no dialect is recognized.

    What lies beside that network is left out: DINO's projection head beside its `backbone.`, a student beside its
    teacher.
    """
    found = [(marker, key.removesuffix(marker)) for key in state for marker in DIALECTS if key.endswith(marker)]
    found = [(marker, front) for marker, front in found if not front or front[-1] in "./"]
    if not found:
        return None
    rank = {front: next(i for i, word in enumerate(PREFERRED) if word in front) for _, front in found}
    marker, front = min(found, key=lambda candidate: (rank[candidate[1]], len(candidate[1])))
    own = {key.removeprefix(front): tensor for key, tensor in state.items() if key.startswith(front)}
    return DIALECTS[marker](own)


WRAPPERS = ("teacher", "state_dict_ema", "model", "state_dict", "student")
"""what training scripts call the weights in a checkpoint, in the order of our preference: DINO's evaluation takes the
teacher, timm's the average, DeiT's the raw weights"""


MAX_WRAPPERS = 4  # a dictionary may hold itself


def unwrapped(loaded: Any) -> State | None:
    """The tensors of what a file holds, by name, out of the dictionaries around them; None where it has no dictionary.

    Arrays of numpy become tensors.
    """
    for _ in range(MAX_WRAPPERS):
        inner = [w for w in WRAPPERS if isinstance(loaded, dict) and isinstance(loaded.get(w), dict)]
        loaded = loaded[inner[0]] if inner else loaded
    if not isinstance(loaded, dict):
        return None
    arrays = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in loaded.items()}
    return {key: value for key, value in arrays.items() if isinstance(key, str) and isinstance(value, Tensor)}


def infer(state: State, source: str) -> ModelConfig:
    """The card of a ResMLP or MLP-Mixer state in our names, on a square grid; preprocessing is as its authors' is.

    Raises `UserError` where the weights are of another family, or the tokens form no square.
    """
    hint = "give its network by name: create_model(NAME, checkpoint=FILE), or --model NAME --model.checkpoint FILE"
    wanted = {"embed.patches.proj.weight": 4, "blocks.0.channels.fn.fc1.weight": 2}
    for key, ndim in wanted.items():
        demand(key in state and state[key].ndim == ndim, f"cannot tell which network {source} is of: no {key}", hint)
    linear, mlp = "blocks.0.tokens.fn.weight", "blocks.0.tokens.fn.fc1.weight"
    mixing = state.get(linear, state.get(mlp))
    if mixing is None or mixing.ndim != 2 or {"embed.position.embedding", "embed.cls.token"} & state.keys():
        raise UserError(f"cannot tell which network {source} is of: it is no plain ResMLP or MLP-Mixer", hint)
    dim, _, patch, _ = state["embed.patches.proj.weight"].shape
    side = math.isqrt(mixing.shape[1])
    demand(side**2 == mixing.shape[1], f"{source}: {mixing.shape[1]} tokens form no square grid", hint)
    found = Architecture(
        patch_size=patch,
        dim=dim,
        depth=len({key.split(".")[1] for key in state if key.startswith("blocks.")}),
        mixer="linear" if linear in state else "mlp",
        token_hidden=None if linear in state else mixing.shape[0],
        mlp_ratio=state["blocks.0.channels.fn.fc1.weight"].shape[0] / dim,
        norm="affine" if "norm.alpha" in state else "layernorm",
        scale=_scale(state),
    )
    named = {replace(arch, layer_scale=None): name for name, arch in reversed(ARCHITECTURES.items())}
    size = (side * patch, side * patch)
    mixer = found.mixer == "mlp" and found.norm == "layernorm"
    classes = len(state["head.weight"]) if "head.weight" in state else 0
    network = TrunkConfig(named.get(found, "mixer_s16" if mixer else "resmlp_s12"), found, size, classes)
    return ModelConfig(network, replace(MIXER_GOOGLE if mixer else Preprocessing(size), size=size))


def _scale(state: State) -> Scale:
    if "blocks.0.tokens.scale.gamma" in state:
        return "layerscale"
    return "affine" if "blocks.0.tokens.scale.alpha" in state else "none"
