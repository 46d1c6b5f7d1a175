"""`model.safetensors` + `model.json` of a network that labels each pixel."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from resmlp.cards import SegmenterCard, SegmenterConfig, read_card
from resmlp.checks import demand
from resmlp.models.saved import check_folder, save_network
from resmlp.models.segmenter import Segmenter
from resmlp.models.weights import Weights, check_state, load_into, read_tensors
from resmlp.sources import exists, file_of


@dataclass(frozen=True)
class SavedSegmenter:
    """A network that labels each pixel, in evaluation mode, with what it was trained for."""

    model: Segmenter
    card: SegmenterCard


def save_segmenter(folder: Path, model: Segmenter, card: SegmenterCard) -> None:
    """Write `model.safetensors` and `model.json` into `folder`; the card's `model` is that of the network."""
    save_network(folder, model, replace(card, model=model.config))


def open_segmenter(source: str | Path) -> SavedSegmenter:
    """The segmenter of a run folder, or of a file of weights with its .json beside it.

    Raises `UserError`: nothing there, a network of another kind, weights that do not fit.
    """
    source = str(source)
    demand(exists(source), f"no segmenter at {source}", "give the run folder of one, or its model.safetensors")
    check_folder(source)
    file = file_of(source)
    described = file.with_suffix(".json")
    demand(described.is_file(), f"no {described}", "it says which network the weights are of: copy it as well")
    card = read_card(described, SegmenterCard)
    state = read_tensors(file)
    check_state(file, state)
    return SavedSegmenter(_loaded(card.model, Weights(state, source)), card)


def _loaded(config: SegmenterConfig, weights: Weights) -> Segmenter:
    """The network of `config` with these weights, whose shapes are compared before anything is allocated."""
    with torch.device("meta"):
        model = Segmenter(config)
    load_into(model, weights)
    if config.backbone is not None:  # some of timm's networks have tensors that are in no file
        model = Segmenter(config)
        load_into(model, weights)
    return model.eval()
