"""Parallel text: where it comes from, how it becomes tokens; and the network that translates it."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from tyro.conf import arg

from resmlp.config.overrides import overridden, overrides_of
from resmlp.config.seq2seq import Seq2SeqArchitecture, changed
from resmlp.utils.checks import ANY, BELOW_ONE, POSITIVE, check_choices, check_range, demand


@dataclass(frozen=True)
class Text:
    """Where the sentences come from, and how they are cut into tokens and batches."""

    source: Literal["files", "numbers"] = "files"
    """files (pairs of lines), or numbers (embedded: English number words to those of --data.target-language)"""
    root: str | None = None
    """folder of NAME.en and NAME.de (or .tsv with a tab between the two; or .gz of either) for each name below"""
    source_language: str = "en"
    """ending of the files that are translated"""
    target_language: str = "de"
    """ending of their translations"""
    train: tuple[str, ...] = ("train",)
    """names of the files to learn from; several are put together"""
    val: str = "val"
    """name of the files that are held out"""
    vocabulary: int = 8000
    """size of the joint vocabulary (byte-pair encoding), learned from the training text and kept with the run"""
    tokenizer: str | None = None
    """a tokenizer.json, or the run folder that holds one, in place of a new vocabulary"""
    long_sentences: Literal["drop", "truncate", "error"] = "drop"
    """pairs of which one side has more tokens than the network can take: drop leaves them out of training, and
    truncates those held out; error names the first one's file and line"""
    batch_size: int = 4096
    """tokens in one optimizer step, padding included, of the longer side, over all processes and accumulated parts"""
    workers: int = 0
    """as for images; sentences are encoded once, so loader processes would have nothing to do"""

    def __post_init__(self):
        check_choices("--data.", self)
        check_range("--data.", self, batch_size=(1, ANY), workers=(0, ANY), vocabulary=(260, 2**20))
        demand(bool(self.train), "--data.train names no files", "the name of train.en and train.de is train")
        same = f"--data.source-language and --data.target-language are both {self.source_language}"
        demand(self.source_language != self.target_language, same, "give two endings, such as en and de")


@dataclass(frozen=True)
class Seq2Seq(overrides_of(Seq2SeqArchitecture)):  # type: ignore[misc]
    """Which network translates; every part left at None is as the named model has it."""

    name: Annotated[str, arg(aliases=["--model"])] = "resmlp_mt6"
    """a translation model of `resmlp list models`"""
    checkpoint: str | None = None
    """start from these weights: a run folder of the same network and vocabulary"""
    dropout: float = 0.1
    """share of the channels set to zero in training, of the embeddings and of each sublayer's output"""

    def __post_init__(self) -> None:
        check_range("--model.", self, dropout=(0, BELOW_ONE), layer_scale=(0, ANY), dim=(POSITIVE, ANY))
        self.network()

    def network(self) -> tuple[str, Seq2SeqArchitecture]:
        """The name of the network, and its architecture with the changed parts."""
        return self.name, changed(self.name, **self.changes())

    def updated(self, **parts: Any) -> "Seq2Seq":
        """The same settings with other values of the named fields."""
        return replace(self, **parts)

    def changes(self) -> dict[str, Any]:
        """The parts that differ from the named network's."""
        return overridden(self, Seq2SeqArchitecture)
