"""The networks that come with the package: small, in 8 bits, for a first look without a download."""

from pathlib import Path

from resmlp.config.model_json import MODEL_JSON
from resmlp.config.pretrained import FILE_ENDINGS
from resmlp.hub.names import PACKAGED, on_disk
from resmlp.utils.errors import UserError, did_you_mean, notice
from resmlp.utils.files import read_json

CLASSIFIER, TRANSLATOR = "cifar10", "numbers"
"""the networks of a command without MODEL"""
FOLDER = Path(__file__).parents[1] / "packaged"


def packaged_names() -> list[str]:
    """The names of all packaged networks."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{MODEL_JSON}"))


def packaged_folder(name: str) -> Path:
    """The folder of a packaged network. Raises `UserError` for a name that there is not."""
    names = packaged_names()
    if name not in names:
        raise UserError(f"the package has no network {name!r}", did_you_mean(name, names))
    return FOLDER / name


def packaged_default(name: str, usage: str) -> str:
    """The MODEL of a command that was given none: says so in one line, with what the network knows.

    Raises `UserError`, which shows the `usage`, where the network is not packaged.
    """
    if name not in packaged_names():
        raise UserError(f"no MODEL is given, and the package has no network {name}", usage)
    card = read_json(FOLDER / name / MODEL_JSON)
    knows = (
        ", ".join(card["classes"]) if "classes" in card else f"{card['source_language']} to {card['target_language']}"
    )
    notice(f"no MODEL is given: {PACKAGED}{name} ({knows})")
    return f"{PACKAGED}{name}"


def is_text_file(argument: str) -> bool:
    """Whether it is a text, and not a MODEL: standard input, or a file whose name is not that of weights."""
    if argument == "-":
        return True
    return on_disk(argument) and Path(argument).is_file() and argument.rpartition(".")[2].lower() not in FILE_ENDINGS
