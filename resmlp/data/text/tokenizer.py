"""Byte-level byte-pair encoding with one vocabulary for both languages (Sennrich et al. 2016).

A character that is not in the training text becomes its UTF-8 bytes, so no character is unknown and decoding restores
every text. A space is inserted before each text, so a word has the same token at the beginning and further on.
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
"""tokens of every vocabulary: the special ones and the bytes"""
Merges = list[tuple[str, str]]
LINE_BREAKS = re.compile(r"[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
"""characters that some programs interpret as the end of a line; a byte vocabulary can produce all of them"""
LONG_WORD = re.compile(r"\S{1000,}")
"""no word: the time to learn from one grows with its length times the vocabulary, to hours at a million letters"""
CHUNK = 4096  # texts to encode together: the library needs much more memory for a text than its tokens do


class Tokenizer:
    """A vocabulary: `train` learns one from text, and `load` reads one from a file.

    `decode(encode([text])[0])` is the text in Unicode's normal form NFC. The name of a special token in a text, such as
    `</s>`, is ordinary text.
    """

    def __init__(self, inner: Any):
        self._inner = inner

    @classmethod
    def train(cls, lines: Iterable[str], size: int) -> "Tokenizer":
        """Learn a vocabulary of `size` tokens, or of fewer if no more pairs occur twice in the lines.

        The same lines give the same tokens; words of 1,000 characters or more teach nothing. Raises `UserError` below
        260, and if `tokenizers` is not installed.
        """
        hint = f"at least {SMALLEST}: 256 bytes and {len(SPECIALS)} special tokens"
        demand(size >= SMALLEST, f"--data.vocabulary {size} is too small", hint)
        inner = _pipeline({}, [])
        trainer = _library().trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=2,
            special_tokens=list(SPECIALS),
            initial_alphabet=_alphabet(),
            show_progress=False,
        )
        inner.train_from_iterator((LONG_WORD.sub(" ", line) for line in lines), trainer)
        return cls(inner)

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read a tokenizer.json, or the one in a run folder.

        Raises `UserError` for a file that is missing, damaged, or of another kind of tokenizer.
        """
        path = Path(path).expanduser()
        path = path / FILE if path.is_dir() else path
        try:
            return cls(_pipeline(*_checked(read_json(path))))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            hint = "give a tokenizer.json that `resmlp train` wrote, or its run folder"
            raise UserError(f"{path} is not a resmlp tokenizer: {error}", hint) from None

    def save(self, path: Path) -> None:
        """Write a tokenizer.json atomically; Hugging Face's `tokenizers` can read it, too."""
        write_text(path, self._inner.to_str(pretty=True))

    @property
    def size(self) -> int:
        """The number of tokens in the vocabulary, including the special ones."""
        return self._inner.get_vocab_size()

    @property
    def fingerprint(self) -> str:
        """Twelve characters that identify the vocabulary."""
        vocabulary, merges = _checked(json.loads(self._inner.to_str()))
        tokens = sorted(vocabulary, key=vocabulary.__getitem__)
        return blake2b(json.dumps([tokens, merges]).encode(), digest_size=6).hexdigest()

    def encode(self, lines: Iterable[str]) -> list[list[int]]:
        """The tokens of each line, without special tokens."""
        return list(self.stream(lines))

    def stream(self, lines: Iterable[str]) -> Iterator[list[int]]:
        """The same as `encode`, as an iterator: millions of lists need not be in memory together."""
        lines = iter(lines)
        while chunk := list(islice(lines, CHUNK)):
            for encoded in self._inner.encode_batch_fast(chunk, add_special_tokens=False):
                yield encoded.ids

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of the tokens, without special tokens; bytes that are not UTF-8 become U+FFFD."""
        return self._inner.decode(list(tokens), skip_special_tokens=True)

    def line(self, tokens: Iterable[int]) -> str:
        """The text of the tokens as one line, without spaces at the ends: a translation."""
        return LINE_BREAKS.sub(" ", self.decode(tokens)).strip()


def _library() -> Any:
    """The package `tokenizers`, with threads; without threads in a forked process, as they do not survive a fork."""
    if "TOKENIZERS_PARALLELISM" not in os.environ:  # without it, the library warns at each fork
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
    """The characters that represent the 256 bytes."""
    return sorted(_library().pre_tokenizers.ByteLevel.alphabet())


def _pipeline(vocabulary: dict[str, int], merges: Merges) -> Any:
    """A tokenizer of the library with this vocabulary."""
    library = _library()
    inner = library.Tokenizer(library.models.BPE(vocab=vocabulary, merges=merges))
    inner.normalizer = library.normalizers.Sequence([library.normalizers.NFC(), library.normalizers.Prepend(" ")])
    inner.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = library.decoders.Sequence([library.decoders.ByteLevel(), library.decoders.Strip(" ", 1, 0)])
    inner.add_special_tokens(list(SPECIALS))
    inner.encode_special_tokens = True  # names of special tokens in a text are ordinary text
    return inner


def _checked(file: Any) -> tuple[dict[str, int], Merges]:
    """The vocabulary and the merges of a tokenizer.json; raises ValueError or TypeError for another kind."""
    vocabulary, merges = file["model"]["vocab"], file["model"]["merges"]
    pairs = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in merges]
    expected = json.loads(_pipeline({}, []).to_str())
    if not (expected.keys() <= file.keys() and _same_settings(expected, file)):
        raise ValueError("it splits text differently")
    numbers = sorted(vocabulary.values())
    if {*map(type, numbers)} != {int} or numbers != [*range(len(numbers))]:
        raise ValueError("its tokens are not numbered from 0 without gaps")
    if any(vocabulary.get(token) != number for token, number in SPECIALS.items()):
        raise ValueError("its special tokens differ")
    if not vocabulary.keys() >= {*_alphabet()}:
        raise ValueError("it does not have all bytes")
    if not all(len(pair) == 2 and {*pair, "".join(pair)} <= vocabulary.keys() for pair in pairs):
        raise ValueError("it merges tokens that it does not have")
    return vocabulary, pairs


def _same_settings(expected: Any, file: Any) -> bool:
    """Whether two descriptions agree in their shared keys: newer versions of the library write more keys."""
    if isinstance(expected, dict) and isinstance(file, dict):
        shared = (expected.keys() & file.keys()) - {"version", "vocab", "merges"}
        same_type = expected.get("type") == file.get("type")
        return same_type and all(_same_settings(expected[key], file[key]) for key in shared)
    if isinstance(expected, list) and isinstance(file, list):
        return len(expected) == len(file) and all(map(_same_settings, expected, file))
    return expected == file
