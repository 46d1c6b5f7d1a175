"""Networks: the vision trunk, segmenters and translators; their weights in every dialect, and model files."""

from typing import TYPE_CHECKING

from resmlp.config.model_json import TrunkConfig
from resmlp.utils.lazy import lazily

__all__ = [
    "Cache",
    "FoldedTrunk",
    "Hypothesis",
    "Memory",
    "Saved",
    "Segmenter",
    "Seq2Seq",
    "Trunk",
    "TrunkConfig",
    "Weights",
    "build_segmenter",
    "count_macs",
    "count_parameters",
    "create_model",
    "fold",
    "list_models",
    "load_into",
    "open_model",
    "preprocessing_of",
    "read_weights",
    "save_model",
    "translate",
]

if TYPE_CHECKING:
    from resmlp.models.beam_search import translate
    from resmlp.models.build import create_model, list_models
    from resmlp.models.count import count_macs, count_parameters
    from resmlp.models.folding import FoldedTrunk, fold
    from resmlp.models.model_files import Saved, open_model, save_model
    from resmlp.models.search import Hypothesis
    from resmlp.models.segmenter import Segmenter, build_segmenter, preprocessing_of
    from resmlp.models.seq2seq import Cache, Memory, Seq2Seq
    from resmlp.models.trunk import Trunk
    from resmlp.models.weights import Weights, load_into, read_weights

__getattr__ = lazily(
    __name__,
    {
        "Hypothesis": "search",
        "translate": "beam_search",
        "create_model": "build",
        "list_models": "build",
        "count_macs": "count",
        "count_parameters": "count",
        "FoldedTrunk": "folding",
        "fold": "folding",
        "Saved": "model_files",
        "open_model": "model_files",
        "save_model": "model_files",
        "Segmenter": "segmenter",
        "build_segmenter": "segmenter",
        "preprocessing_of": "segmenter",
        "Cache": "seq2seq",
        "Memory": "seq2seq",
        "Seq2Seq": "seq2seq",
        "Trunk": "trunk",
        "Weights": "weights",
        "load_into": "weights",
        "read_weights": "weights",
    },
)
