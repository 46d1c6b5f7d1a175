"""The figures and the HTML page of `resmlp.inspect`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from resmlp.analysis.layers import alt_text
from resmlp.analysis.layers.anatomy import Anatomy, Layer
from resmlp.analysis.layers.explorer import explorer
from resmlp.analysis.layers.explorer_assets import SCRIPT, STYLE
from resmlp.analysis.layers.filters import draw_filters, filters_of
from resmlp.analysis.layers.measurements import LayerNumbers, Measurements
from resmlp.analysis.layers.receptive_field import draw_distances, draw_fields, draw_radii
from resmlp.analysis.layers.scales import draw_scales
from resmlp.analysis.layers.sparsity import draw_sparsity
from resmlp.analysis.page import element, image, number, page, section, table
from resmlp.utils.errors import counted

LARGEST = 3_000_000
"""bytes of the page"""
FEWEST = 3  # patches on the longer side of a grid, for a figure of distances


class Figure(NamedTuple):
    """A drawn figure with its texts."""

    path: Path
    title: str
    caption: str
    numbers: str
    """a sentence of its numbers, for the alternative text"""


def draw_figures(
    anatomy: Anatomy, measured: Measurements, chosen: Sequence[Layer], threshold: float, out: Path
) -> Iterator[Figure]:
    """Draw every figure that applies to this network into the folder `out`."""
    path = out / "filters.png"
    if draw_filters(chosen, path):
        views = [filters for layer in chosen if (filters := filters_of(layer.mixer, layer.grid))]
        caption = (
            f"For each layer, {views[0].caption}. Blue: positive, orange: negative; one color scale for each layer."
        )
        yield Figure(path, "Weights of the token mixer", caption, alt_text.of_filters(chosen))
    path = out / "sparsity.png"
    draw_sparsity(measured.sparsity, threshold, path)
    caption = "In each matrix: small weights compared with the largest, and weights that 4-bit numbers round to 0."
    yield Figure(path, "How many weights are small", caption, alt_text.of_sparsity(measured.sparsity))
    path = out / "distance.png"
    if max(anatomy.layers[0].grid) >= FEWEST and draw_distances(chosen, path):
        caption = "1 is the mean over all pairs: no preference."
        yield Figure(path, "Weights by distance", caption, alt_text.of_distances(chosen))
    if measured.fields is not None:
        path = out / "receptive_fields.png"
        draw_fields(measured.fields, chosen, path)
        caption = "Derivative of the central token after a layer with respect to the patch embeddings."
        yield Figure(path, "Effective receptive fields", caption, alt_text.of_fields(measured.fields, chosen))
        path = out / "radius.png"
        draw_radii(measured.fields, path)
        caption = "Root mean square distance from the central token, weighted by the derivative."
        yield Figure(path, "Radius of the receptive field", caption, alt_text.of_radii(measured.fields))
    path = out / "scales.png"
    if draw_scales(measured.scales, path):
        caption = "Mean magnitudes over the channels of each branch."
        yield Figure(path, "Affine and LayerScale", caption, alt_text.of_scales(measured.scales))


def render(anatomy: Anatomy, notes: Sequence[str], numbers: Sequence[LayerNumbers], figures: Sequence[Figure]) -> str:
    """The page, at most 3 MB: the explorer, the figures, and a table of the numbers."""
    grids = sorted({layer.grid for layer in anatomy.layers})
    tokens = " and ".join(f"{h} x {w} patches" if anatomy.trunk else f"{w} positions" for h, w in grids)
    about = f"{counted(len(anatomy.layers), 'layer')}, token mixing: {anatomy.mixer}, {tokens}. All numbers start at 0."
    head = [
        element("h1", f"Inside {anatomy.title}"),
        element("p", about, "faint"),
        *(element("p", note, "note") for note in notes),
    ]
    drawn = [
        section(figure.title, image(figure.path, f"{figure.title}. {figure.caption} {figure.numbers}", figure.caption))
        for figure in figures
    ]
    rest = [*drawn, section("Numbers", numbers_table(numbers))]
    limit = LARGEST - len(page("", [*head, *rest], STYLE, SCRIPT).encode())
    interactive = explorer(anatomy.layers, limit)
    if not interactive:
        return page(f"Inside {anatomy.title}", [*head, *rest])
    return page(f"Inside {anatomy.title}", [*head, section("Explore the weights", interactive), *rest], STYLE, SCRIPT)


def numbers_table(layers: Sequence[LayerNumbers]) -> str:
    """One row for each layer: shares of small weights, mean distance, radius, scales."""
    rows: list[dict[str, float]] = []
    for layer in layers:
        row = {f"{name} small": shares["small"] for name, shares in layer.sparsity.items()}
        row |= {f"{name} 0 in 4 bits": shares["zero_in_4_bit"] for name, shares in layer.sparsity.items()}
        row |= {"mean distance": layer.distance.mean} if layer.distance else {}
        row |= {} if layer.radius is None else {"radius": layer.radius}
        for branch, parts in layer.scales.items():
            row |= {f"{branch} {part}": value for part, value in parts.items()}
        rows.append(row)
    head = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[layer.name, *(number(row.get(name)) for name in head)] for layer, row in zip(layers, rows)]
    return table(["layer", *head], cells)
