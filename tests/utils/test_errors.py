"""The words of messages: numbers agree with their nouns, and one line names any value or path."""

import pytest

from resmlp.cli.main import main
from resmlp.utils.errors import UserError, counted, each_once


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2000, "image", "2,000 images"),
        (1, "class", "1 class"),
        (11, "class", "11 classes"),
    ],
)
def test_a_number_agrees_with_its_noun(number, noun, words):
    assert counted(number, noun) == words


def test_a_name_of_many_images_is_named_once():
    assert each_once(["b", "x.tar", "a", "x.tar"]) == ["b", "x.tar: 2 images", "a"]


def test_a_long_value_is_cut_and_a_long_path_is_not():
    path = "/".join(["a" * 255] * 9)
    assert str(UserError("9" * 400, path)) == f"{'9' * 60}...{'9' * 20} ({path})"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(36, "File name too long", "x" * 300), f"{'x' * 60}...{'x' * 19}: File name too long (check the path)"),
        (PermissionError(13, "Permission denied", "a\x1b/b"), r"a\x1b/b: Permission denied (check the path)"),
    ],
)
def test_any_path_that_the_system_refuses_is_one_line(error, line, monkeypatch, capsys):
    def refuse(args: list[str]) -> None:
        raise error

    monkeypatch.setattr("resmlp.cli.main.run", refuse)
    assert main(["profile", "resmlp_s12"]) == 2
    assert capsys.readouterr().err == f"error: {line}\n"
