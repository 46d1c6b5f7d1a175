"""`model.safetensors` + `model.json`: weights, and all that is needed to use them."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from resmlp.config.model_json import ModelConfig, TrunkConfig
from resmlp.config.preprocessing import Preprocessing
from resmlp.hub.names import TIMM
from resmlp.hub.resolve import Source, resolve
from resmlp.models.backbones import timm_network
from resmlp.models.build import create_model
from resmlp.models.folding import FoldedTrunk
from resmlp.models.trunk import Trunk
from resmlp.models.weight_formats import guess_config
from resmlp.models.weights import load_into, read_weights
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, counted, notice
from resmlp.utils.files import write_json, write_whole
from resmlp.utils.run_folder import CONFIG
from resmlp.utils.serialization import to_dict


@dataclass(frozen=True)
class Saved:
    """A network with what it was trained for."""

    model: nn.Module
    classes: tuple[str, ...]
    """class names, in the order of the logits; empty where unknown"""
    preprocessing: Preprocessing
    trained: bool = True
    """False for a name alone, whose weights are random"""
    words: tuple[str, ...] = ()
    """what to call each class for people, where its name is a code such as a WordNet number"""
    threshold: float | None = None
    """the probability from which on an image has a class, where it may have several; None: it has one"""

    @property
    def has_classifier(self) -> bool:
        """Whether the output is logits, and not features."""
        config = getattr(self.model, "config", None)
        owner = config if isinstance(config, TrunkConfig) else self.model  # timm's networks have the number as well
        return getattr(owner, "num_classes", None) != 0


def save_model(
    folder: Path,
    model: Trunk,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    threshold: float | None = None,
) -> None:
    """Write `model.safetensors` and `model.json` into `folder`."""
    _refuse_folded(model)  # it has no architecture
    save_network(folder, model, ModelConfig(model.config, preprocessing, tuple(classes), threshold))


def save_network(folder: Path, model: nn.Module, card: Any) -> None:
    """The same of a network of any kind, with a card of its kind (`resmlp.config.model_json.MODEL_CONFIGS`).

    Raises `UserError` for a folded copy, whose weights fit no network.
    """
    _refuse_folded(model)
    state = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
    write_whole(folder / "model.safetensors", lambda aside: aside.write_bytes(save(state)))
    write_json(folder / "model.json", to_dict(card))


def _refuse_folded(model: nn.Module) -> None:
    folded = isinstance(model, FoldedTrunk)
    demand(
        not folded, "a folded network cannot be saved as one of ours", "save the network it was made of, or export it"
    )


def open_model(model: str | Path | Source) -> Saved:
    """The classifier or feature network that a MODEL means, in evaluation mode.

    A run folder, a weight file, published weights (`resmlp_s12.fb_in1k`), `hf-hub:ORG/NAME`, `timm:NAME`, or the name
    of a network, whose weights are then random. A file without a .json beside it is described by its tensors. Raises
    `UserError`, also for a segmenter, a translator and an exported network.
    """
    source = resolve(model)
    if source.name.startswith(TIMM):
        return _from_timm(source.name.removeprefix(TIMM))
    if source.architecture:
        network = create_model(source.architecture).eval()
        return Saved(network, (), Preprocessing(network.config.size), trained=False)
    config = source.expect(ModelConfig)
    if config is None and source.folder:
        raise UserError(f"no {CONFIG} in {source}", "it says which network the weights are of: copy it as well")
    weights = read_weights(source)
    described = config or guess_config(weights.state, source.name)
    with torch.device("meta"):  # nothing is allocated before all shapes have been compared
        trunk = Trunk(described.model)
    load_into(trunk, weights)
    if config is None:
        notice(f"{source} has no .json beside it: taken for {_described(described)}")
    classes, words = described.classes, tuple[str, ...]()
    if source.published and source.published.vocabulary:
        classes, words = imagenet_classes(source.published.vocabulary)
    return Saved(trunk.eval(), classes, described.preprocessing, words=words, threshold=described.threshold)


def _described(card: ModelConfig) -> str:
    network, p = card.model, card.preprocessing
    arch, size = network.architecture, "x".join(map(str, network.size))
    parts = f"{counted(arch.depth, 'layer')} of {arch.dim} with patches of {arch.patch_size}"
    seen = f"mean {p.mean}, std {p.std}, crop {p.crop_ratio}"
    return f"a network like {network.name} ({parts}) for {size} and {counted(network.num_classes, 'class')}, {seen}"


@cache
def imagenet_classes(vocabulary: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """WordNet numbers of the classes in the order of the logits, and words for them, by timm's `ImageNetInfo`."""
    from timm.data import ImageNetInfo  # takes seconds

    info = ImageNetInfo(vocabulary)
    numbers = tuple(info.label_names())
    lemmas = (info.index_to_description(i).split(",")[0] for i in range(len(numbers)))
    return numbers, tuple(f"{lemma} ({number})" for lemma, number in zip(lemmas, numbers))  # crane is two classes


def _from_timm(name: str) -> Saved:
    """Any network of timm's, with its own preprocessing; pretrained weights where it has some at hand."""
    import timm

    model = timm_network(name, pretrained="." in name).eval()
    data = timm.data.resolve_model_data_config(model)
    size = tuple(data["input_size"][1:])
    preprocessing = Preprocessing(size, data["crop_pct"], data["interpolation"], data["mean"], data["std"])
    return Saved(model, (), preprocessing, trained="." in name)
