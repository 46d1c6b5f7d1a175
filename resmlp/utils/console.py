"""Where messages for people go: standard error, by rich. Loads no torch."""

import sys
from typing import Any

from rich.console import Console

from resmlp.utils.errors import printable

plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
"""options of rich that print text literally: names of files are no markup"""


class SafeConsole(Console):
    """rich's console, which escapes what a terminal would obey: names of files and classes may hold anything."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's, each string on one line."""
        super().print(*(printable(item) if isinstance(item, str) else item for item in objects), **options)


console = SafeConsole(stderr=True, width=None if sys.stderr.isatty() else 200, **plain)
