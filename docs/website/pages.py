"""The Markdown pages of the project as pages of the site: their places, titles and links."""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TOP = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""a page of the repository's root -> its name in the site"""
NAV: dict[str, tuple[str, ...]] = {
    "Start": ("index.md", "start.md", "faq.md"),
    "Data": ("data.md", "scale.md"),
    "Train": ("running.md", "transfer.md", "distillation.md", "dino.md", "segmentation.md", "translation.md"),
    "Evaluate": ("evaluation.md", "features.md", "inspect.md", "profile.md"),
    "Use": ("export.md", "precision.md", "compress.md", "serve.md", "hub.md", "timm.md"),
    "Reference": ("reference/cli.md", "reference/python.md"),
    "Inside": ("architecture.md", "contributing.md", "performance.md", "reproduce.md", "results.md", "log.md"),
    "Changes": ("changelog.md",),
}
"""section -> its pages; a page of docs/ that is not listed comes last in `MORE`"""
MORE = "Use"
GENERATED = NAV["Reference"]
TITLES = {"index.md": "Overview"}
"""a page -> its title in the navigation, if that is not its heading"""
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
CODE = re.compile(r"`[^`]*`")
COPIED = (".json", ".png", ".svg", ".sh", ".yaml")
"""files that pages link to, which become part of the site"""


class SiteError(Exception):
    """The site cannot be built; the message is one line."""


def stage(folder: Path) -> None:
    """Write all pages but `GENERATED`, and the files that they link to, into a folder."""
    for source, name in sources(ROOT).items():
        lines, is_code = [], False
        for line in source.read_text(encoding="utf-8").splitlines():
            is_code ^= line.lstrip().startswith("```")
            lines.append(line if is_code else adapted(line, source, folder))
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def adapted(line: str, source: Path, folder: Path) -> str:
    """A line of a page, outside blocks of code, as it is in the site."""
    if line.startswith("|"):  # code hosts want a bar in code escaped, Zensical shows the backslash
        line = CODE.sub(lambda match: match[0].replace("\\|", "|"), line)
    return LINK.sub(lambda match: relinked(match, source, folder), line)


def sources(root: Path) -> dict[Path, str]:
    """The file of each page -> its name in the site."""
    top = {root / name: renamed for name, renamed in TOP.items()}
    return top | {page: page.name for page in sorted((root / "docs").glob("*.md"))}


def relinked(match: re.Match[str], source: Path, folder: Path) -> str:
    """A link of a page, as it is in the site; a file that is linked to is copied. Raises `SiteError`."""
    target = match[2]
    if re.match(r"[a-z]+:", target):
        return match[0]
    place = (source.parent / target).resolve()
    page = sources(ROOT).get(place)
    if page is None:
        if place.suffix not in COPIED or not place.is_file():
            raise SiteError(f"{source.name}: the site has no {target}")
        page = f"files/{place.name}"
        (folder / "files").mkdir(exist_ok=True)
        shutil.copy(place, folder / page)
    return f"{match[1]}{page}{match[3]}"


def navigation() -> list[dict[str, list[dict[str, str]]]]:
    """Section -> title -> page, in order."""
    listed = {page for pages in NAV.values() for page in pages}
    missing = listed - set(GENERATED) - set(sources(ROOT).values())
    if missing:
        raise SiteError(f"the navigation has pages that do not exist: {', '.join(sorted(missing))}")
    more = tuple(name for name in sources(ROOT).values() if name not in listed)
    sections = NAV | {MORE: NAV[MORE] + more}
    return [{section: [{title(page): page} for page in pages]} for section, pages in sections.items()]


def title(page: str) -> str:
    """The title of a page in the navigation: its first heading, up to a colon."""
    if page in GENERATED:
        return {"reference/cli.md": "Command line", "reference/python.md": "Python"}[page]
    if page in TITLES:
        return TITLES[page]
    source = next(source for source, name in sources(ROOT).items() if name == page)
    heading = source.read_text(encoding="utf-8").split("\n", 1)[0]
    return heading.removeprefix("# ").split(":")[0]
