"""What a MODEL string means. `resolve` answers once a command; everybody else asks the `Source` that it returns."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

from resmlp.config import Recipe
from resmlp.config.model_json import (
    AnyConfig,
    AnyExport,
    ExportedModelConfig,
    ExportedSegmenterConfig,
    ExportedTranslatorConfig,
    ModelConfig,
    SegmenterModelConfig,
    TranslatorModelConfig,
    TrunkConfig,
    config_from,
    noun,
)
from resmlp.config.pretrained import FILE_ENDINGS, HUB, PUBLISHED, Published, canonical_tag, is_tagged, published
from resmlp.config.seq2seq import SEQ2SEQ
from resmlp.config.vision import ALIASES, ARCHITECTURES
from resmlp.hub.config_json import from_hub
from resmlp.hub.download import fetch
from resmlp.hub.names import PACKAGED, TIMM, on_disk
from resmlp.hub.packaged import packaged_folder
from resmlp.utils.errors import UserError, did_you_mean
from resmlp.utils.files import exists, read_json
from resmlp.utils.run_folder import COMPRESSION, RECIPE, WEIGHTS
from resmlp.utils.serialization import from_dict

MODELS = "give a run folder, a weight file, hf-hub:ORG/NAME, or a name of `resmlp list models`"
PIXELS = "pixels"
"""the MODEL whose features are the pixels themselves"""
Kind = Literal[
    "classifier",
    "features",
    "segmenter",
    "translator",
    "exported",
    "exported-segmenter",
    "exported-translator",
    "compressed",
    "timm",
    "pixels",
]
T = TypeVar("T")
KINDS: dict[type, Kind] = {
    ModelConfig: "classifier",
    SegmenterModelConfig: "segmenter",
    TranslatorModelConfig: "translator",
    ExportedModelConfig: "exported",
    ExportedSegmenterConfig: "exported-segmenter",
    ExportedTranslatorConfig: "exported-translator",
}
"""by the class of a model.json"""


@dataclass(frozen=True)
class Source:
    """What a MODEL string means: the kind of network, where its weights are, and what is known before they are read."""

    name: str
    """as the user wrote it"""
    kind: Kind
    path: Path | None = None
    """the local file or folder"""
    repo: str | None = None
    """the repository on the hub, where the name is not a path"""
    config: AnyConfig | None = None
    """its model.json, or what the hub or the published name says; None where only the tensors can tell"""
    published: Published | None = None
    """the published weights that the name means, or that a copied file is called after"""
    architecture: str | None = None
    """the name of a network alone: its weights are random"""

    @property
    def trained(self) -> bool:
        """False for the name of a network alone, whose weights are random."""
        return self.architecture is None

    @property
    def folder(self) -> Path | None:
        """The local folder, such as a run folder; None for anything else."""
        return self.path if self.path and self.path.is_dir() else None

    @cached_property
    def file(self) -> Path:
        """The local weight file, downloaded once where it is on the hub. Raises `UserError` where there is none."""
        if self.repo:
            what = f"the weights {self.published.name}" if self.published else ""
            return fetch(self.repo, WEIGHTS, what)
        if self.path is None:
            raise UserError(f"{self.name} has no weight file", "give a run folder, a weight file, or a published name")
        return self.path / WEIGHTS if self.path.is_dir() else self.path

    @cached_property
    def recipe(self) -> Recipe | None:
        """The completed recipe of a run folder, or of the run that a compressed or exported network was made from.

        None for anything else. Raises `UserError` for a damaged one.
        """
        files = [self.folder / RECIPE] if self.folder else []
        if files and (self.kind == "compressed" or isinstance(self.config, AnyExport)):
            files.append(files[0].absolute().parent.parent / RECIPE)  # by default they are in the run folder
        found = [file for file in files if file.is_file()]
        return from_dict(Recipe, read_json(found[0])) if found else None

    def expect(self, wanted: type[T]) -> T | None:
        """Its configuration, of the class `wanted`, or None where only the tensors can tell.

        Raises `UserError` for a network of another kind.
        """
        if isinstance(self.config, wanted) or (self.config is None and wanted is ModelConfig):
            return self.config
        if self.config is None and self.path:
            raise UserError(f"no {self.file.with_suffix('.json')}", "it describes the network: copy it as well")
        name = noun(KINDS[wanted])
        text = isinstance(self.config, TranslatorModelConfig | ExportedTranslatorConfig)
        use = "; resmlp translate takes it" if text else ""
        raise UserError(f"{self.name} is {noun(self.kind)}", f"{name} is expected here{use}")

    def __str__(self) -> str:
        return self.name


def resolve(name: "str | Path | Source") -> Source:
    """The meaning of `name`; a `Source` is returned as it is.

    A run folder, an exported or compressed folder, a weight file, published weights (`resmlp_s12.fb_in1k`),
    `hf-hub:ORG/NAME`, `packaged:NAME`, `timm:NAME`, or the name of a network, whose weights are then random. The
    hub is asked for the config.json of a repository, and not yet for its weights. Raises `UserError`.
    """
    if isinstance(name, Source):
        return name
    name = str(name)
    if on_disk(name):
        return _local(name)
    if name == PIXELS:
        return Source(name, "pixels")
    if name.startswith(PACKAGED):
        return replace(_local(str(packaged_folder(name.removeprefix(PACKAGED)))), name=name)
    if name.startswith(TIMM):
        return Source(name, "timm", architecture=None if "." in name else name.removeprefix(TIMM))
    if name.startswith(HUB):
        repo = name.removeprefix(HUB)
        config = _hub_config(name, fetch(repo, "config.json"))
        return Source(name, _kind(config), repo=repo, config=config)
    if is_tagged(name):
        return _published(name, published(name))
    if name in ARCHITECTURES or name in ALIASES:
        return Source(name, "classifier", architecture=name)
    raise _unknown(name)


def _local(name: str) -> Source:
    """A file or folder of this machine."""
    path = Path(name)
    file = path / WEIGHTS if path.is_dir() else path
    described = file.with_suffix(".json")
    if described.is_file():
        config = read_config(described)
        kind = _kind(config)
        if (described.parent / COMPRESSION).is_file():
            kind = "compressed"
        if not isinstance(config, AnyExport):
            _check_weights(path)
        return Source(name, kind, path, config=config)
    _check_weights(path)
    if known := _called_after(path):
        config = _published_config(known)
        return Source(name, _kind(config), path, config=config, published=known)
    copied = path / "config.json"  # a copy of a repository of the hub
    if exists(str(copied)):
        hub_config = _hub_config(name, copied)
        return Source(name, _kind(hub_config), path, config=hub_config)
    return Source(name, "classifier", path)


def read_config(path: Path) -> AnyConfig:
    """A model.json; an error names the file."""
    try:
        return config_from(read_json(path))
    except UserError as error:
        raise UserError(f"{path}: {error.what}", error.hint) from None


def _check_weights(path: Path) -> None:
    """Raises `UserError` for a folder without weights."""
    if path.is_dir() and not (path / WEIGHTS).is_file():
        unfinished = (path / RECIPE).is_file()
        hint = (
            "the run is not finished: the same train command continues it"
            if unfinished
            else f"not a run folder: {MODELS}"
        )
        raise UserError(f"no {WEIGHTS} in {path}", hint)


def _published(name: str, weights: Published) -> Source:
    config = _published_config(weights)
    return Source(name, _kind(config), repo=weights.repo, config=config, published=weights)


def _published_config(weights: Published) -> ModelConfig:
    network = TrunkConfig(weights.model, ARCHITECTURES[weights.model], num_classes=weights.num_classes)
    return ModelConfig(network, weights.preprocessing)


def _called_after(path: Path) -> Published | None:
    """The published weights that a copied file or folder is called after; None for any other name."""
    front, _, ending = path.name.rpartition(".")
    name = front if ending in FILE_ENDINGS else path.name
    return published(name) if is_tagged(name) and canonical_tag(name) in PUBLISHED else None


def _kind(config: AnyConfig) -> Kind:
    """By the class of the configuration; a classifier without classes gives features."""
    kind = KINDS[type(config)]
    features = isinstance(config, ModelConfig) and not config.model.num_classes
    return "features" if features else kind


def _hub_config(name: str, path: Path) -> ModelConfig:
    return _named(name, lambda: from_hub(read_json(path)))


def _named(where: str | Path, read: Callable[[], T]) -> T:
    """The result of `read`; an error in it names the file."""
    try:
        return read()
    except UserError as error:
        raise UserError(f"{where}: {error.what}", error.hint) from None


def _unknown(name: str) -> UserError:
    """Why a string is not a MODEL, and what to give instead."""
    if name in SEQ2SEQ:
        return UserError(f"{name} is the name of a translation model", "give a run folder of one")
    if name.rpartition(".")[2] in FILE_ENDINGS:
        return UserError(f"no weights at {name}", "give a file, a run folder, or a name of `resmlp list weights`")
    if "/" in name:
        return UserError(f"no model at {name}", MODELS)
    near = did_you_mean(name, {**ARCHITECTURES, **ALIASES})
    return UserError(f"unknown model {name!r}", f"{near}; {MODELS}" if near.startswith("did") else MODELS)
