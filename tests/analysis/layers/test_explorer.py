"""The interactive page in a browser: pointer, slider and keys show the weights of the matrices."""

import json
import re
import shutil
import subprocess

import pytest
import torch

from resmlp.analysis.layers.anatomy import of_translator, of_trunk
from resmlp.analysis.layers.explorer import explorer
from resmlp.analysis.layers.explorer_assets import SCRIPT, STYLE
from resmlp.analysis.layers.inspection_page import LARGEST
from resmlp.analysis.page import page
from resmlp.inference.translator import open_translator
from resmlp.nn import convolution_matrix

from .networks import GRID, TOKENS, mixers, network

LISTEN = """<script>
const failures = [];
addEventListener("error", event => failures.push(String(event.message)));
addEventListener("securitypolicyviolation", event => failures.push(event.violatedDirective));
for (const kind of ["error", "warn"]) console[kind] = (...words) => failures.push(words.join(" "));
</script>"""

DRIVE = """<script>
const seen = {};
const note = name => { seen[name] = document.getElementById("sentence").textContent; };
const at = (id, column, row, columns, rows, kind) => {
  const canvas = document.getElementById(id), box = canvas.getBoundingClientRect();
  canvas.dispatchEvent(new PointerEvent(kind, {bubbles: true,
    clientX: box.left + (column + 0.5) * box.width / columns, clientY: box.top + (row + 0.5) * box.height / rows}));
};
const press = key => {
  document.getElementById("choose").dispatchEvent(new KeyboardEvent("keydown", {key, cancelable: true}));
};
const dot = (column, row, columns, rows) => {  // reads a copy: repeated reads of a canvas cause a warning
  const canvas = document.getElementById("image"), x = (column + 0.5) * canvas.width / columns;
  const pen = document.createElement("canvas").getContext("2d");
  pen.drawImage(canvas, -x, -(row + 0.5) * canvas.height / rows);
  return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const slide = number => {
  const slider = document.getElementById("layer");
  slider.value = number;
  slider.dispatchEvent(new Event("input"));
};
STEPS
seen.failures = failures;
seen.wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
const report = document.createElement("pre");
report.id = "report";
report.textContent = JSON.stringify(seen);
document.body.append(report);
</script>"""


@pytest.fixture(scope="session")
def browser() -> str:
    """The path of Chromium; without it the tests are skipped."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return path or pytest.skip("chromium is not installed")


@pytest.fixture
def drive(browser, tmp_path):
    """`drive(page, steps)` opens a page 360 pixels wide, runs JavaScript `steps`, and returns the recorded values."""

    def run(html: str, steps: str) -> dict:
        driven = html.replace("<main>", LISTEN + "<main>").replace("</body>", DRIVE.replace("STEPS", steps) + "</body>")
        (tmp_path / "driven.html").write_text(driven, encoding="utf-8")
        home = f"--user-data-dir={tmp_path / 'browser'}"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=360,800", "--virtual-time-budget=3000"]
        command = [browser, *flags, home, "--enable-logging=stderr", "--dump-dom", f"file://{tmp_path}/driven.html"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=200)
        assert "CONSOLE" not in ended.stderr, ended.stderr
        match = re.search(r'<pre id="report">(.*?)</pre>', ended.stdout, re.DOTALL)
        assert match, ended.stderr
        seen = json.loads(match[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
        assert seen.pop("failures") == []
        assert not seen.pop("wide"), "the page is wider than a phone"
        return seen

    return run


def shifted(columns: int) -> torch.Tensor:
    """The matrix that maps each patch to the patch `columns` to its right, times -2 in the first row of patches."""
    kernel = torch.zeros(7, 7)
    kernel[3, 3 + columns] = 1
    matrix = convolution_matrix(kernel, GRID)
    matrix[: GRID[1]] *= -2
    return matrix


def test_hover_slider_and_keys(drive):
    trunk = network()
    with torch.no_grad():
        for columns, mixer in enumerate(mixers(trunk), 1):
            mixer.weight.copy_(shifted(columns))
    html = page("Inside", [explorer(of_trunk(trunk).layers, LARGEST)], STYLE, SCRIPT)
    h, w = GRID
    seen = drive(
        html,
        f"""note("start");
        slide(2); note("slid");
        seen.label = document.getElementById("layer").getAttribute("aria-valuetext");
        at("choose", 4, 2, {w}, {h}, "pointermove"); note("hovered");
        seen.blue = dot(7, 2, {w}, {h}); seen.white = dot(6, 2, {w}, {h});
        at("image", 7, 2, {w}, {h}, "pointermove"); seen.under = document.getElementById("under").textContent;
        at("choose", 9, 8, {w}, {h}, "pointerdown"); note("empty");
        at("choose", 2, 0, {w}, {h}, "pointerdown"); note("tapped"); seen.orange = dot(5, 0, {w}, {h});
        press("ArrowUp"); note("above");
        press("ArrowDown"); press("ArrowRight"); note("pressed");
        press("Home"); note("home"); press("End"); press("Tab"); note("end");
        press("Home"); slide(0); note("back");
        document.getElementById("all").open = true; list();
        seen.cells = [...document.querySelectorAll("#values td")].map(cell => cell.textContent);""",
    )
    cells = seen.pop("cells")
    assert len(cells) == TOKENS
    assert [i for i, cell in enumerate(cells) if cell != "0"] == [1]
    assert cells[1] == "−2.00"  # noqa: RUF001
    one = "strongest weights at row {} column {} ({})."
    assert seen == {
        "start": "patch row 4 column 5, layer 0: " + one.format(4, 6, "+1.01"),
        "slid": "patch row 4 column 5, layer 2: " + one.format(4, 8, "+1.01"),
        "label": "layer 2",
        "hovered": "patch row 2 column 4, layer 2: " + one.format(2, 7, "+1.01"),
        "blue": [0, 114, 178],
        "white": [255, 255, 255],
        "under": "row 2 column 7: +1.01",
        "empty": "patch row 8 column 9, layer 2: all weights round to zero.",
        "tapped": "patch row 0 column 2, layer 2: " + one.format(0, 5, "−2.00"),  # noqa: RUF001
        "orange": [201, 80, 10],
        "above": "patch row 0 column 2, layer 2: " + one.format(0, 5, "−2.00"),  # noqa: RUF001
        "pressed": "patch row 1 column 3, layer 2: " + one.format(1, 6, "+1.01"),
        "home": "patch row 0 column 0, layer 2: " + one.format(0, 3, "−2.00"),  # noqa: RUF001
        "end": "patch row 8 column 10, layer 2: all weights round to zero.",
        "back": "patch row 0 column 0, layer 0: " + one.format(0, 1, "−2.00"),  # noqa: RUF001
    }


def test_sentences_and_thinned_grids(drive, translator_run):
    anatomy = of_translator(open_translator(translator_run).model)
    with torch.no_grad():
        mixer = anatomy.layers[1].mixer
        mixer.weight.zero_()
        mixer.weight[20, 17] = 0.5
        mixer.weight[20, 21] = 9.0  # above the diagonal: not a weight
    html = page("Inside", [explorer(anatomy.layers, LARGEST)], STYLE, SCRIPT)
    seen = drive(html, 'slide(1); at("choose", 4, 1, 16, 2, "pointermove"); note("sentence");')
    assert seen["sentence"] == "position 20, decoder layer 0: strongest weights at position 17 (+0.500)."

    trunk = network()
    with torch.no_grad():
        for columns, mixer in enumerate(mixers(trunk), 1):
            mixer.weight.copy_(shifted(columns))
    thin = explorer(of_trunk(trunk).layers, 13_000)
    assert "it has 2 of 3 layers and one of 2 patches down and across" in thin
    seen = drive(
        page("Inside", [thin], STYLE, SCRIPT), 'slide(1); at("choose", 1, 2, 6, 5, "pointermove"); note("sentence");'
    )
    assert seen["sentence"] == "patch row 4 column 2, layer 2: strongest weights at row 4 column 5 (+1.01)."


@pytest.mark.parametrize(("changes", "start"), [({"mixer": "mlp"}, "hidden unit "), ({"mixer": "conv3x3"}, "kernel ")])
def test_other_mixers(changes, start, drive):
    layers = of_trunk(network(**changes)).layers
    html = page("Inside", [explorer(layers, LARGEST)], STYLE, SCRIPT)
    seen = drive(html, 'press("End"); note("end"); slide(2); note("slid");')
    assert seen["end"].startswith(start)
    assert seen["slid"].startswith(start)
    assert "layer 2: strongest weights at row " in seen["slid"]


@pytest.mark.parametrize("limit", [0, 3_000, 6_000, 10_000, 20_000, 50_000, 100_000])
def test_the_size_is_limited(limit):
    layers = of_trunk(network(depth=5)).layers
    assert len(explorer(layers, limit)) <= limit
    assert not explorer(of_trunk(network(mixer="none")).layers, LARGEST)
