"""The hub's config.json, as timm writes it, to a card and back. It is hostile until checked."""

from collections.abc import Mapping
from typing import Any

from resmlp.architectures import ARCHITECTURES, Architecture, canonical, changed
from resmlp.cards import Card, TrunkConfig
from resmlp.checks import demand
from resmlp.preprocessing import Preprocessing
from resmlp.serial import from_dict

TIMM_SIZES = {"patch_size": "patch_size", "embed_dim": "dim", "num_blocks": "depth"}
"""timm's word for a size of its MlpMixer -> ours"""
PREPROCESSING = {"crop_pct": "crop_ratio", "interpolation": "interpolation", "mean": "mean", "std": "std"}
"""timm's word in a pretrained_cfg -> ours"""


def from_hub(config: Any) -> Card:
    """A hub's config.json: what `resmlp push` put in it, or else what timm says there of a ResMLP or MLP-Mixer."""
    demand(isinstance(config, dict), "it holds no JSON object", "is it a model's config.json?")
    if "resmlp" in config:
        return from_dict(Card, config["resmlp"])
    name = str(config.get("architecture"))
    base = ARCHITECTURES[canonical(name)]
    args = _mapping(config, "model_args")
    args.pop("num_classes", None)
    height, width = _pair(args.pop("img_size", 224), "model_args.img_size")
    sizes = {ours: args.pop(theirs) for theirs, ours in TIMM_SIZES.items() if theirs in args}
    demand(not args, f"model_args {', '.join(args)} are not known", "load it as timm:NAME")
    network = TrunkConfig(
        canonical(name), from_dict(Architecture, vars(changed(base, **sizes))), (height, width), _count(config)
    )
    cfg = {"crop_pct": 0.875} | _mapping(config, "pretrained_cfg")
    ours = {PREPROCESSING[key]: value for key, value in cfg.items() if key in PREPROCESSING}
    names = config.get("label_names", [])
    demand(isinstance(names, list), "label_names is no list", "it should be as timm writes it")
    return Card(network, from_dict(Preprocessing, {"size": [height, width]} | ours), tuple(str(name) for name in names))


def to_hub(card: Card) -> dict[str, Any]:
    """The config.json that timm, and transformers through timm, build the same network from; "resmlp" keeps the card.

    A network that timm's own MlpMixer can be is described as one; any other by the name that `resmlp.timm` registers.
    """
    raise NotImplementedError


def _mapping(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key) or {}
    demand(isinstance(value, dict), f"{key} is no JSON object", "it should be as timm writes it")
    return dict(value)


def _pair(value: Any, where: str) -> tuple[int, int]:
    sides = value if isinstance(value, list) else [value]
    whole = len(sides) in (1, 2) and all(isinstance(side, int) for side in sides)
    demand(whole, f"{where} is {value!r}", "one number, or height and width")
    return sides[0], sides[-1]


def _count(config: Mapping[str, Any]) -> int:
    count = config.get("num_classes", 1000)
    demand(isinstance(count, int), f"num_classes is {count!r}", "it should be a number")
    return count
