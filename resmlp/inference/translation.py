"""What translates sentences, whatever runs the network. Loads no torch."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from resmlp.config.model_json import TranslatorModelConfig
from resmlp.config.seq2seq import EOS
from resmlp.data.text.tokenizer import Tokenizer
from resmlp.inference.prediction import Predictor
from resmlp.models.search import Hypothesis
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, notice

SHOWN = 5  # lines that a message names


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

    tokenizer: Tokenizer
    config: TranslatorModelConfig
    batch_size = 32
    """sentences in a search"""
    long: Literal["truncate", "error"] = "truncate"
    """what to do with a sentence that has more tokens than the network can take"""

    @property
    def room(self) -> int:
        """Tokens that a sentence may have: its end is one as well."""
        return self.config.model.architecture.max_length - 1

    @abstractmethod
    def search(self, sources: Sequence[Sequence[int]], beam: int, penalty: float, n: int) -> list[list[Hypothesis]]:
        """The `n` best translations of each of `sources`, as of `resmlp.models.search.search_all`."""

    def _facts(self, *how: str) -> list[str]:
        languages = f"{self.config.source_language} -> {self.config.target_language}"
        return [self.config.model.name, languages, f"at most {self.room} tokens", *how]

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
        for i, hypotheses in zip(filled, self.search(given, beam, penalty, n)):
            scores: dict[str, float] = {}
            for said in hypotheses:  # best first
                scores.setdefault(self.tokenizer.line(said.tokens), said.score)
            found[i] = [Translation(text, score) for text, score in scores.items()]
        return found

    def tokens(self, lines: Sequence[str], first: int = 1) -> list[list[int]]:
        """The tokens of each line, as many as the network can take; of a line without text there are none.

        Lines that lose some are named on standard error, counted from `first`. Raises `UserError` for one that is not
        valid Unicode.
        """
        check_unicode(lines, first)
        sources = self.tokenizer.encode(line if line.strip() else "" for line in lines)
        long = [first + i for i, source in enumerate(sources) if len(source) > self.room]
        if long:
            named = ", ".join(map(str, long[:SHOWN])) + (", ..." if len(long) > SHOWN else "")
            what = f"line{'s' * (len(long) > 1)} {named}: longer than the {self.room} tokens that the network can take"
            if self.long == "error":
                raise UserError(what, "divide what is longer into sentences")
            notice(f"{what}; the rest is not translated")
        return [source[: self.room] for source in sources]


def check_unicode(lines: Sequence[str], first: int = 1) -> None:
    """Raise `UserError` that names a line with half of a surrogate pair, which JSON and undecodable bytes can have."""
    for number, line in enumerate(lines, first):
        try:
            line.encode()
        except UnicodeEncodeError as error:
            what = f"line {number} is not valid Unicode: its character {error.start + 1} is half of a surrogate pair"
            raise UserError(what, "replace it, say by line.encode(errors='replace').decode()") from None
