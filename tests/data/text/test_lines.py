"""Lines of text in blocks, whatever the sizes of the parts in which they come."""

import io

import pytest

from resmlp.data.text.lines import read_lines
from resmlp.utils.errors import UserError


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_lines_are_numbered_and_decoded(limit):
    text = b"\xef\xbb\xbfone\r\ntwo\n\nfour \xc3\xa4"
    blocks = list(read_lines(io.BytesIO(text), "f", limit))
    assert [line for _, lines in blocks for line in lines] == ["one", "two", "", "four ä"]
    assert all(len(lines) <= limit for _, lines in blocks)
    assert [first for first, _ in blocks] == [1 + sum(len(b) for _, b in blocks[:i]) for i in range(len(blocks))]


def test_the_lines_before_a_damaged_one_come_first():
    lines = read_lines(io.BytesIO(b"one\ntw\xff\nthree\n"), "f.txt", 10)
    assert next(lines) == (1, ["one"])
    with pytest.raises(UserError, match=r"line 2 of f\.txt is not UTF-8, at its byte 3"):
        next(lines)
