"""From sentences to their translations."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from resmlp.deploy.runtime import find_device
from resmlp.errors import UserError, notice
from resmlp.models import translate
from resmlp.models.packed import prepare
from resmlp.seq2seq import EOS
from resmlp.tasks.savedtranslator import SavedTranslator, open_translator

SHOWN = 5  # lines that a message names


@dataclass(frozen=True)
class Translation:
    """One translation of a sentence."""

    text: str
    """without line breaks"""
    score: float
    """its log-probability over the length penalty, 0 or less"""


class Translator:
    """A network ready to translate: it brings its own vocabulary, beam and length penalty."""

    def __init__(
        self,
        saved: SavedTranslator,
        device: torch.device,
        batch_size: int = 32,
        long: Literal["truncate", "error"] = "truncate",
    ):
        """`batch_size` in sentences; `long` is what to do with one that has more tokens than the network can take."""
        self.saved, self.device, self.batch_size, self.long = saved, device, batch_size, long
        model, self.tokenizer, self.card = saved.model.to(device).eval(), saved.tokenizer, saved.card
        self.model = prepare(model) if device.type == "cpu" else model
        self.room = self.card.model.architecture.max_length - 1
        """tokens that a sentence may have: its end is one as well"""

    def translate(
        self, lines: Sequence[str], beam: int | None = None, length_penalty: float | None = None
    ) -> list[str]:
        """The best translation of each line, in their order; of an empty line an empty one.

        `beam` hypotheses are kept in the search, and of n tokens, the end included, one scores its log-probability over
        ((5 + n) / 6) ** `length_penalty`; None: as the model's card says. Raises `UserError`.
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
        beam = self.card.beam if beam is None else beam
        penalty = self.card.length_penalty if length_penalty is None else length_penalty
        sources = self.tokens(lines, first)
        filled = [i for i, source in enumerate(sources) if source]
        given = [[*sources[i], EOS] for i in filled]
        found = [[Translation("", 0.0)] for _ in lines]
        for i, hypotheses in zip(filled, translate(self.model, given, beam, penalty, n, batch_size=self.batch_size)):
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


def load_translator(path: str | Path, device: str = "auto", batch_size: int = 32) -> Translator:
    """The run folder of a network that translates, ready to do so. Raises `UserError` for what is none."""
    return Translator(open_translator(path), find_device(device), batch_size)
