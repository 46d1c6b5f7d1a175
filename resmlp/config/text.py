"""Settings of parallel text and of the network that translates it."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from tyro.conf import arg

from resmlp.config.help import MANY
from resmlp.config.overrides import overridden, overrides_of
from resmlp.config.seq2seq import Seq2SeqArchitecture, changed
from resmlp.utils.checks import ANY, BELOW_ONE, POSITIVE, check_choices, check_range, demand


@dataclass(frozen=True)
class Text:
    """The source of the sentences, their tokens and batches."""

    source: Literal["files", "numbers"] = "files"
    """files (parallel text), or numbers (embedded: number words in English and in --data.target-language)"""
    root: str | None = None
    """folder with NAME.en and NAME.de for each NAME of --data.train and --data.val; or NAME.tsv; or .gz of these; or
    NAME.parquet. Or one table with the pairs of all splits: a TSV or Parquet file"""
    columns: Annotated[tuple[str, ...], MANY] = ()
    """names of the columns of a table: source=NAME target=NAME split=NAME; by default source, target and split, the
    languages, or the only two. With it, the first row of a TSV file is its header"""
    source_language: str = "en"
    """file ending of the source language"""
    target_language: str = "de"
    """file ending of the target language"""
    train: tuple[str, ...] = ("train",)
    """names of the training files; several are concatenated"""
    val: str = "val"
    """name of the validation files"""
    val_fraction: float = 0.05
    """fraction of the sentences of a table without a column split for the validation set; equal source sentences are
    on one side. 1: all pairs, for evaluation"""
    vocabulary: int = 8000
    """size of the joint vocabulary (byte-pair encoding), learned from the training text and saved in the run folder"""
    tokenizer: str | None = None
    """a tokenizer.json or a run folder with one, in place of a new vocabulary"""
    long_sentences: Literal["drop", "truncate", "error"] = "drop"
    """pairs with more tokens than the network allows. drop: leave them out of training, truncate them in validation;
    truncate: truncate them; error: stop, with the file and the line of the first one"""
    batch_size: int = 4096
    """tokens per optimizer step, of the longer side, with padding, over all processes and accumulated parts"""
    workers: int = 0
    """no effect: sentences are encoded once, before training"""

    def __post_init__(self) -> None:
        check_choices("--data.", self)
        check_range("--data.", self, batch_size=(1, ANY), workers=(0, ANY), vocabulary=(260, 2**20))
        check_range("--data.", self, val_fraction=(POSITIVE, 1))
        for text in self.columns:
            role, _, name = text.partition("=")
            known = role in ("source", "target", "split") and name
            demand(bool(known), f"--data.columns {text}", "give source=NAME target=NAME, and perhaps split=NAME")
        demand(bool(self.train), "--data.train has no value", "for train.en and train.de, give train")
        same = f"--data.source-language and --data.target-language are both {self.source_language}"
        demand(self.source_language != self.target_language, same, "give two file endings, for example en and de")

    @property
    def column_names(self) -> dict[str, str]:
        """The names of columns, by source, target and split."""
        return dict(text.split("=", 1) for text in self.columns)


@dataclass(frozen=True)
class Seq2Seq(overrides_of(Seq2SeqArchitecture)):  # type: ignore[misc]
    """The translation network; a part that is None is that of the named model."""

    name: Annotated[str, arg(aliases=["--model"])] = "resmlp_mt6"
    """a translation model of `resmlp list models`"""
    checkpoint: str | None = None
    """initial weights: a run folder of the same network and vocabulary"""
    dropout: float = 0.1
    """dropout probability, for the embeddings and for the output of each sublayer"""

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
        """The parts that differ from those of the named network."""
        return overridden(self, Seq2SeqArchitecture)
