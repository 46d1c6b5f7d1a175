"""Errors a user can mend. The command line prints them as one line and exits with 2."""

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


class UserError(Exception):
    """A mistake of the user's: `what` is wrong, and `hint` is the way out of it."""

    def __init__(self, what: str, hint: str):
        self.what, self.hint = (" ".join(text.splitlines()) for text in (what, hint))  # names may hold line breaks
        super().__init__(f"{self.what} ({self.hint})")


def notice(text: str) -> None:
    """Say on standard error what was done that a user may not expect."""
    print(f"note: {text}", file=sys.stderr)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest of the `known` names as a hint, or all of them where none is near and they are few."""
    known = sorted(known)
    close = get_close_matches(word, known, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "choose from " + ", ".join(known) if 0 < len(known) <= 12 else "nothing comes near it"


def lookup(kind: str, name: str, table: dict[str, T], hint: str = "") -> T:
    """`table[name]`, or a `UserError` that says which `kind` of name is unknown and what was probably meant."""
    if name not in table:
        raise UserError(f"unknown {kind} {name!r}", did_you_mean(name, table) + (f"; {hint}" if hint else ""))
    return table[name]
