"""The numbers of the pages are those of results/, and whatever is amiss is said in a line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def pages(tmp_path) -> Path:
    """A copy of README.md, docs/ and results/, its pages freshly written."""
    shutil.copy(ROOT / "README.md", tmp_path)
    for name in ("docs", "results"):
        shutil.copytree(ROOT / name, tmp_path / name)
    assert build(tmp_path) == (0, "")
    return tmp_path


def build(root: Path, *flags: str) -> tuple[int, str]:
    ended = subprocess.run([sys.executable, root / "docs" / "build.py", *flags], capture_output=True, text=True)
    return ended.returncode, ended.stderr


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_number_that_was_edited_is_found(pages):
    assert build(pages, "--check") == (0, "")
    (name, number), *_ = json.loads((pages / "results" / "multi30k.json").read_text())["numbers"].items()
    places = [page for page in pages.rglob("*.md") if f"{name} {number:g}" in page.read_text()]
    edit(places[0], f"{name} {number:g}", f"{name} {number + 1:g}")
    code, said = build(pages, "--check")
    assert code == 1
    assert said == f"error: stale numbers in {places[0].name} (run: make docs)\n"
    assert build(pages) == (0, "")
    assert build(pages, "--check") == (0, "")


def test_a_result_that_changed_is_found(pages):
    path = pages / "results" / "digits.json"
    result = json.loads(path.read_text())
    result["numbers"] = {name: value + 1 for name, value in result["numbers"].items()}
    path.write_text(json.dumps(result))
    code, said = build(pages, "--check")
    assert (code, "stale numbers" in said) == (1, True)


@pytest.mark.parametrize(
    ("old", "new"),
    [("<!-- /results -->", ""), ("<!-- results table -->\n", ""), ("<!-- results table -->", "<!-- results a b -->")],
)
def test_a_marker_without_its_counterpart_names_the_page(old, new, pages):
    page = pages / "docs" / "reproduce.md"
    edit(page, old, new)
    before = page.read_text()
    for flags in ((), ("--check",)):
        code, said = build(pages, *flags)
        assert code == 2
        assert said.startswith("error: reproduce.md: ")
        assert said.count("\n") == 1
    assert page.read_text() == before


def test_a_place_that_swallows_the_next_is_an_error(pages):
    page = pages / "docs" / "reproduce.md"
    page.write_text("<!-- results a -->\n\nwords\n\n<!-- results b -->\n<!-- /results -->\n")
    assert build(pages)[0] == 2
    assert "words" in page.read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("{", "is no JSON"),
        ("[]", "should be a JSON object"),
        ({"numbers": [1]}, "numbers should be of type dict"),
        ({"numbers": {"top1": "0.9"}}, "top1 should be a finite number"),
        ({"numbers": {"top1": float("nan")}}, "top1 should be a finite number"),
        ({"must_reach": 0.9}, "must_reach should be of type dict"),
        ({"what": None}, "what should be of type str"),
        ({"seconds": "long"}, "seconds should be a finite number"),
    ],
)
def test_a_result_of_wrong_types_is_named(change, words, pages):
    path = pages / "results" / "digits.json"
    path.write_text(change if isinstance(change, str) else json.dumps(json.loads(path.read_text()) | change))
    code, said = build(pages, "--check")
    assert code == 2
    assert said.startswith("error: results/digits.json")
    assert words in said
    assert said.count("\n") == 1
