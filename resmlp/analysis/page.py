"""HTML of a report: one self-contained page for light and dark mode, wide screens and phones.

`page` and the functions below it return HTML, and escape their text arguments.
"""

import base64
import html
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from resmlp.analysis.curves import is_number
from resmlp.utils.errors import printable

Remarks = Sequence[tuple[str, str]]

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'$policy">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
:root { --ink: #1b2530; --faint: #5c6975; --rule: #dfe4e8; --page: #ffffff; --panel: #f5f7f9; --good: #00754f;
  --bad: #b4460a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9ee; --faint: #9aa7b3; --rule: #33404b; --page: #12181e; --panel: #1b242c; --good: #4cc79a;
    --bad: #f0905a; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif;
  overflow-wrap: anywhere; }
main { max-width: 46rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { margin: 0; font-size: 2rem; line-height: 1.2; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.15rem; }
p { margin: .35rem 0; }
.faint, figcaption, dt, th { color: var(--faint); }
.note { margin: 1rem 0; padding: .6rem .9rem; border-left: 3px solid var(--bad); background: var(--panel); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1.1rem 1.5rem;
  margin: 1.75rem 0 0; }
dt { font-size: .85rem; }
dd { margin: 0; font-size: 1.05rem; font-variant-numeric: tabular-nums; }
dd small { display: block; color: var(--faint); font-size: .85rem; font-weight: 400; line-height: 1.4; }
dd small.good { color: var(--good); }
dd small.bad { color: var(--bad); }
dl.main { grid-template-columns: repeat(auto-fill, minmax(13rem, max-content)); }
dl.main dd { font-size: 2.1rem; font-weight: 650; line-height: 1.3; }
figure { margin: 0 0 1.5rem; }
img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
figcaption { margin-top: .4rem; font-size: .85rem; }
dl + p { margin-top: 1.25rem; font-size: .85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1rem .3rem 0; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
th { font-weight: 500; }
tr.best td { font-weight: 650; }
summary { cursor: pointer; padding: .4rem 0; }
pre { margin: 0; padding: .8rem 1rem; background: var(--panel); border-radius: 6px; overflow-x: auto;
  font: .875rem/1.6 ui-monospace, monospace; }
$style</style>
</head>
<body>
<main>
$body
</main>
$script</body>
</html>
""")


def text(value: object) -> str:
    """Escape `value`: names and paths are untrusted."""
    return html.escape(printable(str(value)))


def number(value: Any) -> str:
    """Format a metric: four decimals up to 1 in magnitude, else two; an en dash if it is not a finite number."""
    if not is_number(value):
        return "–"
    return f"{value:.4f}" if abs(value) <= 1 else f"{value:,.2f}"


def duration(seconds: float) -> str:
    """Format seconds by the two largest units: 4 min 35 s, 2 h 5 min, 3 d 4 h."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts = parts[1:]
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count) or "0 s"


def page(title: str, parts: Iterable[str], style: str = "", script: str = "") -> str:
    """A whole page without its empty parts. Its content security policy forbids scripts unless `script` is given."""
    policy = "; script-src 'unsafe-inline'" if script else ""
    script = f"<script>\n{script}</script>\n" if script else ""
    body = "\n".join(part for part in parts if part)
    return PAGE.substitute(title=text(title), body=body, policy=policy, style=style, script=script)


def element(tag: str, content: object, kind: str = "") -> str:
    """`<tag class="kind">content</tag>`; "" without content."""
    of = f' class="{kind}"' if kind else ""
    return f"<{tag}{of}>{text(content)}</{tag}>" if str(content) else ""


def section(title: str, *parts: str) -> str:
    """A heading over its parts; "" if all parts are empty."""
    content = "\n".join(part for part in parts if part)
    return f"<section>\n{element('h2', title)}\n{content}\n</section>" if content else ""


def details(title: str, content: str, opened: bool = False) -> str:
    """Collapsible content under its title; "" without content."""
    state = " open" if opened else ""
    return f"<details{state}>\n{element('summary', title)}\n{content}\n</details>" if content else ""


def facts(rows: Iterable[tuple[str, object, Remarks]], kind: str = "") -> str:
    """A description list: name, value, and remarks, each with its CSS class; "" without rows."""
    items = []
    for name, value, remarks in rows:
        small = "".join(element("small", remark, of) for remark, of in remarks)
        items.append(f"<div>{element('dt', name)}<dd>{text(value)}{small}</dd></div>")
    of = f' class="{kind}"' if kind else ""
    return f"<dl{of}>\n" + "\n".join(items) + "\n</dl>" if items else ""


def table(head: Sequence[str], rows: Sequence[Sequence[object]], best: int | None = None) -> str:
    """A table that scrolls on narrow screens, with row number `best` in bold; "" without rows."""
    if not rows:
        return ""
    top = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    lines = [f"<thead><tr>{top}</tr></thead>", "<tbody>"]
    for number, row in enumerate(rows):
        cells = "".join(element("td", cell) or "<td></td>" for cell in row)
        lines.append(f'<tr class="best">{cells}</tr>' if number == best else f"<tr>{cells}</tr>")
    return '<div class="scroll"><table>\n' + "\n".join(lines) + "\n</tbody></table></div>"


def code(lines: Iterable[str]) -> str:
    """A block of commands to copy."""
    content = "\n".join(text(line) for line in lines)
    return f"<pre><code>{content}</code></pre>" if content else ""


def image(path: Path, alt: str, caption: str) -> str:
    """A PNG file embedded in the page; "" if the file is not a PNG."""
    data = path.read_bytes()
    if data[:8] != b"\x89PNG\r\n\x1a\n" or len(data) < 24:
        return ""
    width, height = struct.unpack(">II", data[16:24])
    shown = min(width, 700)
    size = f'width="{shown}" height="{round(height * shown / max(width, 1))}"'
    source = f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
    return f'<figure>\n<img {size} alt="{text(alt)}" src="{source}">\n{element("figcaption", caption)}\n</figure>'
