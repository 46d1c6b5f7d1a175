"""All there is to see of a network's layers: figures, numbers, and one page to look around in."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from resmlp.analysis.layers import alt_text
from resmlp.analysis.layers.anatomy import Anatomy, Layer
from resmlp.analysis.layers.explorer import explorer
from resmlp.analysis.layers.explorer_assets import SCRIPT, STYLE
from resmlp.analysis.layers.filters import draw_filters, shown
from resmlp.analysis.layers.receptive_field import (
    MOST,
    distance_curve,
    draw_distances,
    draw_fields,
    draw_radii,
    radius,
    receptive_fields,
)
from resmlp.analysis.layers.scales import Scales, draw_scales, scales
from resmlp.analysis.layers.sparsity import draw_sparsity, sparsity
from resmlp.analysis.page import element, image, number, page, section, table
from resmlp.nn import LinearMixer
from resmlp.utils.errors import counted
from resmlp.utils.files import write_json, write_text

LARGEST = 3_000_000
"""bytes of the page"""
FEWEST = 3  # patches of a grid's longer side, below which there is no distance to speak of


class Figure(NamedTuple):
    """A figure that was drawn, and what it says in words."""

    path: Path
    title: str
    caption: str
    values: str
    """a sentence of its numbers, for those who do not see it"""


class Findings(NamedTuple):
    """What was measured of each layer."""

    layers: Sequence[Layer]
    sparsity: list[dict[str, dict[str, float]]]
    scales: list[Scales]
    fields: np.ndarray | None
    """L h w, the receptive fields; None of a network that translates"""

    def numbers(self) -> list[dict[str, Any]]:
        """An object for each layer, as `inspect.json` has it."""
        found = []
        for i, layer in enumerate(self.layers):
            entry: dict[str, Any] = {"layer": layer.number, "name": layer.name, "tokens": list(layer.grid)}
            entry |= {"sparsity": self.sparsity[i], "scales": self.scales[i]}
            if (curve := distance_curve(layer)) is not None:
                weights = [float(f"{weight:.6g}") for weight in curve.weights]
                distances = [float(f"{distance:.6g}") for distance in curve.distances]
                entry["distance"] = {"mean": curve.mean, "distances": distances, "weights": weights}
            if self.fields is not None:
                entry["radius"] = radius(self.fields[i])
            found.append(entry)
        return found


def inspect(
    anatomy: Anatomy, out: Path, layers: Sequence[int] = (), threshold: float = 0.05, images: Iterable[Tensor] = ()
) -> dict[str, Any]:
    """Look at every layer of a network, draw the chosen `layers`, and write all into the folder `out`.

    `images` are inputs 3 H W for the receptive fields of a network that sees. Returns what `inspect.json` holds. Raises
    `UserError` for a layer that is not there, and where the disk refuses.
    """
    chosen = anatomy.choose(layers)
    fields = None if anatomy.trunk is None else receptive_fields(anatomy.trunk, images)
    every = anatomy.layers
    found = Findings(every, [sparsity(layer, threshold) for layer in every], [scales(layer) for layer in every], fields)
    figures = list(draw(anatomy, found, chosen, threshold, out))
    result = {
        "source": anatomy.source,
        "model": anatomy.name,
        "mixer": anatomy.mixer,
        "trained": anatomy.trained,
        "threshold": threshold,
        "drawn": [layer.number for layer in chosen],
        "figures": [figure.path.name for figure in figures],
        "notes": notes(anatomy),
        "layers": found.numbers(),
    }
    write_json(out / "inspect.json", result)
    write_text(out / "report.html", report(anatomy, result, figures))
    return result


def notes(anatomy: Anatomy) -> list[str]:
    """What to know of this network, a sentence each."""
    found = []
    if not anatomy.trained:
        found.append("These weights are random: nothing has been trained.")
    if anatomy.local:
        found.append(
            "Its token mixers started as 3x3 convolutions (init local): weights near the own patch were given to it."
        )
    height, width = anatomy.layers[0].grid
    if height * width > MOST and isinstance(anatomy.layers[0].mixer, LinearMixer):
        found.append(f"Weights by distance are left out: {height} x {width} tokens are more than {MOST:,}.")
    if all(shown(layer.mixer, layer.grid) is None for layer in anatomy.layers):
        found.append(f"Its token mixing ({anatomy.mixer}) has no matrix over places: there are no filters to draw.")
    return found


def draw(anatomy: Anatomy, found: Findings, chosen: Sequence[Layer], threshold: float, out: Path) -> Iterable[Figure]:
    """Write each figure that this network has."""
    path = out / "filters.png"
    if draw_filters(chosen, path):
        views = [filters for layer in chosen if (filters := shown(layer.mixer, layer.grid))]
        caption = f"Of each layer {views[0].what}. Blue is above zero, orange below; each layer has its own scale."
        yield Figure(path, "Weights of the token mixer", caption, alt_text.of_filters(chosen))
    path = out / "sparsity.png"
    draw_sparsity(found.sparsity, threshold, path)
    caption = "Of each matrix: the weights that are small beside its largest, and those that 4-bit numbers make 0."
    yield Figure(path, "How many weights are small", caption, alt_text.of_sparsity(found.sparsity))
    path = out / "distance.png"
    if max(anatomy.layers[0].grid) >= FEWEST and draw_distances(chosen, path):
        caption = "1 is the mean of all pairs: no preference."
        yield Figure(path, "How weights fall with distance", caption, alt_text.of_distances(chosen))
    if found.fields is not None:
        path = out / "receptive_fields.png"
        draw_fields(found.fields, chosen, path)
        caption = "The derivative of the central token after a layer with respect to the tokens of the stem."
        yield Figure(path, "Effective receptive fields", caption, alt_text.of_fields(found.fields, chosen))
        path = out / "radius.png"
        draw_radii(found.fields, path)
        caption = "Root mean square distance, weighted by the derivative."
        yield Figure(path, "How far the central token sees", caption, alt_text.of_radii(found.fields))
    path = out / "scales.png"
    if draw_scales(found.scales, path):
        caption = "Mean magnitudes over the channels of each branch."
        yield Figure(path, "Affine and LayerScale", caption, alt_text.of_scales(found.scales))


def report(anatomy: Anatomy, result: dict[str, Any], figures: Sequence[Figure]) -> str:
    """The page: the explorer, the figures, and the numbers as a table; at most 3 MB."""
    grids = sorted({layer.grid for layer in anatomy.layers})
    tokens = " and ".join(f"{h} x {w} patches" if anatomy.trunk else f"{w} positions" for h, w in grids)
    about = f"{counted(len(anatomy.layers), 'layer')}, token mixing: {anatomy.mixer}, {tokens}. All counts begin at 0."
    head = [
        element("h1", f"Inside {anatomy.title}"),
        element("p", about, "faint"),
        *(element("p", note, "note") for note in result["notes"]),
    ]
    drawn = [
        section(figure.title, image(figure.path, f"{figure.title}. {figure.caption} {figure.values}", figure.caption))
        for figure in figures
    ]
    rest = [*drawn, section("Numbers", numbers_table(result["layers"]))]
    room = LARGEST - len(page("", [*head, *rest], STYLE, SCRIPT).encode())
    live = explorer(anatomy.layers, room)
    if not live:
        return page(f"Inside {anatomy.title}", [*head, *rest])
    return page(f"Inside {anatomy.title}", [*head, section("Look around", live), *rest], STYLE, SCRIPT)


def numbers_table(layers: Sequence[dict[str, Any]]) -> str:
    """A row for each layer: shares of small weights, mean distance, radius, scales."""
    rows: list[dict[str, float]] = []
    for layer in layers:
        row = {f"{name} small": shares["small"] for name, shares in layer["sparsity"].items()}
        row |= {f"{name} 0 in 4 bits": shares["zero_in_4_bit"] for name, shares in layer["sparsity"].items()}
        row |= {"mean distance": layer["distance"]["mean"]} if "distance" in layer else {}
        row |= {"radius": layer["radius"]} if "radius" in layer else {}
        for branch, parts in layer["scales"].items():
            row |= {f"{branch} {part}": value for part, value in parts.items()}
        rows.append(row)
    head = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[layer["name"], *(number(row.get(name)) for name in head)] for layer, row in zip(layers, rows)]
    return table(["layer", *head], cells)
