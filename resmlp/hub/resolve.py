"""Where weights come from: what a person writes to say which, and what is known of them before they are read."""

from pathlib import Path

from resmlp.config.model_config import ModelConfig, TrunkConfig, read_config, read_kind
from resmlp.config.pretrained import FILE_ENDINGS, PUBLISHED, Published, canonical_tag, is_tagged, published
from resmlp.config.vision import ARCHITECTURES
from resmlp.hub.config_json import from_hub
from resmlp.hub.download import fetch
from resmlp.utils.errors import UserError
from resmlp.utils.files import read_json

HUB = "hf-hub:"
WEIGHTS = "model.safetensors"


def exists(source: str) -> bool:
    """Whether there is such a file or folder; no name is too long or too strange to ask."""
    try:
        return bool(source.strip()) and Path(source).exists()
    except (OSError, ValueError):
        return False


def is_published(source: str) -> bool:
    """Whether `source` means published weights, `model.tag`, and no file of that name."""
    return is_tagged(source) and not exists(source)


def published_of(source: str) -> Published | None:
    """The published weights that `source` names, or that a file or folder is called after; None for all others.

    Not for one that has its own .json: a run may be called as its start was.
    """
    if is_published(source):
        return published(source)
    if _own_config(source):
        return None
    front, _, ending = Path(source).name.rpartition(".")
    name = front if ending in FILE_ENDINGS else Path(source).name
    return published(name) if is_tagged(name) and canonical_tag(name) in PUBLISHED else None


def file_of(source: str) -> Path:
    """The local file of weights given as a run folder, a file, published `model.tag`, or `hf-hub:ORG/NAME`.

    What lies on the hub is downloaded once. Raises `UserError` where it cannot be; a path need not exist.
    """
    if source.startswith(HUB):
        return fetch(source.removeprefix(HUB), WEIGHTS)
    if is_published(source):
        return fetch(published(source).repo, WEIGHTS, f"the weights {published(source).name}")
    return Path(source) / WEIGHTS if exists(source) and Path(source).is_dir() else Path(source)


def config_of(source: str) -> ModelConfig | None:
    """What is known of the same, by its .json, by the hub's config.json, or by its published name; None for nothing.

    Raises `UserError`.
    """
    if source.startswith(HUB):
        return _hub_config(source, fetch(source.removeprefix(HUB), "config.json"))
    if own := _own_config(source):
        return read_config(own, ModelConfig)
    if weights := published_of(source):
        network = TrunkConfig(weights.model, ARCHITECTURES[weights.model], num_classes=weights.num_classes)
        return ModelConfig(network, weights.preprocessing)
    copied = Path(source) / "config.json"  # a copy of a hub's repository
    return _hub_config(source, copied) if exists(str(copied)) else None


def kind_of(source: str) -> str:
    """The kind of a run folder or a file of weights: what its .json says, or a classifier."""
    own = _own_config(source)
    return read_kind(own) if own else "classifier"


def _own_config(source: str) -> Path | None:
    """The .json beside a file, or in a run folder."""
    beside = file_of(source).with_suffix(".json") if exists(source) else None
    return beside if beside and beside.is_file() else None


def _hub_config(source: str, path: Path) -> ModelConfig:
    try:
        return from_hub(read_json(path))
    except UserError as error:
        raise UserError(f"{source}: {error.what}", error.hint) from None
