"""Errors that a user can correct, and the words of messages. The command line prints an error as one line."""

import re
import sys
from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")
LONG_WORD = re.compile(r"[^\s/\\]{256,}")
"""no name of a file is so long"""


class UserError(Exception):
    """A mistake of the user: `what` is wrong, and `hint` says how to correct it. The exit code is 2."""

    def __init__(self, what: str, hint: str):
        self.what, self.hint = brief(what), brief(hint)
        super().__init__(f"{self.what} ({self.hint})")

    def __reduce__(self) -> tuple[type, tuple[str, ...]]:
        """To another process and back."""
        return type(self), (self.what, self.hint)


def brief(text: str) -> str:
    """The text as one line of a message shows it: names and values from files and from the network may be anything."""
    return LONG_WORD.sub(lambda word: f"{word[0][:60]}...{word[0][-20:]}", printable(text))


def printable(text: str) -> str:
    """The text with control characters and undecodable bytes escaped, as it is safe in messages and in JSON."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


OUT_OF_MEMORY = (
    "out of memory",  # CUDA, MPS
    "not enough memory",  # torch on a CPU
    "allocate memory",  # torch, ONNX Runtime, the system
    "failed to allocate",  # ONNX Runtime
    "bad_alloc",  # C++, such as OpenVINO
)
"""fragments of the messages of libraries that find no memory, in lower case"""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory was missing; the exceptions of libraries have no common class."""
    if isinstance(error, UserError):
        return False
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in OUT_OF_MEMORY)


def notice(text: str) -> None:
    """Print a note on standard error, about something that a user may not expect."""
    print(f"note: {printable(text)}", file=sys.stderr)


def install_hint(extra: str) -> str:
    """The command that installs an extra. It needs a clone, because no public index has the package."""
    return f"run pip install '.[{extra}]' in a clone of resmlp"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint: the `known` names most similar to `word`; if none is similar, all of them where they are at most 12."""
    known = sorted(known)
    folded = {name.casefold(): name for name in known}
    close = [folded[name] for name in get_close_matches(word.casefold(), folded, n=3, cutoff=0.5)]
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "choose from " + ", ".join(known) if 0 < len(known) <= 12 else "no known name is similar"


def lookup(kind: str, name: str, table: dict[str, T], hint: str = "") -> T:
    """`table[name]`. Raises `UserError` for an unknown name, with the `kind` of name and similar names."""
    if name not in table:
        raise UserError(f"unknown {kind} {name!r}", did_you_mean(name, table) + (f"; {hint}" if hint else ""))
    return table[name]


def each_once(names: Iterable[str]) -> list[str]:
    """Each of the names once, with the number of its images if they are several, as a lost shard has."""
    return [name if count == 1 else f"{name}: {counted(count, 'image')}" for name, count in Counter(names).items()]


def counted(number: int, noun: str) -> str:
    """1 -> "1 image", 2000 -> "2,000 images"; a noun that ends in s gets "es"."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"
