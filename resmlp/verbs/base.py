"""What every verb has."""

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

Device = Literal["auto", "cpu", "cuda", "mps"]


def warn_untrained(name: str, trained: bool) -> None:
    """Say on standard error that a model given by its name alone has learned nothing."""
    if not trained:
        print(f"{name} is a name alone: its weights are random (a run folder has learned ones)", file=sys.stderr)


@dataclass(frozen=True)
class Verb(ABC):
    """A verb: its fields are its flags, its docstring its help."""

    json: bool = False
    """print one JSON object on standard output"""
    debug: bool = False
    """show the traceback of an error"""

    @abstractmethod
    def run(self) -> dict[str, Any]:
        """Do it, and return what `--json` prints; without `--json`, print for people."""

    @classmethod
    def prepare(cls, args: list[str]) -> tuple["Verb | None", list[str]]:
        """The values that flags change, where the verb's first words choose them, and the arguments left to be read."""
        return None, args
