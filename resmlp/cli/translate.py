"""`resmlp translate`."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from tyro.conf import Positional, arg

from resmlp.cli.base import Device, Verb
from resmlp.config.precision import PrecisionChoice
from resmlp.config.seq2seq import SEARCH
from resmlp.utils.checks import ANY, check_range, demand
from resmlp.utils.errors import UserError, notice

if TYPE_CHECKING:
    from resmlp.inference.translation import Translation

BATCHES = 8  # that are sorted by length together, and written together
STDIN = Path("-")


@dataclass(frozen=True, kw_only=True)
class Translate(Verb):
    """translate text: a line for a line, from a file or standard input to standard output"""

    model: Annotated[Positional[str | None], arg(metavar="[MODEL]")] = None
    """the run folder of a network that translates, or its export, which needs no torch; without it, the packaged
    network that translates English number words to German"""
    file: Annotated[Positional[Path], arg(metavar="[FILE]")] = STDIN
    """UTF-8 text, a sentence a line; without it, or for -, standard input is read as it comes"""
    beam: int | None = None
    """hypotheses that the search keeps, 1 is greedy; default as the run was evaluated (4, say)"""
    length_penalty: float | None = None
    """a hypothesis of n tokens, its end included, scores its log-probability / ((5 + n) / 6) ** this; default as the
    run's (0.6, say)"""
    n_best: int = 1
    """above 1: the best translations of each line that differ, each as SCORE, tab, TEXT, and then an empty line"""
    scores: bool = False
    """SCORE and a tab before each translation"""
    batch_size: int = 32
    """sentences that are translated at once"""
    device: Device = "auto"
    precision: PrecisionChoice = "auto"
    """of the products: fp32, bf16 where the device has it, or int8 on a CPU; auto: fp32, or that of an export"""

    def __post_init__(self) -> None:
        check_range("--", self, **SEARCH, n_best=(1, ANY), batch_size=(1, ANY))
        few = self.beam is not None and self.n_best > self.beam
        demand(not few, f"--n-best {self.n_best} of --beam {self.beam}", "the search keeps no more than its beam")

    def run(self) -> dict[str, Any]:
        """Translate line by line; what was written stays where a later line is refused, or with Ctrl-C."""
        closed = sys.__stdout__ is None  # before we started
        demand(not closed, "standard output is closed, and the translations go there", "add > FILE")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # as the input is, whatever the terminal
        with self.opened() as file:
            from resmlp.config.model_json import ExportedTranslatorConfig, TranslatorModelConfig
            from resmlp.data.text.lines import read_lines
            from resmlp.hub.packaged import TRANSLATOR, packaged_default
            from resmlp.hub.resolve import resolve
            from resmlp.inference import Translator, load

            usage = "resmlp translate MODEL [FILE]"
            absent = self.model is None or self.is_text_first
            source = resolve(packaged_default(TRANSLATOR, usage) if absent else str(self.model))
            exported = isinstance(source.config, ExportedTranslatorConfig)
            source.expect(ExportedTranslatorConfig if exported else TranslatorModelConfig)
            translator = load(source, self.device, precision=self.precision)
            assert isinstance(translator, Translator)
            translator.batch_size = self.batch_size
            beam = translator.config.beam if self.beam is None else self.beam
            small = f"--n-best {self.n_best} of the model's beam of {beam}"
            demand(self.n_best <= beam, small, f"add --beam {self.n_best}")
            if file.isatty():
                notice("a sentence a line; Ctrl-D ends")
            results = list[list["Translation"]]()
            for first, lines in read_lines(file, self.name, self.batch_size * BATCHES):
                translations = translator.n_best(lines, self.n_best, beam, self.length_penalty, first)
                if self.json:
                    results += translations
                else:
                    self.write(translations)
        return self.result(results) if self.json else {}

    @property
    def is_text_first(self) -> bool:
        """Whether the first argument is the text, and there is no MODEL."""
        from resmlp.hub.packaged import is_text_file

        return self.model is not None and self.file == STDIN and is_text_file(self.model)

    @property
    def text(self) -> Path:
        """The file with the text."""
        return Path(str(self.model)) if self.is_text_first else self.file

    @property
    def name(self) -> str:
        """What the text comes from, in messages."""
        return "standard input" if self.text == STDIN else str(self.text)

    @contextmanager
    def opened(self) -> Iterator[io.BufferedIOBase]:
        """The text as bytes; raises `UserError` where there is no such file."""
        if self.text == STDIN:
            closed = sys.stdin is None  # before we started
            yield io.BytesIO() if closed else cast(io.BufferedReader, sys.stdin.buffer)
            return
        try:
            file = self.text.open("rb")
        except OSError as error:
            raise UserError(f"cannot read {self.text}: {error.strerror}", "give a text file, or none") from None
        with file:
            yield file

    def write(self, translations: list[list["Translation"]]) -> None:
        """Print those of some lines, and let them go."""
        for hypotheses in translations:
            for hypothesis in hypotheses:
                print(
                    f"{hypothesis.score:.4f}\t{hypothesis.text}" if self.scores or self.n_best > 1 else hypothesis.text
                )
            if self.n_best > 1:
                print()
        sys.stdout.flush()

    def result(self, results: list[list["Translation"]]) -> dict[str, Any]:
        """What `--json` prints: the best of each line; with scores, or several, all hypotheses as well."""
        output: dict[str, Any] = {"translations": [best.text for best, *_ in results]}
        if self.scores or self.n_best > 1:
            output["hypotheses"] = [[hypothesis.to_dict() for hypothesis in each] for each in results]
        return output
