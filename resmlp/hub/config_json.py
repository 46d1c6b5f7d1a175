"""The hub's config.json, as timm writes it, to a card and back. It is hostile until checked."""

from collections.abc import Mapping
from dataclasses import fields, replace
from math import prod
from typing import Any

from resmlp.config.model_config import ModelConfig, TrunkConfig, config_from
from resmlp.config.preprocessing import Preprocessing
from resmlp.config.vision import ARCHITECTURES, TIMM_NAMES, Architecture, canonical
from resmlp.utils.checks import demand
from resmlp.utils.serialization import LONG, from_dict, shown, to_dict

PREPROCESSING = {"crop_pct": "crop_ratio", "interpolation": "interpolation", "mean": "mean", "std": "std"}
"""timm's word in a pretrained_cfg -> ours"""
TRAINING_ONLY = {"num_classes", "drop_rate", "proj_drop_rate", "drop_path_rate", "nlhb"}
"""model_args of timm's that do not change a trained network; the class count is read elsewhere"""
FIXED = {"in_chans": 3, "stem_norm": False}
"""those that must be what they are anyway, beside global_pool"""
WORDS = {"embed_dim": "dim", "num_blocks": "depth", "num_heads": "heads"}
"""timm's words in model_args for parts of an `Architecture`, which `resmlp.timm` takes as well"""
HAND = "was config.json changed by hand?"
NAMED = 5  # unknown keys in a message


def from_hub(config: Any) -> ModelConfig:
    """A hub's config.json: what `resmlp push` put in it, or else what timm says there of a ResMLP or MLP-Mixer."""
    demand(isinstance(config, dict), "it holds no JSON object", "is it a model's config.json?")
    if "resmlp" in config:
        ours = config["resmlp"]
        demand(isinstance(ours, dict), 'its "resmlp" is no JSON object', HAND)
        config = config_from(ours)
        demand(isinstance(config, ModelConfig), 'its "resmlp" is not of a classifier', HAND)
        return config
    name = config.get("architecture")
    demand(isinstance(name, str), "it names no architecture", "is it a model's config.json, as timm writes it?")
    cfg = {"crop_pct": 0.875, "num_classes": 1000} | _mapping(config, "pretrained_cfg")
    args = _mapping(config, "model_args")
    size = _pair(args.pop("img_size", 224))
    classes = config.get("num_classes", cfg["num_classes"])
    demand(type(classes) is int, f"num_classes is {shown(classes)}", "it should be a number")
    network = TrunkConfig(canonical(name), _architecture(canonical(name), args), size, classes)
    ours = {PREPROCESSING[key]: value for key, value in cfg.items() if key in PREPROCESSING}
    names = config.get("label_names", [])
    listed = isinstance(names, list) and all(isinstance(one, str) for one in names)
    demand(listed, "label_names is no list of names", "it should be as timm writes it")
    demand(len(names) in (0, classes), f"label_names has {len(names)} names for {classes} classes", HAND)
    return ModelConfig(network, from_dict(Preprocessing, {"size": list(size)} | ours), tuple(names))


def to_hub(card: ModelConfig) -> dict[str, Any]:
    """The config.json that timm, and transformers through timm, build the same network from; "resmlp" keeps the card.

    A network that timm has (`timm_name`) is described as timm's own, with the classifier and weights under timm's
    names; any other by the name that `resmlp.timm` registers, with our words for what differs from that name.
    """
    network, seen, arch = card.model, card.preprocessing, card.model.architecture
    own = timm_name(arch)
    height, width = network.size
    name, args = (own, _timm_args(network)) if own else _our_args(network)
    return {
        "architecture": name,
        "num_classes": network.num_classes,
        "num_features": arch.dim,
        "global_pool": _pool(arch),
        "model_args": {"img_size": height if height == width else [height, width]} | args,
        "pretrained_cfg": {
            "input_size": [3, height, width],
            "fixed_input_size": True,
            "interpolation": seen.interpolation,
            "crop_pct": seen.crop_ratio,
            "crop_mode": "center",
            "mean": list(seen.mean),
            "std": list(seen.std),
            "num_classes": network.num_classes,
            "first_conv": "stem.proj" if own else "embed.patches.proj",
            "classifier": "head",
        },
        **({"label_names": list(card.classes)} if card.classes else {}),
        "resmlp": to_dict(card),
    }


def timm_name(arch: Architecture) -> str | None:
    """timm's own name for the network, whatever its images and classes; None where timm has none.

    An entry of timm's takes another img_size and num_classes, and a Mixer's an mlp_ratio. The other sizes are fixed by
    the name: `create_model("resmlp_12_224", patch_size=4)` is a TypeError (timm 1.0.31, `models/mlp_mixer.py`).
    """
    return _TIMM.get(_essence(arch)) if arch.mixer in ("linear", "mlp") else None


def _essence(arch: Architecture) -> Architecture:
    """`arch` without what only initializes it, has no part in it, or can be told to timm apart."""
    same = replace(arch, layer_scale=None, init="paper", heads=1, token_hidden=None)
    return replace(same, mlp_ratio=4.0) if arch.mixer == "mlp" else same


_TIMM = {
    _essence(ARCHITECTURES[ours]): name
    for ours, name in TIMM_NAMES.items()
    if ARCHITECTURES[ours].mixer in ("linear", "mlp")
}


def _timm_args(network: TrunkConfig) -> dict[str, Any]:
    """What a Mixer of timm's must be told: its hidden widths over `dim`, where they are not (0.5, 4)."""
    arch = network.architecture
    if arch.mixer != "mlp":
        return {}
    hidden = _token_hidden(network)
    ratio = hidden / arch.dim
    if int(ratio * arch.dim) != hidden:  # timm cuts off what a rounded quotient leaves
        ratio = (hidden + 0.5) / arch.dim
    ratios = [ratio, arch.mlp_ratio]
    return {} if ratios == [0.5, 4.0] else {"mlp_ratio": ratios}


def _our_args(network: TrunkConfig) -> tuple[str, dict[str, Any]]:
    """A name of ours, and the parts that differ from it; timm passes no None on."""
    name = network.name if network.name in ARCHITECTURES else "resmlp_s12"
    arch, base = network.architecture, vars(ARCHITECTURES[name])
    if arch.mixer == "mlp":
        arch = replace(arch, token_hidden=_token_hidden(network))
    return name, {key: value for key, value in vars(arch).items() if value != base[key] and value is not None}


def _pool(arch: Architecture) -> str:
    """timm's word for the pooling."""
    return "avg" if arch.pool == "mean" else "token"


def _token_hidden(network: TrunkConfig) -> int:
    return network.architecture.token_hidden or 4 * prod(network.grid)


def _architecture(name: str, args: dict[str, Any]) -> Architecture:
    """The named architecture with the changes that model_args say, in timm's words or ours."""
    base = ARCHITECTURES[name]
    changes = {WORDS.get(key, key): value for key, value in args.items() if key not in TRAINING_ONLY}
    for key, fixed in (FIXED | {"global_pool": _pool(base)}).items():
        value = changes.pop(key, fixed)
        demand(value == fixed, f"model_args.{key} is {shown(value)}", f"of {name} it is always {fixed!r}")
    unknown = sorted(changes.keys() - {field.name for field in fields(Architecture)})
    more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
    named = ", ".join(key[:LONG] for key in unknown[:NAMED]) + more
    demand(not unknown, f"model_args {named} are not known", "is it a ResMLP or MLP-Mixer as timm has it?")
    if isinstance(ratios := changes.get("mlp_ratio"), list):
        pair = len(ratios) == 2 and all(type(ratio) in (int, float) and 0 < ratio < 2**20 for ratio in ratios)
        demand(pair and base.mixer == "mlp", f"model_args.mlp_ratio is {shown(ratios)}", "two numbers, for a Mixer")
        changes |= {"token_hidden": int(ratios[0] * base.dim), "mlp_ratio": ratios[1]}
    return from_dict(Architecture, to_dict(base) | changes, "model_args.")


def _mapping(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key) or {}
    demand(isinstance(value, dict), f"{key} is no JSON object", "it should be as timm writes it")
    return dict(value)


def _pair(value: Any) -> tuple[int, int]:
    sides = value if isinstance(value, list) else [value]
    whole = len(sides) in (1, 2) and all(type(side) is int for side in sides)
    demand(whole, f"model_args.img_size is {shown(value)}", "one number, or height and width")
    return sides[0], sides[-1]
