"""What of a network can be looked at: its layers, each with its mixer, its matrices and its branches.

N tokens on a grid of h x w; those of a sentence lie on one of 1 x N.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from resmlp.analysis.style import shorten
from resmlp.config.preprocessing import Preprocessing
from resmlp.config.vision import ALIASES
from resmlp.inference.kinds import open_source
from resmlp.models import Segmenter, Seq2Seq, Trunk
from resmlp.models.backbones import TrunkFeatures
from resmlp.nn import (
    ConvMixer,
    LinearMixer,
    Mlp,
    MlpMixer,
    Residual,
    SentenceMixer,
    SeparableConvMixer,
    TriangularMixer,
)
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError
from resmlp.utils.files import exists

Grid = tuple[int, int]


@dataclass(frozen=True)
class Layer:
    """One layer of a network."""

    number: int
    """from 0; a decoder's go on where its encoder's end"""
    name: str
    """for people: `layer 3`, `decoder layer 0`"""
    grid: Grid
    """tokens (down, across)"""
    branches: dict[str, Residual]
    """`tokens` (where there is a mixer), `source` (in a decoder), `channels`"""

    @property
    def mixer(self) -> nn.Module:
        """What mixes the tokens; an `nn.Identity` where nothing does."""
        return self.branches["tokens"].fn if "tokens" in self.branches else nn.Identity()

    def matrices(self) -> dict[str, Tensor]:
        """Name -> weights of the mixer and of the channel MLP, as far as they are used; one of any shape each."""
        mlp = cast(Mlp, self.branches["channels"].fn)
        return weights(self.mixer, self.grid) | {"MLP 1": mlp.fc1.weight, "MLP 2": mlp.fc2.weight}


@dataclass(frozen=True)
class Anatomy:
    """A network taken apart."""

    name: str
    mixer: str
    """which kind of token mixing, as `architectures` names it"""
    layers: Sequence[Layer]
    trunk: Trunk | None = None
    """what sees images; None for a network that translates"""
    preprocessing: Preprocessing | None = None
    """how an image becomes its input"""
    trained: bool = True
    """False for a name alone, whose weights are random"""
    source: str = ""
    """the MODEL of the command line, of a path its last two parts"""
    local: bool = False
    """whether its linear mixers started as 3x3 convolutions, as `init` of its architecture says"""

    @property
    def title(self) -> str:
        """What was looked at, and which network it is: `runs/x (resmlp_s12)`."""
        return f"{self.source} ({self.name})" if self.source not in ("", self.name) else self.name

    def choose(self, numbers: Iterable[int] = ()) -> list[Layer]:
        """The layers of these numbers; without any, first, quarter, half, three quarters and last of each part.

        Raises `UserError` for one that is not there.
        """
        last = len(self.layers) - 1
        for number in numbers:
            demand(0 <= number <= last, f"--layers {number}: {self.name} has none", f"they count from 0 to {last}")
        wanted = set(numbers)
        if not wanted:
            parts: dict[str, list[int]] = {}
            for layer in self.layers:
                parts.setdefault(layer.name.rpartition("layer")[0], []).append(layer.number)
            wanted = {own[min(len(own) * quarter // 4, len(own) - 1)] for own in parts.values() for quarter in range(5)}
        return [self.layers[number] for number in sorted(wanted)]


@singledispatch
def weights(mixer: nn.Module, grid: Grid) -> dict[str, Tensor]:
    """Name -> weights of a token mixer that do not depend on the input; none for attention."""
    return {}


@weights.register
def _(mixer: LinearMixer, grid: Grid) -> dict[str, Tensor]:
    return {"A": mixer.weight}


@weights.register
def _(mixer: SentenceMixer, grid: Grid) -> dict[str, Tensor]:
    return {"A": mixer.weight[: grid[1], : grid[1]]}


@weights.register
def _(mixer: TriangularMixer, grid: Grid) -> dict[str, Tensor]:
    down, across = torch.tril_indices(grid[1], grid[1]).unbind()
    return {"A": mixer.weight[down, across]}  # zeros that are no weights would count as small ones


@weights.register
def _(mixer: MlpMixer, grid: Grid) -> dict[str, Tensor]:
    return {"token MLP 1": mixer.fc1.weight, "token MLP 2": mixer.fc2.weight}


@weights.register
def _(mixer: ConvMixer, grid: Grid) -> dict[str, Tensor]:
    return {"kernels": mixer.conv.weight}


@weights.register
def _(mixer: SeparableConvMixer, grid: Grid) -> dict[str, Tensor]:
    return {"kernels": mixer.conv.weight, "1x1": mixer.pointwise.weight}


def open_anatomy(model: str) -> Anatomy:
    """The layers of a MODEL: of a classifier, of the trunk of a segmenter, or of a translator.

    Raises `UserError` for a network that is not built of the layers of `resmlp`, and for weights that are not finite.
    """
    opened = open_source(model)
    if isinstance(opened.model, Seq2Seq):
        found = of_translator(opened.model)
    else:
        preprocessing = getattr(opened, "preprocessing", None) or opened.config.preprocessing
        found = of_trunk(_trunk_of(opened.model, model), preprocessing, getattr(opened, "trained", True))
    return replace(found, source=brief(model))


def brief(source: str) -> str:
    """A MODEL of the command line in a few words: of a path its last two parts."""
    parts = Path(source).parts[-2:] if exists(source) else ()
    return shorten(Path(*parts) if parts else source, 80)


def _trunk_of(model: nn.Module, source: str) -> Trunk:
    """The trunk of ours in a network; raises `UserError` where there is none."""
    if isinstance(model, Segmenter) and isinstance(model.backbone, TrunkFeatures):
        model = model.backbone.trunk
    if not isinstance(model, Trunk):
        name = source.removeprefix("timm:")
        known = name.partition(".")[0] in ALIASES
        hint = f"give {name}, without timm:" if known else "`resmlp list models` has those of ours"
        raise UserError(f"{source} is not built of our layers", hint)
    return model


def of_trunk(trunk: Trunk, preprocessing: Preprocessing | None = None, trained: bool = True) -> Anatomy:
    """The layers of a network that sees, without those of a Class-MLP."""
    config = trunk.config
    layers = [
        Layer(number, f"layer {number}", config.grid, dict(block.named_children()))  # type: ignore[arg-type]
        for number, block in enumerate(trunk.blocks[: config.architecture.depth])
    ]
    linear = config.architecture.mixer == "linear"
    local = linear and config.architecture.init == "local"
    return Anatomy(config.name, config.architecture.mixer, layers, trunk, preprocessing, trained, local=local)


def of_translator(model: Seq2Seq) -> Anatomy:
    """The layers of a network that translates, the encoder's first; of each matrix what training has reached."""
    layers: list[Layer] = []
    for part, stack in (("encoder", model.encoder), ("decoder", model.decoder)):
        branches: list[dict[str, Any]] = [dict(layer.named_children()) for layer in stack]
        used = used_length([own["tokens"].fn for own in branches]) or model.config.architecture.max_length
        for number, own in enumerate(branches):
            layers.append(Layer(len(layers), f"{part} layer {number}", (1, used), own))
    return Anatomy(model.config.name, model.config.architecture.mixer, layers)


def used_length(mixers: Sequence[nn.Module]) -> int:
    """Tokens of the longest sentence in training, as far as the mixers tell; 0 where they tell nothing.

    A bias begins at zero, and no gradient reaches that of a position where no sentence ever was.
    """
    biases: list[Tensor] = [mixer.bias for mixer in mixers if isinstance(mixer, LinearMixer)]
    reached = torch.stack(biases).any(0).nonzero() if biases else torch.empty(0)
    return int(reached.max()) + 1 if len(reached) else 0
