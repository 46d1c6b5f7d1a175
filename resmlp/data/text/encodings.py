"""The encoding of text that is not UTF-8, for messages."""

from codecs import BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE

MARKS = {BOM_UTF32_LE: "utf-32", BOM_UTF32_BE: "utf-32", BOM_UTF16_LE: "utf-16", BOM_UTF16_BE: "utf-16"}
"""the longer ones first: that of UTF-32 begins as that of UTF-16 does"""


def wide_encoding(start: bytes) -> str:
    """The name of UTF-16 or UTF-32 as iconv has it, by the first line of a file; empty for another encoding.

    Without a mark, UTF-16 is known by zeros in most of the even or of the odd bytes: so it is in Latin letters.
    """
    if mark := next((mark for mark in MARKS if start.startswith(mark)), None):
        return MARKS[mark]
    high, low = start[::2], start[1::2]
    if 2 * low.count(0) > len(low) > 1 and 2 * high.count(0) < len(high):
        return "utf-16le"
    return "utf-16be" if 2 * high.count(0) > len(high) > 1 else ""


def command(encoding: str) -> str:
    """The command that converts a file to UTF-8; without an encoding, it is an example."""
    return f"iconv -f {encoding or 'latin1'} -t utf-8"
