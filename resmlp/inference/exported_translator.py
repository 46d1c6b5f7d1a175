"""A translator that `resmlp export` has written, ready to use: two graphs, and the search in NumPy. Loads no torch.

B sentences, S source tokens, K hypotheses of each sentence, V tokens in the vocabulary. The cache of the decoder is
L B K C W: layers, C places for tokens, W channels.
"""

from collections.abc import Sequence

import numpy as np

from resmlp.backends.graphs import Graph, open_graph
from resmlp.config.model_json import ExportedTranslatorConfig
from resmlp.config.precision import Execution
from resmlp.config.seq2seq import Seq2SeqArchitecture
from resmlp.data.text.vocabulary import open_vocabulary
from resmlp.hub.resolve import Source
from resmlp.inference.exported_folder import check_execution, explain_failure, open_folder
from resmlp.inference.translation import Translator
from resmlp.models.search import Hypothesis, Search, likeliest, search_all
from resmlp.utils.checks import demand

FIRST = 16
"""places of a new cache; it grows with the translations"""


class ExportedTranslator(Translator):
    """The files of an exported folder and the program that runs them, on the CPU."""

    def __init__(self, source: Source):
        """Raises `UserError` for a folder that holds no such export, or not all of it."""
        self.folder, self.exported = open_folder(source, ExportedTranslatorConfig)
        self.config = self.exported.translator
        self.tokenizer = open_vocabulary(self.folder, self.config, str(self.folder))
        with explain_failure(self.folder):
            self.encode, self.step = (open_graph(self.exported.to, self.folder, name) for name in ("encoder", "step"))

    def facts(self) -> list[str]:
        """As of `Predictor`."""
        precision = self.exported.precision
        return self._facts("cpu", ", ".join([self.exported.to, *[precision] * (precision != "fp32")]))

    def search(self, sources: Sequence[Sequence[int]], beam: int, penalty: float, n: int) -> list[list[Hypothesis]]:
        """As of `Translator`."""
        network = self.config.model
        search = Search(beam, penalty, n, network.architecture.max_length)

        def start(source: np.ndarray) -> ExportedDecoder:
            return ExportedDecoder(self.encode, self.step, source, network.architecture)

        with explain_failure(self.folder):
            return search_all(start, sources, search, network, self.batch_size)


class ExportedDecoder:
    """A `resmlp.models.search.Decoder` of two graphs."""

    def __init__(self, encode: Graph, step: Graph, source: np.ndarray, arch: Seq2SeqArchitecture):
        """Read `source`, int64 B S padded with `PAD`."""
        self.graph, self.source, self.longest, self.position = step, source, arch.max_length, 0
        (self.memory,) = encode({"source": source})  # L 2 B H S D/H
        width = arch.dim * (2 if arch.mixer == "attention" else 1)
        self.cache = np.zeros((arch.decoder_depth, len(source), 1, min(FIRST, arch.max_length), width), np.float32)

    def step(self, tokens: np.ndarray, count: int | None) -> tuple[np.ndarray, np.ndarray]:
        """As of `Decoder`."""
        places = self.cache.shape[3]
        if self.position == places:
            more = min(places, self.longest - places)
            self.cache = np.pad(self.cache, [(0, 0)] * 3 + [(0, more), (0, 0)])
        given = {"tokens": tokens, "position": np.array([self.position]), "source": self.source}
        logits, self.cache = self.graph(given | {"memory": self.memory, "cache": self.cache})
        self.position += 1
        return likeliest(logits, count)

    def select(self, sentences: np.ndarray) -> None:
        """As of `Decoder`."""
        self.source, self.memory = self.source[sentences], self.memory[:, :, sentences]

    def reorder(self, parents: np.ndarray) -> None:
        """As of `Decoder`."""
        layers, *_, places, width = self.cache.shape
        rows = self.cache.reshape(layers, -1, places, width)
        self.cache = rows[:, parents.ravel()].reshape(layers, *parents.shape, places, width)


def load_exported_translator(source: Source, execution: Execution) -> ExportedTranslator:
    """An exported translator ready to use, in its precision. Raises `UserError` where something else is asked for."""
    check_execution(source, execution)
    translator, asked = ExportedTranslator(source), execution.precision
    own = translator.exported.precision
    what = f"--precision {asked}: {source} was exported in {own}"
    demand(asked in (None, "auto", own), what, "leave it out, or export it again")
    return translator
