"""Build the site of the documentation from README.md, docs/*.md and the package: python docs/website/build.py [FOLDER].

FOLDER is site/ by default, and is replaced. `pages`, `cli` and `api` put the pages together, Zensical renders them, and
`check` looks at what came out. A warning of any of them is an error. Needs no network.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import api
import check
import cli
from pages import ROOT, SiteError, navigation, stage

HERE = Path(__file__).parent
REMOTE = "https://unpkg.com/iframe-worker/shim"
"""what Zensical's plugin `offline` would load"""
WORKER = """if (location.protocol === "file:") {
  const address = URL.createObjectURL(new Blob([TEXT], {type: "text/javascript"}));
  window.Worker = class extends Worker { constructor() { super(address); } };
}
"""


def main() -> int:
    """Return 0, or 1 if the site could not be built or has a fault."""
    site = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "site"
    try:
        with tempfile.TemporaryDirectory() as folder:
            prepare(Path(folder))
            render(Path(folder), site)
    except SiteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    problems = list(check.problems(site))
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if not problems:
        print(f"{site / 'index.html'}: {len(list(site.rglob('*.html')))} pages")
    return int(bool(problems))


def prepare(folder: Path) -> None:
    """Write the settings and all pages of the site into an empty folder."""
    pages = folder / "pages"
    (pages / "reference").mkdir(parents=True)
    stage(pages)
    (pages / "reference" / "cli.md").write_text(cli.page(), encoding="utf-8")
    (pages / "reference" / "python.md").write_text(api.page(), encoding="utf-8")
    shutil.copy(HERE / "style.css", pages)
    sections = ",\n".join(f"  {{ {json.dumps(name)} = [{entries(pages)}] }}" for name, pages in named(navigation()))
    settings = (HERE / "zensical.toml").read_text(encoding="utf-8")
    settings = settings.replace("nav = []", f"nav = [\n{sections},\n]")
    (folder / "zensical.toml").write_text(settings, encoding="utf-8")


def named(sections: list[dict[str, list[dict[str, str]]]]) -> list[tuple[str, list[dict[str, str]]]]:
    """The sections as pairs of a name and its pages."""
    return [pair for section in sections for pair in section.items()]


def entries(pages: list[dict[str, str]]) -> str:
    """Pages of the navigation as TOML."""
    return ", ".join(
        f"{{ {json.dumps(title)} = {json.dumps(page)} }}" for each in pages for title, page in each.items()
    )


def render(folder: Path, site: Path) -> None:
    """Let Zensical write the site, and move it to its place. Raises `SiteError` with what it printed."""
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"})
    said = ended.stdout + ended.stderr
    if ended.returncode or "warning" in said.lower():
        raise SiteError(f"the site cannot be rendered:\n{said}")
    make_local(folder / "site")
    shutil.rmtree(site, ignore_errors=True)
    shutil.move(folder / "site", site)


def make_local(site: Path) -> None:
    """Make the pages work from the disk: Zensical takes the search there from unpkg.com, and the logo to a folder.

    Browsers start no worker from a file, but they start one from text; so the text of the worker is in a script.
    """
    workers = list(site.glob("assets/javascripts/workers/search.*.js"))
    if len(workers) != 1:
        raise SiteError(f"{len(workers)} search workers in the rendered site (see make_local)")
    text = json.dumps(workers[0].read_text(encoding="utf-8").split("\n//# sourceMappingURL")[0])
    (site / "assets" / "javascripts" / "worker.js").write_text(WORKER.replace("TEXT", text), encoding="utf-8")
    for page in site.rglob("*.html"):
        up = "../" * (len(page.relative_to(site).parts) - 1)
        html = page.read_text(encoding="utf-8")
        html = html.replace(REMOTE, f"{up}assets/javascripts/worker.js").replace('href="./.."', 'href="../index.html"')
        page.write_text(html, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
