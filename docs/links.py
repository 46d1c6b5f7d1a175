"""Check that the links between the Markdown pages lead to files and headings that exist.

Links with a scheme (https:, mailto:) are left alone: the check needs no network.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parent.parent
MARKDOWN = MarkdownIt("commonmark").enable("table")


def pages(root: Path) -> list[Path]:
    """The pages whose links are checked."""
    top = [root / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [page for page in [*top, *sorted((root / "docs").glob("*.md"))] if page.is_file()]


def links(page: Path) -> Iterator[tuple[int, str]]:
    """The line and the target of each link and each image of a page."""
    for token in MARKDOWN.parse(page.read_text(encoding="utf-8")):
        for child in token.children or []:
            target = child.attrs.get("href") or child.attrs.get("src")
            if target:
                yield token.map[0] + 1 if token.map else 0, str(target)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them; repeated headings get -1, -2 and so on."""
    tokens, known = MARKDOWN.parse(page.read_text(encoding="utf-8")), {}
    for heading, inline in zip(tokens, tokens[1:]):
        if heading.type == "heading_open":
            slug = slugged(inline)
            known[slug] = known.get(slug, -1) + 1
    return {slug if n == 0 else f"{slug}-{n}" for slug, last in known.items() for n in range(last + 1)}


def slugged(heading: Token) -> str:
    """The words of a heading in lower case, without punctuation, joined by hyphens."""
    text = "".join(child.content for child in heading.children or [] if child.type in ("text", "code_inline"))
    return re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")


def broken(root: Path) -> Iterator[str]:
    """One message for each link whose file or heading does not exist."""
    for page in pages(root):
        for line, target in links(page):
            url = urlsplit(target)
            if url.scheme or url.netloc:
                continue
            place = (page.parent / unquote(url.path)).resolve() if url.path else page
            where = f"{page.relative_to(root)}:{line}"
            if not place.is_relative_to(root) or not place.exists():
                yield f"{where}: {target}: no such file"
            elif url.fragment and place.suffix == ".md" and url.fragment not in anchors(place):
                yield f"{where}: {target}: no such heading"


def main() -> int:
    """Print the broken links and return 1, or return 0 if no link is broken."""
    problems = list(broken(ROOT.resolve()))
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    raise SystemExit(main())
