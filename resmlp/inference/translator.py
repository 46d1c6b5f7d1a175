"""A translator ready to use: from sentences to their translations."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from resmlp.config.model_json import TranslatorModelConfig
from resmlp.config.precision import Execution, Precision
from resmlp.config.seq2seq import EOS
from resmlp.data.text.tokenizer import FILE, Tokenizer
from resmlp.hub.resolve import Source, resolve
from resmlp.inference.prediction import Predictor
from resmlp.inference.runners import autocast, one_precision
from resmlp.models import translate
from resmlp.models.decoding import prepare
from resmlp.models.model_files import save_network
from resmlp.models.seq2seq import Seq2Seq
from resmlp.models.weights import load_into, read_own_weights
from resmlp.utils.checks import demand
from resmlp.utils.devices import find_device
from resmlp.utils.errors import UserError, notice

SHOWN = 5  # lines that a message names


@dataclass(frozen=True)
class SavedTranslator:
    """A network that translates, in evaluation mode, with the vocabulary that it was trained with."""

    model: Seq2Seq
    tokenizer: Tokenizer
    config: TranslatorModelConfig


def save_translator(folder: Path, model: Seq2Seq, tokenizer: Tokenizer, config: TranslatorModelConfig) -> None:
    """Write the three files into `folder`; what the config says of network and vocabulary is that of these two."""
    tokenizer.save(folder / FILE)
    save_network(folder, model, replace(config, model=model.config, tokenizer=tokenizer.fingerprint))


def open_translator(model: str | Path | Source) -> SavedTranslator:
    """The translator of a run folder, or of a weight file with its .json and tokenizer.json beside it.

    Raises `UserError` for a network of another kind, weights that do not fit, and the vocabulary of another run.
    """
    source = resolve(model)
    config = source.expect(TranslatorModelConfig)
    assert config is not None
    vocabulary = source.file.with_name(FILE)
    demand(vocabulary.is_file(), f"no {vocabulary}", "it is the network's vocabulary: copy it as well")
    tokenizer = Tokenizer.load(vocabulary)
    other = f"{vocabulary} is not the vocabulary of the network in {source}"
    hint = "copy the tokenizer.json of the same run"
    demand((tokenizer.size, tokenizer.fingerprint) == (config.model.vocabulary, config.tokenizer), other, hint)
    weights = read_own_weights(source)
    with torch.device("meta"):  # nothing is allocated before all shapes have been compared
        network = Seq2Seq(config.model)
    load_into(network, weights)
    return SavedTranslator(network.eval(), tokenizer, config)


@dataclass(frozen=True)
class Translation:
    """One translation of a sentence."""

    text: str
    """without line breaks"""
    score: float
    """its log-probability over the length penalty, 0 or less"""

    def to_dict(self) -> dict[str, Any]:
        """`{"text": ..., "score": ...}`."""
        return {"text": self.text, "score": self.score}

    def __str__(self) -> str:
        return self.text


class Translator(Predictor):
    """A network ready to translate: it brings its own vocabulary, beam and length penalty."""

    def __init__(
        self,
        saved: SavedTranslator,
        device: torch.device,
        batch_size: int = 32,
        long: Literal["truncate", "error"] = "truncate",
        precision: Precision = "fp32",
    ):
        """`batch_size` in sentences; `long` is what to do with one that has more tokens than the network can take.

        `precision` is that of the products over channels.
        """
        self.saved, self.device, self.batch_size, self.long = saved, device, batch_size, long
        model, self.tokenizer, self.config = saved.model.to(device).eval(), saved.tokenizer, saved.config
        self.precision = precision
        self.model = prepare(model, precision) if device.type == "cpu" else model
        self.room = self.config.model.architecture.max_length - 1
        """tokens that a sentence may have: its end is one as well"""

    def facts(self) -> list[str]:
        """As of `Predictor`."""
        config = self.config
        languages = f"{config.source_language} -> {config.target_language}"
        where = [str(self.device), *[self.precision] * (self.precision != "fp32")]
        return [config.model.name, languages, f"at most {self.room} tokens", *where]

    def predict(self, inputs: Any, **options: Any) -> Any:
        """The `Translation` of a sentence, or the list of them for a sequence of sentences."""
        single = isinstance(inputs, str)
        lines = [inputs] if single else list(inputs)
        text = all(isinstance(line, str) for line in lines)
        demand(text, "a translator takes text", "give a sentence, or a list of sentences")
        results = [best for best, *_ in self.n_best(lines, 1, **options)]
        return results[0] if single else results

    def translate(
        self, lines: Sequence[str], beam: int | None = None, length_penalty: float | None = None
    ) -> list[str]:
        """The best translation of each line, in their order; of an empty line an empty one.

        `beam` hypotheses are kept in the search, and of n tokens, the end included, one scores its log-probability over
        ((5 + n) / 6) ** `length_penalty`; None: as the model's config says. Raises `UserError`.
        """
        return [best.text for best, *_ in self.n_best(lines, 1, beam, length_penalty)]

    def n_best(
        self,
        lines: Sequence[str],
        n: int,
        beam: int | None = None,
        length_penalty: float | None = None,
        first: int = 1,
    ) -> list[list[Translation]]:
        """Up to `n` translations of each line, at least one, best first; `first` is the number of the first line.

        Of hypotheses that are the same text in other tokens the best is kept: then fewer come back. Raises `UserError`
        where `n` is more than the beam, and, if that was asked for, at a line that is too long.
        """
        beam = self.config.beam if beam is None else beam
        penalty = self.config.length_penalty if length_penalty is None else length_penalty
        sources = self.tokens(lines, first)
        filled = [i for i, source in enumerate(sources) if source]
        given = [[*sources[i], EOS] for i in filled]
        found = [[Translation("", 0.0)] for _ in lines]
        with autocast(self.device, self.precision):
            said_of_all = translate(self.model, given, beam, penalty, n, batch_size=self.batch_size)
        for i, hypotheses in zip(filled, said_of_all):
            scores: dict[str, float] = {}
            for said in hypotheses:  # best first
                scores.setdefault(self.tokenizer.line(said.tokens), said.score)
            found[i] = [Translation(text, score) for text, score in scores.items()]
        return found

    def tokens(self, lines: Sequence[str], first: int = 1) -> list[list[int]]:
        """The tokens of each line, as many as the network can take; of a line without text there are none.

        Lines that lose some are named on standard error, counted from `first`.
        """
        sources = self.tokenizer.encode(line if line.strip() else "" for line in lines)
        long = [first + i for i, source in enumerate(sources) if len(source) > self.room]
        if long:
            named = ", ".join(map(str, long[:SHOWN])) + (", ..." if len(long) > SHOWN else "")
            what = f"line{'s' * (len(long) > 1)} {named}: longer than the {self.room} tokens that the network can take"
            if self.long == "error":
                raise UserError(what, "divide what is longer into sentences")
            notice(f"{what}; the rest is not translated")
        return [source[: self.room] for source in sources]


def load_translator(source: Source, execution: Execution) -> Translator:
    """A translator ready to use; in precision auto in fp32, because its texts are not compared."""
    demand(execution.backend is None, f"--backend {execution.backend} is for classifiers", "leave it out")
    device = find_device(execution.device)
    return Translator(open_translator(source), device, precision=translator_precision(device, execution))


def translator_precision(device: torch.device, execution: Execution) -> Precision:
    """The precision that is asked for; on a CPU int8 as well. Raises `UserError`."""
    return one_precision(device, execution, ("int8",) if device.type == "cpu" else ())
