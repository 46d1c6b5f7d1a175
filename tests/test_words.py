"""Numbers in sentences agree with their nouns."""

import pytest

from resmlp.words import counted


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [
        (0, "picture", "0 pictures"),
        (1, "picture", "1 picture"),
        (2000, "picture", "2,000 pictures"),
        (1, "class", "1 class"),
        (11, "class", "11 classes"),
    ],
)
def test_a_number_agrees_with_its_noun(number, noun, words):
    assert counted(number, noun) == words
