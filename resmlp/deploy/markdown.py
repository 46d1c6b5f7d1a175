"""Text of others in Markdown, shown literally."""

import re
from collections.abc import Iterable
from typing import Any

MARKS = re.compile(r"([\\`*_{}\[\]<>#|~&$:@!+=^])")


def plain(text: Any) -> str:
    """`text` as Markdown shows it literally, on one line."""
    printable = "".join(c if c.isprintable() else " " for c in str(text))
    return MARKS.sub(r"\\\1", " ".join(printable.split()))


def table(head: tuple[str, str], rows: Iterable[tuple[str, Any]]) -> str:
    """Two columns; empty without rows."""
    lines = [f"| {plain(name)} | {plain(value)} |" for name, value in rows]
    return "\n".join([f"| {head[0]} | {head[1]} |", "|---|---|", *lines]) if lines else ""
