"""The interactive part of a report: choose a layer and a patch, and see the row of A for that patch.

This module packs the weights as bytes; `resmlp.analysis.layers.explorer_assets` draws them in the browser.
"""

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from resmlp.analysis.layers.anatomy import Layer
from resmlp.analysis.layers.filters import Filters, filters_of, rows, used_matrix
from resmlp.analysis.page import element, text
from resmlp.nn import LinearMixer, SentenceMixer, TriangularMixer

BYTE = 127  # largest magnitude of a packed weight
LINE = 16  # positions of a sentence in a line
NOTE = 300  # bytes reserved for the note


def explorer(layers: Sequence[Layer], limit: int) -> str:
    """HTML of at most `limit` bytes, for a page with `STYLE` and `SCRIPT`; "" if no layer has filters, or none fits.

    If not all layers and patches fit, it has an evenly spaced part of them: at least half of the layers, with every
    second (third, ...) row and column of patches.
    """
    every = [layer for layer in layers if filters_of(layer.mixer, layer.grid) is not None]
    if not every:
        return ""
    limit -= len(_html([], "")) + NOTE
    for step in range(1, max(every[0].grid) + 1):
        count = min(len(every), limit // max(_size(layer, step) for layer in (every[0], every[-1])))
        if 2 * count >= len(every):
            break
    else:
        return ""
    kept = [every[round(i)] for i in np.linspace(0, len(every) - 1, count)]
    parts = [f"{count} of {len(every)} layers"] if count < len(every) else []
    parts += [f"one of {step} patches down and across"] if step > 1 else []
    note = f"To keep the page small, it has {' and '.join(parts)}." if parts else ""
    return _html([_packed(layer.name, _filters(layer, step)) for layer in kept], note)


def _filters(layer: Layer, step: int = 1) -> Filters:
    """The rows of a linear mixer, for one in `step` patches down and across; for other mixers, Figure 2's filters."""
    mixer, (height, width) = layer.mixer, layer.grid
    if isinstance(mixer, SentenceMixer | TriangularMixer):
        matrix, lines = used_matrix(mixer, layer.grid), -(-width // LINE)
        folded = np.pad(matrix, ((0, 0), (0, lines * LINE - width))).reshape(width, lines, LINE)
        return Filters(folded, range(width), LINE, "position", "")
    if isinstance(mixer, LinearMixer):
        numbers = [row * width + column for row in range(0, height, step) for column in range(0, width, step)]
        return rows(mixer.weight, layer.grid, numbers)._replace(columns=-(-width // step))
    filters = filters_of(mixer, layer.grid)
    assert filters is not None
    return filters


def _size(layer: Layer, step: int) -> int:
    """Upper bound of the bytes of a layer on the page; computed without a copy of the weights."""
    if type(layer.mixer) is LinearMixer:
        height, width = layer.grid
        count, cells = -(-height // step) * -(-width // step), height * width
    else:
        images = _filters(layer).images
        count, cells = len(images), images[0].size
    return -(-count * cells // 3) * 4 + 16 * count + 500


def _packed(name: str, filters: Filters) -> dict[str, Any]:
    """Filters as signed bytes with one scale, and their labels on the page."""
    count, height, width = filters.images.shape
    scale = float(np.abs(filters.images).max()) / BYTE or 1.0
    norms = np.linalg.norm(filters.images.reshape(count, -1), axis=1)
    central = count // filters.columns // 2 * filters.columns + filters.columns // 2
    return {
        "name": name,
        "item": filters.item,
        "tokens": filters.has_tokens,
        "height": height,
        "width": width,
        "columns": filters.columns,
        "numbers": list(filters.numbers),
        "start": central if filters.item == "patch" else 0,
        "scale": scale,
        "norms": [round(float(norm), 3) for norm in norms / (norms.max() or 1.0)],
        "values": base64.b64encode(np.rint(filters.images / scale).astype(np.int8).tobytes()).decode("ascii"),
    }


def _html(layers: Sequence[dict[str, Any]], note: str) -> str:
    """The slider, the two canvases, and the weights as JSON."""
    data = json.dumps({"layers": layers}, separators=(",", ":")).replace("<", "\\u003c")
    item = text(layers[0]["item"]) if layers else ""
    return f"""<p>Choose a layer, then point at a {item}, tap it, or use the arrow keys to see its weights.</p>
{element("p", note, "faint")}
<div class="control">
<label for="layer">layer</label>
<input type="range" id="layer" min="0" max="{max(len(layers) - 1, 0)}" value="0" step="1">
<output id="name" for="layer"></output>
</div>
<div class="look">
<div><canvas id="choose" tabindex="0" role="application" aria-describedby="sentence"
aria-label="every {item}; choose one with the arrow keys"></canvas>
<p class="faint">Every {item}; a stronger color is a larger norm of its weights.</p></div>
<div><canvas id="image" role="img"></canvas>
<p class="faint">Its weights: blue is positive, orange is negative, <span id="most"></span>.
<output id="under"></output></p></div>
</div>
<p id="sentence" role="status" aria-live="polite"></p>
<details id="all"><summary>All weights as numbers</summary><div class="scroll" id="values" tabindex="0"
aria-label="all weights"></div></details>
<script type="application/json" id="weights">{data}</script>"""
