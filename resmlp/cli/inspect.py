"""`resmlp inspect`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from resmlp.cli.base import Device, Verb
from resmlp.hub.default_out import default_out
from resmlp.imaging.listing import list_images
from resmlp.inference.prediction import warn_untrained
from resmlp.utils.checks import ANY, POSITIVE, check_range, demand
from resmlp.utils.files import check_writable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from resmlp.analysis.layers.anatomy import Anatomy

NOISE = 4  # inputs, where no images are given


@dataclass(frozen=True, kw_only=True)
class Inspect(Verb):
    """what is inside the layers of a network: filters, small weights, reach; report.html to look around in"""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """a run folder, a file of weights, a name of `resmlp list weights`, or hf-hub:ORG/NAME"""
    out: Path | None = None
    """a folder; default inspect/ in a run folder, else inspect/NAME"""
    layers: tuple[int, ...] = ()
    """which layers to draw, from 0; default first, quarter, half, three quarters and last"""
    threshold: float = 0.05
    """a weight is small below this share of its matrix's largest magnitude"""
    images: Annotated[tuple[str, ...], arg(metavar="FILE...")] = ()
    """images, or folders of them, for the receptive fields; default noise"""
    device: Device = "auto"

    def __post_init__(self):
        check_range("--", self, threshold=(POSITIVE, 1), layers=(0, ANY))

    def run(self) -> dict[str, Any]:
        """Write figures, inspect.json and report.html."""
        from resmlp.analysis.layers.anatomy import open_anatomy
        from resmlp.analysis.layers.inspection import inspect
        from resmlp.utils.devices import find_device

        out, device = self.out or default_out(self.model, "inspect"), find_device(self.device)
        demand(not out.exists() or out.is_dir(), f"--out {out} is a file", "give a folder")
        files = list_images(self.images) if self.images else []
        anatomy = open_anatomy(self.model)
        anatomy.choose(self.layers)
        check_writable(f"--out {out}", out / "inspect.json")
        warn_untrained(self.model, anatomy.trained)
        inputs = inputs_of(anatomy, files, device)
        result = inspect(anatomy, out, self.layers, self.threshold, inputs) | {"out": str(out)}
        if not self.json:
            show(result)
        return result


def inputs_of(anatomy: "Anatomy", files: list[str], device: "torch.device") -> "Iterator[Tensor]":
    """Inputs 3 H W of the network on `device`: the images as it sees them, or noise; none where it sees none."""
    import torch

    from resmlp.data import eval_transform, normalize
    from resmlp.imaging.image_file import File

    if anatomy.trunk is None or anatomy.preprocessing is None:
        demand(not files, f"--images for {anatomy.name}, which sees none", "leave them out")
        return
    size = anatomy.trunk.config.size
    anatomy.trunk.to(device)
    if not files:
        generator = torch.Generator().manual_seed(0)
        for _ in range(NOISE):
            yield torch.randn(3, *size, generator=generator).to(device)
    look = replace(anatomy.preprocessing, size=size)
    transform = eval_transform(look)
    for file in files:
        image = transform(File(file).read())[None]
        yield normalize(image.to(device), look.mean, look.std)[0]


def show(result: dict[str, Any]) -> None:
    """A line for each layer, and where the rest is."""
    for note in result["notes"]:
        print(note)
    for layer in result["layers"]:
        parts = [f"{name} {shares['small']:.3f}" for name, shares in layer["sparsity"].items()]
        reach = f"; radius {layer['radius']:.2f}" if "radius" in layer else ""
        print(f"{layer['name']}: below {100 * result['threshold']:g} %: {', '.join(parts)}{reach}")
    print(f"written: {result['out']}/report.html")
