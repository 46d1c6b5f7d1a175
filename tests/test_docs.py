"""The tables of the pages come from results/, each problem is one line on standard error, and local links work."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def pages(tmp_path) -> Path:
    """A copy of README.md, docs/ and results/ with its tables up to date."""
    shutil.copy(ROOT / "README.md", tmp_path)
    for name in ("docs", "results"):
        shutil.copytree(ROOT / name, tmp_path / name)
    assert build(tmp_path) == (0, "")
    return tmp_path


def build(root: Path, *flags: str) -> tuple[int, str]:
    return run(root / "docs" / "build.py", *flags)


def check_links(root: Path) -> tuple[int, str]:
    return run(root / "docs" / "links.py")


def run(*command: str | Path) -> tuple[int, str]:
    ended = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    return ended.returncode, ended.stderr


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_an_edited_number_is_reported(pages):
    assert build(pages, "--check") == (0, "")
    (name, number), *_ = json.loads((pages / "results" / "multi30k.json").read_text())["numbers"].items()
    places = [page for page in pages.rglob("*.md") if f"{name} {number:g}" in page.read_text()]
    edit(places[0], f"{name} {number:g}", f"{name} {number + 1:g}")
    code, error = build(pages, "--check")
    assert code == 1
    assert error == f"error: stale tables in {places[0].name} (run: make docs)\n"
    assert build(pages) == (0, "")
    assert build(pages, "--check") == (0, "")


def test_a_changed_result_is_reported(pages):
    path = pages / "results" / "digits.json"
    result = json.loads(path.read_text())
    result["numbers"] = {name: value + 1 for name, value in result["numbers"].items()}
    path.write_text(json.dumps(result))
    code, error = build(pages, "--check")
    assert (code, "stale tables" in error) == (1, True)


@pytest.mark.parametrize(
    ("old", "new"),
    [("<!-- /results -->", ""), ("<!-- results table -->\n", ""), ("<!-- results table -->", "<!-- results a b -->")],
)
def test_a_marker_without_counterpart_names_the_page(old, new, pages):
    page = pages / "docs" / "reproduce.md"
    edit(page, old, new)
    before = page.read_text()
    for flags in ((), ("--check",)):
        code, error = build(pages, *flags)
        assert code == 2
        assert error.startswith("error: reproduce.md: ")
        assert error.count("\n") == 1
    assert page.read_text() == before


def test_a_table_without_end_marker_is_an_error(pages):
    page = pages / "docs" / "reproduce.md"
    page.write_text("<!-- results a -->\n\nwords\n\n<!-- results b -->\n<!-- /results -->\n")
    assert build(pages)[0] == 2
    assert "words" in page.read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("{", "is not valid JSON"),
        ("[]", "should be a JSON object"),
        ({"numbers": [1]}, "numbers should be of type dict"),
        ({"numbers": {"top1": "0.9"}}, "top1 should be a finite number"),
        ({"numbers": {"top1": float("nan")}}, "top1 should be a finite number"),
        ({"target": 0.9}, "target should be of type dict"),
        ({"what": None}, "what should be of type str"),
        ({"seconds": "long"}, "seconds should be a finite number"),
    ],
)
def test_a_result_with_wrong_types_is_named(change, words, pages):
    path = pages / "results" / "digits.json"
    path.write_text(change if isinstance(change, str) else json.dumps(json.loads(path.read_text()) | change))
    code, error = build(pages, "--check")
    assert code == 2
    assert error.startswith("error: results/digits.json")
    assert words in error
    assert error.count("\n") == 1


def test_every_link_between_the_pages_works():
    assert check_links(ROOT) == (0, "")


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("[x](nowhere.md)", "nowhere.md: no such file"),
        ("[x](page.md#nothing)", "page.md#nothing: no such heading"),
        ("[x](#nothing)", "#nothing: no such heading"),
        ("![x](../figure.png)", "../figure.png: no such file"),
        ("[x](../../outside.md)", "../../outside.md: no such file"),
        ("| a |\n| --- |\n| [x](nowhere.md) |", "nowhere.md: no such file"),
    ],
)
def test_a_broken_link_is_reported_with_its_page_and_line(link, problem, tmp_path):
    root = small_site(tmp_path, link)
    code, error = check_links(root)
    assert code == 1
    assert error.startswith("error: docs/index.md:3: ") or link.startswith("|")
    assert error.endswith(f"{problem}\n")


@pytest.mark.parametrize(
    "link",
    [
        "[x](page.md)",
        "[x](page.md#a-heading-of-code-its-own)",
        "[x](page.md#twice-1)",
        "[x](../docs/)",
        "[x](#index)",
        "[x](https://example.org/nowhere)",
        "`[x](nowhere.md)`",
    ],
)
def test_a_link_that_works_is_not_reported(link, tmp_path):
    assert check_links(small_site(tmp_path, link)) == (0, "")


def small_site(root: Path, line: str) -> Path:
    """Two pages, and the script that checks them."""
    docs = root / "site" / "docs"
    docs.mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "links.py", docs)
    (root / "outside.md").write_text("# Outside\n")
    (docs / "index.md").write_text(f"# Index\n\n{line}\n")
    (docs / "page.md").write_text("# Page\n\n## A *heading* of `code`: its own\n\n## Twice\n\n## Twice\n")
    return root / "site"
