"""`model.safetensors` + `model.json` of a network that translates; tokenizer.json beside them is its vocabulary."""

import torch

from resmlp.config.model_json import TranslatorModelConfig
from resmlp.hub.resolve import Source
from resmlp.models.seq2seq import Seq2Seq
from resmlp.models.weights import load_into, read_own_weights


def open_seq2seq(source: Source) -> tuple[Seq2Seq, TranslatorModelConfig]:
    """The network of a run folder or a weight file, in evaluation mode, and its model.json.

    Raises `UserError` for a network of another kind, and weights that do not fit.
    """
    config = source.expect(TranslatorModelConfig)
    assert config is not None
    weights = read_own_weights(source)
    with torch.device("meta"):  # nothing is allocated before all shapes have been compared
        network = Seq2Seq(config.model)
    load_into(network, weights)
    return network.eval(), config
