"""`make docs` builds a site without warnings and without anything from elsewhere, with all names and all verbs."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

import resmlp
from resmlp.cli import VERBS

pytest.importorskip("zensical", reason="the dependency group `docs` is not installed")
ROOT = Path(__file__).parent.parent
WEBSITE = ROOT / "docs" / "website"
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
NAMES = {"README.md": "index.html"}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    ended = subprocess.run([sys.executable, WEBSITE / "build.py", folder], cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    return folder


@pytest.fixture
def check(monkeypatch):
    monkeypatch.syspath_prepend(WEBSITE)
    return importlib.import_module("check")


def content(html: Path) -> str:
    """The article of a page."""
    return html.read_text(encoding="utf-8").split("<article", 1)[1].split("</article>", 1)[0]


@pytest.mark.slow
def test_every_page_is_rendered_as_another_program_renders_it(site):
    """The numbers of headings, list items, tables, rows and blocks of code are those of markdown-it."""
    for page in PAGES:
        ours = content(site / NAMES.get(page.name, f"{page.stem.lower()}.html"))
        other = MarkdownIt("commonmark").enable("table").render(page.read_text(encoding="utf-8"))
        for tag in ("h1", "h2", "h3", "li", "table", "tr", "pre", "img", "blockquote"):
            found = [len(re.findall(f"<{tag}[ >]", html)) for html in (ours, other)]
            assert found[0] == found[1], (page.name, tag)


@pytest.mark.slow
def test_every_public_name_is_described(site):
    text = content(site / "reference" / "python.html")
    anchors = set(re.findall(r'<h3 id="([^"]+)"', text))
    assert {f"resmlp{name.lower()}" for name in resmlp.__all__} <= anchors
    for module in ("resmlp.inference", "resmlp.serving"):
        for name in importlib.import_module(module).__all__:
            assert name.lower() in anchors or f"resmlp{name}" in anchors, name
    assert "<p></p>" not in text


@pytest.mark.slow
def test_every_verb_is_described(site):
    text = content(site / "reference" / "cli.html")
    headings = re.findall(r'<h2 id="resmlp-([\w-]+)"', text)
    assert {heading.split("-")[0] for heading in headings} == set(VERBS)
    for flag in ("--data.root", "--optim.lr", "--task.teacher", "--task.beam", "--length-penalty", "--near", "--port"):
        assert f"<code>{flag} " in text, flag
    assert not re.search("[│╭╰]", text)


OPEN = """const attach = Element.prototype.attachShadow;
Element.prototype.attachShadow = function (given) { return attach.call(this, {...given, mode: "open"}); };"""
"""lets the test look into the search, which is a closed part of the page"""
INSIDE = "[...document.querySelectorAll('*')].flatMap(e => [...(e.shadowRoot?.querySelectorAll('{}') ?? [])])"


@pytest.mark.slow
def test_the_search_answers_from_the_disk(site, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests" / "serving")
    browser = importlib.import_module("browser")
    if browser.CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    tab = browser.Browser()
    try:
        tab.send("Page.addScriptToEvaluateOnNewDocument", source=OPEN)
        tab.open((site / "reference" / "cli.html").as_uri())
        tab.run("document.querySelector('.md-search__button').click()")
        tab.wait(f"{INSIDE.format('input')}.length > 0")
        tab.run(f"{INSIDE.format('input')}[0].focus()")
        tab.send("Input.insertText", text="interpolated")
        assert tab.wait(f"{INSIDE.format('a')}.some(a => a.href.includes('transfer.html'))")
        loaded = tab.run("performance.getEntriesByType('resource').map(entry => entry.name)")
        assert [address for address in loaded if not address.startswith(("file:", "data:", "blob:"))] == []
        assert tab.errors == []
    finally:
        tab.close()


FAULTS = {
    '<script src="https://example.org/x.js"></script>': "loads https://example.org/x.js",
    '<link rel="stylesheet" href="//example.org/x.css">': "loads //example.org/x.css",
    '<img src="http://example.org/x.png">': "loads http://example.org/x.png",
    '<a href="nowhere.html">x</a>': "nowhere.html: no such file",
    '<a href="#nothing">x</a>': "#nothing: no such heading",
    '<a href="../outside.html">x</a>': "../outside.html: no such file",
}


@pytest.mark.parametrize("html", FAULTS)
def test_a_fault_of_the_site_is_named(html, check, tmp_path):
    (tmp_path / "outside.html").touch()
    (tmp_path / "site").mkdir()
    page = '<h1 id="top">x</h1><a href="#top">x</a><a href="https://example.org">x</a>'
    (tmp_path / "site" / "page.html").write_text(page + html)
    assert list(check.problems(tmp_path / "site")) == [f"page.html: {FAULTS[html]}"]


def test_a_font_from_elsewhere_is_named(check, tmp_path):
    (tmp_path / "x.css").write_text("@font-face { src: url('https://example.org/x.woff2') }")
    assert list(check.problems(tmp_path)) == ["x.css: loads https://example.org/x.woff2"]


def test_the_floors_are_those_of_the_import_contract():
    ended = subprocess.run([sys.executable, WEBSITE / "floors.py", "--check"], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    picture = (ROOT / "docs" / "floors.svg").read_text(encoding="utf-8")
    rooms = re.findall(r'text-anchor="middle">(\w+)<', picture)
    folders = {path.name for path in (ROOT / "resmlp").iterdir() if path.is_dir() and list(path.glob("*.py"))}
    assert set(rooms) == folders | {"timm"}
