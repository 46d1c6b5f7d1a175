"""Text as tokens: byte-pair encoding with one vocabulary for both languages (Sennrich et al. 2016), on bytes.

A character that the training text lacked becomes the bytes of its UTF-8, so that none is unknown and every text comes
back. A blank is put before each text, so that a word is the same token at the beginning as further on.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from resmlp.config.seq2seq import BOS, EOS, PAD, UNK
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, install_hint
from resmlp.utils.files import read_json, write_text

FILE = "tokenizer.json"
SPECIALS = {"<pad>": PAD, "<s>": BOS, "</s>": EOS, "<unk>": UNK}
SMALLEST = len(SPECIALS) + 256
"""tokens that every vocabulary has: the special ones and the bytes"""
Merges = list[tuple[str, str]]
LINE_BREAKS = re.compile(r"[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
"""what some program takes for the end of a line; a vocabulary of bytes can say each of them"""
AT_ONCE = 4096  # texts encoded together: what the library keeps of each is far larger than its tokens


class Tokenizer:
    """A vocabulary: `train` learns one from text, and `load` reads one back.

    Text is put into Unicode's NFC; apart from that, `decode(encode([text])[0])` is the text. What looks like a special
    token in it (`</s>`) is text like any other.
    """

    def __init__(self, inner: Any):
        self._inner = inner

    @classmethod
    def train(cls, lines: Iterable[str], size: int) -> "Tokenizer":
        """A vocabulary of `size` tokens, or of fewer where the lines give no more pairs that occur twice.

        The same lines give the same tokens. Raises `UserError` below 260, and where `tokenizers` is not installed.
        """
        hint = f"at least {SMALLEST}: the 256 bytes and {len(SPECIALS)} special tokens are in each"
        demand(size >= SMALLEST, f"--data.vocabulary {size} is too small", hint)
        inner = _pipeline({}, [])
        trainer = _library().trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=2,
            special_tokens=list(SPECIALS),
            initial_alphabet=_alphabet(),
            show_progress=False,
        )
        inner.train_from_iterator(lines, trainer)
        return cls(inner)

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """The vocabulary of a tokenizer.json, or of the run folder that holds one.

        Raises `UserError` for a file that is missing, broken, or of a tokenizer of another kind.
        """
        path = Path(path).expanduser()
        path = path / FILE if path.is_dir() else path
        try:
            return cls(_pipeline(*_checked(read_json(path))))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            hint = "give a tokenizer.json that `resmlp train` wrote, or its run folder"
            raise UserError(f"{path} holds no vocabulary of ours: {error}", hint) from None

    def save(self, path: Path) -> None:
        """Write a tokenizer.json, which Hugging Face's `tokenizers` reads as well: whole or not at all."""
        write_text(path, self._inner.to_str(pretty=True))

    @property
    def size(self) -> int:
        """Tokens in the vocabulary, the special ones included."""
        return self._inner.get_vocab_size()

    @property
    def fingerprint(self) -> str:
        """Twelve characters that another vocabulary does not have."""
        vocabulary, merges = _checked(json.loads(self._inner.to_str()))
        tokens = sorted(vocabulary, key=vocabulary.__getitem__)
        return blake2b(json.dumps([tokens, merges]).encode(), digest_size=6).hexdigest()

    def encode(self, lines: Iterable[str]) -> list[list[int]]:
        """The tokens of each line, without special ones."""
        return list(self.stream(lines))

    def stream(self, lines: Iterable[str]) -> Iterator[list[int]]:
        """As `encode`, one after the other: millions of lists need not be there at once."""
        lines = iter(lines)
        while chunk := list(islice(lines, AT_ONCE)):
            for encoded in self._inner.encode_batch_fast(chunk, add_special_tokens=False):
                yield encoded.ids

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of the tokens; special ones have none, and bytes that are no UTF-8 become U+FFFD."""
        return self._inner.decode(list(tokens), skip_special_tokens=True)

    def line(self, tokens: Iterable[int]) -> str:
        """The same in one line, without blanks at its ends: what a translation is."""
        return LINE_BREAKS.sub(" ", self.decode(tokens)).strip()


def _library() -> Any:
    """The package `tokenizers`: on all cores, but in a forked process on one, as threads do not survive a fork."""
    if "TOKENIZERS_PARALLELISM" not in os.environ:  # unsaid, it would warn at each fork
        os.environ["TOKENIZERS_PARALLELISM"] = "true"
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: os.environ.update(TOKENIZERS_PARALLELISM="false"))
    try:
        import tokenizers
    except ImportError:
        what = "translation needs tokenizers, which is not installed"
        raise UserError(what, install_hint("text")) from None
    return tokenizers


def _alphabet() -> list[str]:
    """The characters that stand for the 256 bytes."""
    return sorted(_library().pre_tokenizers.ByteLevel.alphabet())


def _pipeline(vocabulary: dict[str, int], merges: Merges) -> Any:
    """From text to tokens and back."""
    library = _library()
    inner = library.Tokenizer(library.models.BPE(vocab=vocabulary, merges=merges))
    inner.normalizer = library.normalizers.Sequence([library.normalizers.NFC(), library.normalizers.Prepend(" ")])
    inner.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = library.decoders.Sequence([library.decoders.ByteLevel(), library.decoders.Strip(" ", 1, 0)])
    inner.add_special_tokens(list(SPECIALS))
    inner.encode_special_tokens = True  # the library would find them in the text
    return inner


def _checked(file: Any) -> tuple[dict[str, int], Merges]:
    """The vocabulary and the merges of a tokenizer.json; raises ValueError or TypeError where it is not of our kind."""
    vocabulary, merges = file["model"]["vocab"], file["model"]["merges"]
    pairs = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in merges]
    ours = json.loads(_pipeline({}, []).to_str())
    if not (ours.keys() <= file.keys() and _alike(ours, file)):
        raise ValueError("it cuts text in another way")
    numbers = sorted(vocabulary.values())
    if {*map(type, numbers)} != {int} or numbers != [*range(len(numbers))]:
        raise ValueError("its tokens are not numbered from 0 on")
    if any(vocabulary.get(token) != number for token, number in SPECIALS.items()):
        raise ValueError("its special tokens differ")
    if not vocabulary.keys() >= {*_alphabet()}:
        raise ValueError("it lacks bytes")
    if not all(len(pair) == 2 and {*pair, "".join(pair)} <= vocabulary.keys() for pair in pairs):
        raise ValueError("it lacks tokens that it would merge")
    return vocabulary, pairs


def _alike(ours: Any, theirs: Any) -> bool:
    """Whether two descriptions agree in what both tell: from version to version, the library tells more."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        shared = (ours.keys() & theirs.keys()) - {"version", "vocab", "merges"}
        return ours.get("type") == theirs.get("type") and all(_alike(ours[key], theirs[key]) for key in shared)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_alike, ours, theirs))
    return ours == theirs
