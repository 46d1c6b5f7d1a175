"""`model.safetensors` + `model.json` of a network that labels each pixel."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from resmlp.config.model_json import SegmenterConfig, SegmenterModelConfig
from resmlp.hub.resolve import Source, resolve
from resmlp.models.model_files import save_network
from resmlp.models.segmenter import Segmenter
from resmlp.models.weights import Weights, load_into, read_own_weights


@dataclass(frozen=True)
class SavedSegmenter:
    """A network that labels each pixel, in evaluation mode, with what it was trained for."""

    model: Segmenter
    config: SegmenterModelConfig


def save_segmenter(folder: Path, model: Segmenter, config: SegmenterModelConfig) -> None:
    """Write `model.safetensors` and `model.json` into `folder`; the config's `model` is that of the network."""
    save_network(folder, model, replace(config, model=model.config))


def open_segmenter(model: str | Path | Source) -> SavedSegmenter:
    """The segmenter of a run folder, or of a weight file with its .json beside it.

    Raises `UserError` for a network of another kind, and for weights that do not fit.
    """
    source = resolve(model)
    config = source.expect(SegmenterModelConfig)
    assert config is not None
    return SavedSegmenter(_loaded(config.model, read_own_weights(source)), config)


def _loaded(config: SegmenterConfig, weights: Weights) -> Segmenter:
    """The network of `config` with these weights, whose shapes are compared before anything is allocated."""
    with torch.device("meta"):
        model = Segmenter(config)
    load_into(model, weights)
    if config.backbone is not None:  # some of timm's networks have tensors that are in no file
        model = Segmenter(config)
        load_into(model, weights)
    return model.eval()
