"""config.json of the hub, in the format of timm, from and to a `ModelConfig`. Every value read from it is checked."""

from collections.abc import Mapping
from dataclasses import fields, replace
from math import prod
from typing import Any

from resmlp.config.model_json import ModelConfig, TrunkConfig, config_from
from resmlp.config.preprocessing import COUNTS, Preprocessing
from resmlp.config.vision import ARCHITECTURES, TIMM_NAMES, Architecture, canonical
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError
from resmlp.utils.serialization import LONG, from_dict, shown, to_dict

PREPROCESSING = {"crop_pct": "crop_ratio", "interpolation": "interpolation", "mean": "mean", "std": "std"}
"""key of pretrained_cfg in timm -> field of `Preprocessing`"""
TRAINING_ONLY = {"num_classes", "drop_rate", "proj_drop_rate", "drop_path_rate", "nlhb"}
"""model_args that do not change a trained network, and the number of classes, which is read elsewhere"""
FIXED = {"stem_norm": False}
"""model_args with one permitted value, besides global_pool"""
TIMM_FIELDS = {"embed_dim": "dim", "num_blocks": "depth", "num_heads": "heads"}
"""key of model_args in timm -> field of `Architecture`; `resmlp.timm` accepts both"""
HAND = "was config.json changed by hand?"
FORMAT = "timm uses another format; was config.json changed by hand?"
SHOWN = 5
"""unknown keys in a message"""


def from_hub(config: Any) -> ModelConfig:
    """The configuration in a config.json of `resmlp push`, or of timm for a ResMLP or an MLP-Mixer.

    Raises `UserError`, also for other architectures of timm.
    """
    demand(isinstance(config, dict), "it does not hold a JSON object", "is it the config.json of a model?")
    if "resmlp" in config:
        demand(isinstance(config["resmlp"], dict), 'its "resmlp" is not a JSON object', HAND)
        model_config = config_from(config["resmlp"])
        if not isinstance(model_config, ModelConfig):
            raise UserError('its "resmlp" does not describe a classifier', HAND)
        return model_config
    name = config.get("architecture")
    demand(isinstance(name, str), "it names no architecture", "is it the config.json of a model in timm's format?")
    cfg = {"crop_pct": 0.875, "num_classes": 1000} | _mapping(config, "pretrained_cfg")
    args = _mapping(config, "model_args")
    size = _pair(args.pop("img_size", 224))
    classes = config.get("num_classes", cfg["num_classes"])
    demand(type(classes) is int, f"num_classes is {shown(classes)}", "give a whole number")
    network = TrunkConfig(canonical(name), _architecture(canonical(name), args), size, classes)
    preprocessing = {PREPROCESSING[key]: value for key, value in cfg.items() if key in PREPROCESSING}
    names = config.get("label_names", [])
    valid = isinstance(names, list) and all(isinstance(name, str) for name in names)
    demand(valid, "label_names is not a list of names", FORMAT)
    demand(len(names) in (0, classes), f"label_names has {len(names)} names for {classes} classes", HAND)
    channels = network.architecture.in_chans
    demand(channels in COUNTS, f"model_args.in_chans is {channels}", "only 1 and 3 are supported")
    seen = from_dict(Preprocessing, {"size": list(size)} | preprocessing)
    return ModelConfig(network, seen.for_channels(channels), tuple(names))


def to_hub(config: ModelConfig) -> dict[str, Any]:
    """The config.json from which timm, and through it transformers, build the same network; "resmlp" has `config`.

    A network of timm (`timm_name`) is described by its name in timm, and its weights have the keys of timm. Any other
    network is described by the name that `resmlp.timm` registers, and the fields of `Architecture` that differ from it.
    """
    network, preprocessing, arch = config.model, config.preprocessing, config.model.architecture
    in_timm = timm_name(arch)
    height, width = network.size
    name, args = (in_timm, _timm_args(network)) if in_timm else _resmlp_args(network)
    return {
        "architecture": name,
        "num_classes": network.num_classes,
        "num_features": arch.dim,
        "global_pool": _pool(arch),
        "model_args": {"img_size": height if height == width else [height, width]} | args,
        "pretrained_cfg": {
            "input_size": [arch.in_chans, height, width],
            "fixed_input_size": True,
            "interpolation": preprocessing.interpolation,
            "crop_pct": preprocessing.crop_ratio,
            "crop_mode": "center",
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "num_classes": network.num_classes,
            "first_conv": "stem.proj" if in_timm else "embed.patches.proj",
            "classifier": "head",
        },
        **({"label_names": list(config.classes)} if config.classes else {}),
        "resmlp": to_dict(config),
    }


def timm_name(arch: Architecture) -> str | None:
    """The name of the network in timm, for any image size and number of classes; None if timm does not have it.

    In timm img_size and num_classes are arguments, and mlp_ratio for a Mixer. The name fixes all other sizes:
    `create_model("resmlp_12_224", patch_size=4)` is a TypeError (timm 1.0.31, `models/mlp_mixer.py`).
    """
    return _TIMM.get(_named_part(arch)) if arch.mixer in ("linear", "mlp") else None


def _named_part(arch: Architecture) -> Architecture:
    """`arch` with defaults for the fields that its name in timm does not fix: initial values and arguments."""
    same = replace(arch, layer_scale=None, init="paper", heads=1, token_hidden=None, in_chans=3)
    return replace(same, mlp_ratio=4.0) if arch.mixer == "mlp" else same


_TIMM = {
    _named_part(ARCHITECTURES[key]): name
    for key, name in TIMM_NAMES.items()
    if ARCHITECTURES[key].mixer in ("linear", "mlp")
}


def _timm_args(network: TrunkConfig) -> dict[str, Any]:
    """in_chans unless it is 3, and mlp_ratio of a Mixer, its hidden widths over `dim`, unless it is (0.5, 4)."""
    arch = network.architecture
    channels = {} if arch.in_chans == 3 else {"in_chans": arch.in_chans}
    if arch.mixer != "mlp":
        return channels
    hidden = _token_hidden(network)
    ratio = hidden / arch.dim
    if int(ratio * arch.dim) != hidden:  # timm truncates the product
        ratio = (hidden + 0.5) / arch.dim
    ratios = [ratio, arch.mlp_ratio]
    return channels if ratios == [0.5, 4.0] else channels | {"mlp_ratio": ratios}


def _resmlp_args(network: TrunkConfig) -> tuple[str, dict[str, Any]]:
    """An architecture name of resmlp, and the fields that differ from it; timm does not pass None on."""
    name = network.name if network.name in ARCHITECTURES else "resmlp_s12"
    arch, base = network.architecture, vars(ARCHITECTURES[name])
    if arch.mixer == "mlp":
        arch = replace(arch, token_hidden=_token_hidden(network))
    return name, {key: value for key, value in vars(arch).items() if value != base[key] and value is not None}


def _pool(arch: Architecture) -> str:
    """global_pool in timm."""
    return "avg" if arch.pool == "mean" else "token"


def _token_hidden(network: TrunkConfig) -> int:
    return network.architecture.token_hidden or 4 * prod(network.grid)


def _architecture(name: str, args: dict[str, Any]) -> Architecture:
    """The named architecture with the changes of model_args, under keys of timm or fields of `Architecture`."""
    base = ARCHITECTURES[name]
    changes = {TIMM_FIELDS.get(key, key): value for key, value in args.items() if key not in TRAINING_ONLY}
    for key, fixed in (FIXED | {"global_pool": _pool(base)}).items():
        value = changes.pop(key, fixed)
        demand(value == fixed, f"model_args.{key} is {shown(value)}", f"{name} always has {fixed!r}")
    unknown = sorted(changes.keys() - {field.name for field in fields(Architecture)})
    more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    keys = ", ".join(key[:LONG] for key in unknown[:SHOWN]) + more
    demand(not unknown, f"unknown model_args {keys}", "is it a ResMLP or MLP-Mixer of timm?")
    if isinstance(ratios := changes.get("mlp_ratio"), list):
        pair = len(ratios) == 2 and all(type(ratio) in (int, float) and 0 < ratio < 2**20 for ratio in ratios)
        demand(
            pair and base.mixer == "mlp",
            f"model_args.mlp_ratio is {shown(ratios)}",
            "give two numbers, for a Mixer only",
        )
        changes |= {"token_hidden": int(ratios[0] * base.dim), "mlp_ratio": ratios[1]}
    return from_dict(Architecture, to_dict(base) | changes, "model_args.")


def _mapping(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key) or {}
    demand(isinstance(value, dict), f"{key} is not a JSON object", FORMAT)
    return dict(value)


def _pair(value: Any) -> tuple[int, int]:
    sides = value if isinstance(value, list) else [value]
    whole = len(sides) in (1, 2) and all(type(side) is int for side in sides)
    demand(whole, f"model_args.img_size is {shown(value)}", "give one number, or height and width")
    return sides[0], sides[-1]
