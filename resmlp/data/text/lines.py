"""Lines of text from a file or a stream, in blocks, as they come."""

import io
from collections.abc import Iterator

from resmlp.data.text.encodings import command, wide_encoding
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

BLOCK = 2**16  # bytes that are read at a time, where there are so many
LONGEST = 2**20  # bytes of a line


def read_lines(file: io.BufferedIOBase, name: str, limit: int) -> Iterator[tuple[int, list[str]]]:
    """Lines of UTF-8 as they come, up to `limit` at once, with the number of the first line.

    Raises `UserError` at one that is no text, after the lines before it; `name` is the file's in the message.
    """
    first = 1
    for block in _blocks(file, limit):
        lines, wrong = list[str](), None
        for number, line in enumerate(block, first):
            try:
                lines.append(_decoded(line, number, name))
            except UserError as error:
                wrong = error
                break
        yield first, lines
        if wrong:
            raise wrong
        first += len(block)


def _decoded(line: bytearray, number: int, name: str) -> str:
    """A line's text, without the mark that some programs set before the first and with either kind of end."""
    endless = f"line {number} of {name} has more than {LONGEST:,} bytes"
    demand(len(line) <= LONGEST, endless, "is it text, a sentence a line?")
    if number == 1 and (encoding := wide_encoding(bytes(line))):
        raise UserError(f"line 1 of {name} is not UTF-8 but {encoding}", f"convert it with {command(encoding)}")
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8").removesuffix("\r")
    except UnicodeDecodeError as error:
        what = f"line {number} of {name} is not UTF-8, at its byte {error.start + 1}"
        raise UserError(what, f"convert it, say with {command('')}") from None


def _blocks(file: io.BufferedIOBase, limit: int) -> Iterator[list[bytearray]]:
    """Lines without their ends, up to `limit` at once; what is there is not kept waiting for what is not."""
    rest = bytearray()
    while len(rest) <= LONGEST and (block := file.read1(BLOCK)):
        rest += block
        if b"\n" in block:
            *lines, rest = rest.split(b"\n")
            for start in range(0, len(lines), limit):
                yield lines[start : start + limit]
    if rest:
        yield [rest]
