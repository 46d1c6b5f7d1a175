"""Where weights come from: what a person writes to say which, and what is known of them before they are read."""

from pathlib import Path

from resmlp.architectures import ARCHITECTURES
from resmlp.cards import Card, TrunkConfig, read_card
from resmlp.errors import UserError
from resmlp.files import read_json
from resmlp.hub import fetch
from resmlp.hubcards import from_hub
from resmlp.published import is_tagged, published

HUB = "hf-hub:"
WEIGHTS = "model.safetensors"


def is_published(source: str) -> bool:
    """Whether `source` means published weights, `model.tag`, and no file of that name."""
    return is_tagged(source) and not Path(source).exists()


def file_of(source: str) -> Path:
    """The local file of weights given as a run folder, a file, published `model.tag`, or `hf-hub:ORG/NAME`.

    What lies on the hub is downloaded once. Raises `UserError` where it cannot be; a path need not exist.
    """
    if source.startswith(HUB):
        return fetch(source.removeprefix(HUB), WEIGHTS)
    if is_published(source):
        return fetch(published(source).repo, WEIGHTS, f"the weights {source}")
    return Path(source) / WEIGHTS if Path(source).is_dir() else Path(source)


def card_of(source: str) -> Card | None:
    """What is known of the same; None for a file that has no .json beside it. Raises `UserError`."""
    if source.startswith(HUB):
        try:
            return from_hub(read_json(fetch(source.removeprefix(HUB), "config.json")))
        except UserError as error:
            raise UserError(f"{source}: {error.what}", error.hint) from None
    if is_published(source):
        weights = published(source)
        network = TrunkConfig(weights.model, ARCHITECTURES[weights.model], num_classes=weights.num_classes)
        return Card(network, weights.preprocessing)
    path = file_of(source).with_suffix(".json")
    return read_card(path) if path.is_file() else None
