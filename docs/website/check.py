"""What is wrong with the built site: broken links, and anything that a page would load from elsewhere."""

import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""elements whose address the browser loads by itself -> its attribute"""
NOT_LOADED = {"canonical", "prev", "next", "alternate"}
"""kinds of <link> that load nothing"""
STYLE_URL = re.compile(r"url\(\s*[\"']?((?:https?:)?//[^)\"']+)|@import\s+[\"']((?:https?:)?//[^\"']+)")


class Page(HTMLParser):
    """The addresses and the anchors of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the element links to, loads, and is called."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in LOADED and LOADED[tag] in given and given.get("rel") not in NOT_LOADED:
            self.loaded.append(given[LOADED[tag]])


@cache
def read(path: Path) -> Page:
    """A page of the site."""
    return Page(path)


def problems(site: Path) -> Iterator[str]:
    """One line for each fault."""
    for path in sorted(site.rglob("*.html")):
        name = path.relative_to(site)
        if name.name == "404.html":  # its links are those of a server's root
            continue
        for address in [*read(path).links, *read(path).loaded]:
            if why := broken(path, address, site.resolve()):
                yield f"{name}: {address}: {why}"
        yield from (f"{name}: loads {address}" for address in read(path).loaded if urlsplit(address).netloc)
    for path in sorted(site.rglob("*.css")):
        for match in STYLE_URL.finditer(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: loads {match[1] or match[2]}"


def broken(page: Path, address: str, site: Path) -> str:
    """Why a link does not work, or an empty text; links with a scheme or a host are left alone."""
    url = urlsplit(address)
    if url.scheme or url.netloc:
        return ""
    place = (page.parent / unquote(url.path)).resolve() if url.path else page
    if not place.is_relative_to(site) or not place.is_file():
        return "no such file"
    if url.fragment and place.suffix == ".html" and unquote(url.fragment) not in read(place).anchors | {"__top"}:
        return "no such heading"
    return ""
