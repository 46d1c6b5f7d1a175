"""What every verb has."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

Device = Literal["auto", "cpu", "cuda", "mps"]


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
