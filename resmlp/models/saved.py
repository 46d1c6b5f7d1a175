"""`model.safetensors` + `model.json`: weights, and all that is needed to use them."""

from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save
from torch import nn

from resmlp.architectures import ALIASES, ARCHITECTURES
from resmlp.checks import demand
from resmlp.config import Preprocessing
from resmlp.errors import UserError, did_you_mean
from resmlp.files import read_json, write_json, write_whole
from resmlp.models.build import create_model
from resmlp.models.trunk import Trunk, TrunkConfig
from resmlp.models.weights import load_into, read_weights, weights_path
from resmlp.serial import from_dict, to_dict


@dataclass(frozen=True)
class Saved:
    """A network with what it was trained for."""

    model: nn.Module
    classes: tuple[str, ...]
    """class names, in the order of the logits; empty where unknown"""
    preprocessing: Preprocessing
    trained: bool = True
    """False for a name alone, whose weights are random"""


@dataclass(frozen=True)
class _Card:
    """The contents of model.json."""

    model: TrunkConfig
    preprocessing: Preprocessing
    classes: tuple[str, ...] = ()
    format: int = 1

    def __post_init__(self):
        demand(self.format == 1, f"format {self.format}", "written by a newer resmlp: update it")
        counts = f"{len(self.classes)} class names for {self.model.num_classes} classes"
        fits = not self.classes or self.model.num_classes in (0, len(self.classes))
        demand(fits, counts, "model.json was changed by hand")


def save_model(folder: Path, model: Trunk, classes: tuple[str, ...], preprocessing: Preprocessing) -> None:
    """Write `model.safetensors` and `model.json` into `folder`."""
    state = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
    write_whole(folder / "model.safetensors", lambda aside: aside.write_bytes(save(state)))
    write_json(folder / "model.json", to_dict(_Card(model.config, preprocessing, tuple(classes))))


def _read_card(path: Path) -> _Card:
    """A model.json; what is wrong with it is said with its name."""
    try:
        return from_dict(_Card, read_json(path))
    except UserError as error:
        raise UserError(f"{path}: {error.what}", error.hint) from None


def load_saved(path: str | Path) -> Saved:
    """The network of a run folder, or of a .safetensors file with its .json beside it."""
    path = Path(path)
    if path.is_dir() and not (path / "model.safetensors").is_file():
        hint = "the run is not finished: the same train command continues it"
        raise UserError(
            f"no model.safetensors in {path}", hint if (path / "recipe.json").is_file() else "not a run folder"
        )
    file = weights_path(path)
    if not file.is_file():
        raise UserError(f"no model at {path}", "give a run folder or a .safetensors file")
    beside = file.with_suffix(".json")
    if not beside.is_file():
        raise UserError(f"no {beside.name} beside {file}", "copy both: it says which network the weights are of")
    card = _read_card(beside)
    model = Trunk(card.model)
    load_into(model, read_weights(file))
    return Saved(model.eval(), card.classes, card.preprocessing)


def classes_of(checkpoint: str | Path) -> tuple[str, ...]:
    """The class names that a run folder, or the model.json beside a file, says; none where it says nothing."""
    path = weights_path(checkpoint).with_suffix(".json")
    return _read_card(path).classes if path.is_file() else ()


def open_model(name: str) -> Saved:
    """What a MODEL on the command line means: a run folder, a .safetensors file, `timm:NAME`, or a model's name."""
    if name.startswith("timm:"):
        return _from_timm(name.removeprefix("timm:"))
    if len(name) < 256 and (Path(name).exists() or Path(name).suffix == ".safetensors"):
        return load_saved(name)
    if name in ARCHITECTURES or name in ALIASES:
        model = create_model(name).eval()
        return Saved(model, (), Preprocessing(model.config.size), trained=False)
    if "/" in name:
        raise UserError(
            f"no model at {name}", "give a run folder, a .safetensors file, or a name of `resmlp list models`"
        )
    hint = did_you_mean(name, {**ARCHITECTURES, **ALIASES})
    raise UserError(f"unknown model {name!r}", f"{hint}; give a run folder, or a name of `resmlp list models`")


def _from_timm(name: str) -> Saved:
    """Any network of timm's, with its own preprocessing; pretrained weights where it has some at hand."""
    import timm

    if not timm.is_model(name.split(".")[0]):
        raise UserError(f"timm has no model {name!r}", did_you_mean(name, timm.list_models()))
    try:
        model = timm.create_model(name, pretrained="." in name).eval()
    except (RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"timm cannot make {name}: {reason}", "check the tag, and that the hub can be reached"
        ) from None
    data = timm.data.resolve_model_data_config(model)
    size = tuple(data["input_size"][1:])
    preprocessing = Preprocessing(size, data["crop_pct"], data["interpolation"], data["mean"], data["std"])
    return Saved(model, (), preprocessing, trained="." in name)
