"""`resmlp.inspect`: the layers of a network in numbers, figures, and an interactive page."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from resmlp.analysis.layers.anatomy import Anatomy, open_anatomy
from resmlp.analysis.layers.filters import filters_of
from resmlp.analysis.layers.inspection_page import draw_figures, render
from resmlp.analysis.layers.measurements import LayerNumbers, measure
from resmlp.analysis.layers.receptive_field import MOST
from resmlp.analysis.layers.sparsity import THRESHOLD
from resmlp.config.image_size import ImageSize, image_size
from resmlp.data import eval_transform, normalize
from resmlp.hub.default_out import default_out
from resmlp.imaging.image_file import File
from resmlp.imaging.listing import list_images
from resmlp.nn import LinearMixer
from resmlp.utils.checks import ANY, POSITIVE, check_range, demand
from resmlp.utils.devices import find_device
from resmlp.utils.files import check_writable, write_json, write_text
from resmlp.utils.serialization import to_dict

NOISE = 4  # inputs of noise if no images are given


@dataclass(frozen=True)
class Inspection:
    """The result of `resmlp.inspect`."""

    source: str
    """MODEL; the last two parts of a path"""
    model: str
    """the name of the architecture"""
    mixer: str
    trained: bool
    """False if the weights are random"""
    threshold: float
    drawn: tuple[int, ...]
    """numbers of the layers in the figures"""
    figures: tuple[str, ...]
    """file names in `out`"""
    notes: tuple[str, ...]
    """remarks on this network, one sentence each"""
    layers: tuple[LayerNumbers, ...]
    out: Path
    """the folder with figures, inspect.json and report.html"""

    def to_dict(self) -> dict[str, Any]:
        """What `resmlp inspect --json` prints."""
        layers = [layer.to_dict() for layer in self.layers]
        return to_dict(self) | {"layers": layers, "out": str(self.out)}

    def __str__(self) -> str:
        lines = list(self.notes)
        for layer in self.layers:
            shares = ", ".join(f"{name} {share['small']:.3f}" for name, share in layer.sparsity.items())
            field = "" if layer.radius is None else f"; radius {layer.radius:.2f}"
            lines.append(f"{layer.name}: below {100 * self.threshold:g} %: {shares}{field}")
        return "\n".join([*lines, f"written: {self.out}/report.html"])


def inspect(
    model: str,
    out: str | Path | None = None,
    *,
    layers: Sequence[int] = (),
    threshold: float = THRESHOLD,
    images: Sequence[str | Path] = (),
    device: str = "auto",
    img_size: ImageSize | None = None,
) -> Inspection:
    """Measure and draw the layers of a network: Figures 2 and 3, weights by distance, receptive fields, scales.

    `model` is a MODEL of the command line. `layers` are the numbers of the layers to draw (default: five, evenly
    spaced); all layers are measured. A weight is small if its magnitude is below `threshold` times the largest one of
    its matrix. `images` are files, or folders of them, for the receptive fields (default: noise). `img_size`, such as
    288 or "320x224", is a size of the images to which the network is moved first.

    Writes the figures (PNG and SVG), `inspect.json` and `report.html` into the folder `out` (default: `inspect/` in a
    run folder, else `inspect/NAME`). Raises `UserError` for a network that is not a resmlp network, a wrong argument,
    or a file that cannot be read or written.
    """
    numbers = SimpleNamespace(threshold=threshold, layers=tuple(layers))
    check_range("--", numbers, threshold=(POSITIVE, 1), layers=(0, ANY))
    folder, torch_device = Path(out or default_out(model, "inspect")), find_device(device)
    demand(not folder.exists() or folder.is_dir(), f"--out {folder} is a file", "give a folder")
    files = list_images(images) if images else []
    anatomy = open_anatomy(model, image_size(img_size))
    anatomy.choose(layers)  # raises for a wrong number, before anything is measured
    demand(not files or anatomy.trunk is not None, f"--images: {anatomy.name} takes no images", "leave them out")
    check_writable(f"--out {folder}", folder / "inspect.json")
    return inspect_anatomy(anatomy, folder, layers, threshold, network_inputs(anatomy, files, torch_device))


def inspect_anatomy(
    anatomy: Anatomy, out: Path, layers: Sequence[int] = (), threshold: float = 0.05, images: Iterable[Tensor] = ()
) -> Inspection:
    """`inspect` for an opened network; `images` are inputs 3 H W for the receptive fields of an image network."""
    chosen, measured = anatomy.choose(layers), measure(anatomy, threshold, images)
    numbers = tuple(measured.numbers())
    remarks = tuple(notes(anatomy))
    figures = list(draw_figures(anatomy, measured, chosen, threshold, out))
    result = Inspection(
        source=anatomy.source,
        model=anatomy.name,
        mixer=anatomy.mixer,
        trained=anatomy.trained,
        threshold=threshold,
        drawn=tuple(layer.number for layer in chosen),
        figures=tuple(figure.path.name for figure in figures),
        notes=remarks,
        layers=numbers,
        out=out,
    )
    content = result.to_dict()
    del content["out"]  # the folder may be moved
    write_json(out / "inspect.json", content)
    write_text(out / "report.html", render(anatomy, remarks, numbers, figures))
    return result


def network_inputs(anatomy: Anatomy, files: Sequence[str], device: torch.device) -> Iterator[Tensor]:
    """Inputs 3 H W of an image network on `device`: the preprocessed images, or noise without files."""
    if anatomy.trunk is None or anatomy.preprocessing is None:
        return
    size, channels = anatomy.trunk.config.size, anatomy.trunk.config.architecture.in_chans
    anatomy.trunk.to(device)
    if not files:
        generator = torch.Generator().manual_seed(0)
        for _ in range(NOISE):
            yield torch.randn(channels, *size, generator=generator).to(device)
    preprocessing = replace(anatomy.preprocessing, size=size)
    transform = eval_transform(preprocessing)
    for file in files:
        image = transform(File(file, preprocessing.decoding).read())[None]
        yield normalize(image.to(device), preprocessing.mean, preprocessing.std)[0]


def notes(anatomy: Anatomy) -> Iterator[str]:
    """Remarks on this network, one sentence each."""
    if not anatomy.trained:
        yield "These weights are random: the network is not trained."
    if anatomy.local:
        start = "The token mixers started as 3x3 convolutions (init local)"
        yield f"{start}: the weights near a patch were large from the beginning."
    height, width = anatomy.layers[0].grid
    if height * width > MOST and isinstance(anatomy.layers[0].mixer, LinearMixer):
        yield f"Weights by distance are left out: {height} x {width} tokens are more than {MOST:,}."
    if all(filters_of(layer.mixer, layer.grid) is None for layer in anatomy.layers):
        yield f"Token mixing by {anatomy.mixer} has no weight matrix over patches: there are no filters to draw."
