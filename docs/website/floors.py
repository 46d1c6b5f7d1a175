"""Draw the floors of the package from the layers in pyproject.toml: docs/floors.svg.

The picture follows the colors of the page that shows it, light or dark.
"""

import sys
import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SVG = ROOT / "docs" / "floors.svg"
WIDTH, HEIGHT, GAP, MARGIN, LABEL = 760, 40, 10, 8, 36
"""pixels: of the picture, of a floor, between floors and rooms, around all, for the number of a floor"""
STYLE = """
  text { font: 15px system-ui, "Segoe UI", sans-serif; fill: #1b2530; }
  .number { font-size: 13px; fill: #5c6975; }
  rect { fill: #f4f6f8; stroke: #c3cbd3; }
  path { stroke: #0069a6; fill: none; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4e9ee; }
    .number { fill: #98a5b1; }
    rect { fill: #171f27; stroke: #3b4955; }
    path { stroke: #58b4ea; }
  }
"""


def layers(root: Path) -> list[list[str]]:
    """The packages of each floor, the highest floor first."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    contract = settings["tool"]["importlinter"]["contracts"][0]
    return [floor.split(" | ") for floor in contract["layers"]]


def drawn(floors: list[list[str]]) -> str:
    """The SVG: a row of rooms for each floor, and one arrow, the direction of imports."""
    height = len(floors) * (HEIGHT + GAP) - GAP + 2 * MARGIN
    listed = "; ".join(f"{len(floors) - i} {', '.join(rooms)}" for i, rooms in enumerate(floors))
    end = height - MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>The floors of the package; imports only point down</title><desc>{escape(listed)}</desc>",
        f"<style>{STYLE}</style>",
        *(
            part
            for i, rooms in enumerate(floors)
            for part in floor(len(floors) - i, rooms, MARGIN + i * (HEIGHT + GAP))
        ),
        f'<path d="M{WIDTH - 14} {MARGIN} V{end} m-6 -9 l6 9 l6 -9"/>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def floor(number: int, rooms: list[str], top: int) -> Iterator[str]:
    """The number of a floor and its rooms, of equal width."""
    middle = top + HEIGHT / 2 + 5
    yield f'<text class="number" x="{LABEL - 16}" y="{middle:g}" text-anchor="end">{number}</text>'
    width = (WIDTH - LABEL - 40 - GAP * (len(rooms) - 1)) / len(rooms)
    for i, room in enumerate(rooms):
        left = LABEL + i * (width + GAP)
        yield f'<rect x="{left:g}" y="{top}" width="{width:.1f}" height="{HEIGHT}" rx="5"/>'
        yield f'<text x="{left + width / 2:.1f}" y="{middle:g}" text-anchor="middle">{escape(room)}</text>'


def main() -> int:
    """Write the picture; with --check, return 1 if it is stale."""
    fresh = drawn(layers(ROOT))
    if "--check" not in sys.argv:
        SVG.write_text(fresh, encoding="utf-8")
    elif not SVG.is_file() or SVG.read_text(encoding="utf-8") != fresh:
        print("error: stale docs/floors.svg (run: make docs)", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
