"""The part of a page that one can look around in: choose a layer and a patch, see that patch's row of A.

The weights are packed as bytes here; `resmlp.analysis.layers.explorer_assets` draws them.
"""

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from resmlp.analysis.layers.anatomy import Layer
from resmlp.analysis.layers.filters import Filters, rows, shown, used
from resmlp.analysis.page import element, text
from resmlp.nn import LinearMixer, SentenceMixer, TriangularMixer

BYTE = 127
LINE = 16  # positions of a sentence in a line
ROOM_FOR_NOTE = 300


def explorer(layers: Sequence[Layer], room: int) -> str:
    """HTML to look around in at most `room` bytes, to go with `STYLE` and `SCRIPT`; nothing where no layer has filters.

    Where not all layers and patches fit, there are fewer of them, evenly spread: at least half of the layers if every
    second patch down and across does it, or every third, ...
    """
    every = [layer for layer in layers if shown(layer.mixer, layer.grid) is not None]
    if not every:
        return ""
    room -= len(_html([], "")) + ROOM_FOR_NOTE
    for step in range(1, max(every[0].grid) + 1):
        count = min(len(every), room // max(_size(layer, step) for layer in (every[0], every[-1])))
        if 2 * count >= len(every):
            break
    else:
        return ""
    kept = [every[round(i)] for i in np.linspace(0, len(every) - 1, count)]
    left = [f"{count} of {len(every)} layers"] if count < len(every) else []
    left += [f"one of {step} patches down and across"] if step > 1 else []
    note = f"So that the page stays small it holds {' and '.join(left)}." if left else ""
    return _html([_packed(layer.name, _filters(layer, step)) for layer in kept], note)


def _filters(layer: Layer, step: int = 1) -> Filters:
    """All rows of a layer's matrix, or of one in `step` patches down and across; else what Figure 2 shows."""
    mixer, (height, width) = layer.mixer, layer.grid
    if isinstance(mixer, SentenceMixer | TriangularMixer):
        matrix, lines = used(mixer, layer.grid), -(-width // LINE)
        folded = np.pad(matrix, ((0, 0), (0, lines * LINE - width))).reshape(width, lines, LINE)
        return Filters(folded, range(width), LINE, "position", "")
    if isinstance(mixer, LinearMixer):
        numbers = [row * width + column for row in range(0, height, step) for column in range(0, width, step)]
        return rows(mixer.weight, layer.grid, numbers)._replace(columns=-(-width // step))
    found = shown(mixer, layer.grid)
    assert found is not None
    return found


def _size(layer: Layer, step: int) -> int:
    """Bytes of a layer on the page, or a few more; nothing is copied to learn it."""
    if type(layer.mixer) is LinearMixer:
        height, width = layer.grid
        count, cells = -(-height // step) * -(-width // step), height * width
    else:
        count, cells = (found := _filters(layer)).images.shape[0], found.images[0].size
    return -(-count * cells // 3) * 4 + 16 * count + 500


def _packed(name: str, filters: Filters) -> dict[str, Any]:
    """Filters as bytes with one scale, and what the page says of them."""
    count, height, width = filters.images.shape
    scale = float(np.abs(filters.images).max()) / BYTE or 1.0
    norms = np.linalg.norm(filters.images.reshape(count, -1), axis=1)
    central = count // filters.columns // 2 * filters.columns + filters.columns // 2
    return {
        "name": name,
        "item": filters.item,
        "own": filters.is_own,
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
    """The controls, the two canvases, and the weights."""
    holds = json.dumps({"layers": layers}, separators=(",", ":")).replace("<", "\\u003c")
    item = text(layers[0]["item"]) if layers else ""
    return f"""<p>Choose a layer, then point at a {item}, tap it, or use the arrow keys: beside it are its weights.</p>
{element("p", note, "faint")}
<div class="control">
<label for="layer">layer</label>
<input type="range" id="layer" min="0" max="{max(len(layers) - 1, 0)}" value="0" step="1">
<output id="name" for="layer"></output>
</div>
<div class="look">
<div><canvas id="choose" tabindex="0" role="application" aria-describedby="said"
aria-label="every {item}: the arrow keys choose one"></canvas>
<p class="faint">Every {item}; the stronger the color, the larger the norm of its weights.</p></div>
<div><canvas id="image" role="img"></canvas>
<p class="faint">Its weights: blue above zero, orange below, <span id="most"></span>.
<output id="under"></output></p></div>
</div>
<p id="said" role="status" aria-live="polite"></p>
<details id="all"><summary>All its weights as numbers</summary><div class="scroll" id="values" tabindex="0"
aria-label="all weights"></div></details>
<script type="application/json" id="weights">{holds}</script>"""
