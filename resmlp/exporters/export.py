"""A network as a file for other programs: ONNX, OpenVINO or torch.export; folded, for any number of images.

The written file is run by its own program and compared with the network in torch before it replaces an earlier one.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp.config.model_json import MODEL_JSON, ExportedModelConfig, ModelConfig, Output, Target
from resmlp.config.precision import Execution, Precision
from resmlp.config.preprocessing import Preprocessing
from resmlp.data import eval_transform, normalize
from resmlp.data.images.mixup import to_gray
from resmlp.exporters.formats import FORMATS, Forward, check_packages, export_program, quiet
from resmlp.exporters.lowering import lower
from resmlp.exporters.precision import available, choose_precision
from resmlp.hub.default_out import default_out
from resmlp.hub.resolve import Source, read_config, resolve
from resmlp.imaging.image_file import File
from resmlp.imaging.listing import list_images
from resmlp.models import Saved, Trunk, fold, open_model
from resmlp.models.count import input_channels
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, notice
from resmlp.utils.files import disk_errors, write_json, write_together
from resmlp.utils.serialization import to_dict

TOLERANCE = 1e-4
"""default of the largest difference of an output from the output in torch"""


@dataclass(frozen=True)
class ExportResult:
    """The files that `export` wrote, and how exact they are."""

    out: Path
    """the folder"""
    to: Target
    files: tuple[str, ...]
    """names in the folder, without model.json"""
    output: Output
    difference: float
    """largest difference of an output from the output in torch, both in fp32"""
    precision: Precision = "fp32"
    """in which it is run by default"""
    agreement: str = ""
    """how near its answers are to those of fp32"""

    def to_dict(self) -> dict[str, Any]:
        """The object that `resmlp export --json` prints."""
        return to_dict(self) | {"out": str(self.out)}

    def __str__(self) -> str:
        names = ", ".join((*self.files, MODEL_JSON))
        lower = f"; in {self.precision} {self.agreement}" * (self.precision != "fp32")
        return f"{self.out}: {names}; {self.output} within {self.difference:.1e} of torch's{lower}"


def export(
    model: str | Path | Source,
    to: Target = "onnx",
    out: str | Path | None = None,
    *,
    with_preprocessing: bool = False,
    tolerance: float = TOLERANCE,
    images: Sequence[str | Path] = (),
    precision: str = "fp32",
) -> ExportResult:
    """Export MODEL, a classifier, into the folder `out`: by default RUN/export, or export/NAME.

    The network takes float32 B 3 H W, normalized, and gives logits B K (features B D without a classifier);
    `with_preprocessing`: uint8 B 3 H W, 0 to 255, and probabilities B K. `images`: files or folders of images for the
    comparison with torch, besides noise and smooth images.

    Raises `UserError` for a model that is not a resmlp classifier, for a missing package, for an image that cannot be
    read, for a folder with other content, and where an output differs by more than `tolerance`.
    """
    source = resolve(model)
    source.expect(ModelConfig)
    folder = default_out(source.name, "export") if out is None else Path(out)
    check_packages(to)
    check_out(folder, to)
    files = list_images(images) if images else []
    saved = open_model(source)
    trunk_of(saved, source.name)
    if not source.trained:
        notice(f"{source} names an architecture: its weights are random (a run folder has trained ones)")
    pixels = _read_images(files, saved.preprocessing) if files else None
    precisions = Execution(precision=precision).among(available(to), f"an export to {to} on this cpu")
    config = export_saved(saved, folder, to, with_preprocessing, tolerance, pixels, precisions)
    return ExportResult(
        folder, config.to, config.files, config.output, config.difference, config.precision, config.agreement
    )


def export_saved(
    saved: Saved,
    folder: Path,
    to: Target = "onnx",
    with_preprocessing: bool = False,
    tolerance: float = TOLERANCE,
    images: Tensor | None = None,
    precisions: Sequence[Precision] = ("fp32",),
) -> ExportedModelConfig:
    """Write an opened network into `folder`: its files (`FORMATS`) and model.json, all of them or none.

    Input, output and errors are those of `export`; `images` are uint8 P 3 H W. Of several `precisions` the fastest that
    keeps the answers of fp32 becomes that of the export. Returns the content of model.json.
    """
    check_packages(to)
    model = trunk_of(saved).cpu().eval()
    check_out(folder, to)
    form = FORMATS[to]
    config = exported_config(saved, to, with_preprocessing)
    exported, reference = (WithPreprocessing(network, config) for network in (lower(fold(model)), model))
    with TemporaryDirectory(prefix="resmlp-export-") as temporary, quiet():
        place = Path(temporary)
        with disk_errors(folder):
            form.write(
                export_program(exported, (input_channels(model), *config.model.size), config.pixels),
                place,
                config.output,
            )
        error = difference(form.open(place), reference, config, images)
        too_large = f"the exported {config.output} differ by {error:.1e}, more than {tolerance:g}: nothing is written"
        demand(error <= tolerance, too_large, f"give a --tolerance, or another format than {to}")  # refuses nan
        config = replace(config, difference=error)
        if tuple(precisions) != ("fp32",):
            config = choose_precision(place, config, precisions)
        write_json(place / MODEL_JSON, to_dict(config))
        write_together({folder / name: partial(shutil.copyfile, place / name) for name in (*form.files, MODEL_JSON)})
    return config


def trunk_of(saved: Saved, name: str = "the model") -> Trunk:
    """The network as a `Trunk`. Raises `UserError` for any other network."""
    if not isinstance(saved.model, Trunk):
        raise UserError(f"{name} is not a resmlp network", "give one of `resmlp list`; timm exports its own networks")
    return saved.model


def check_out(folder: Path, to: str) -> None:
    """Raise `UserError` for a folder with other content than an earlier export to the same format."""
    demand(not folder.exists() or folder.is_dir(), f"--out {folder} is a file", "give a folder")
    present = next((folder / name for name in (MODEL_JSON, *FORMATS[to].files) if (folder / name).exists()), None)
    if present is None:
        return
    try:
        config = read_config(folder / MODEL_JSON)
    except UserError:
        config = None
    if not isinstance(config, ExportedModelConfig):
        raise UserError(f"--out {folder} would replace {present}, which export did not write", "give another --out")
    demand(config.to == to, f"--out {folder} holds an export to {config.to}", "give another --out")


def exported_config(saved: Saved, to: Target, pixels: bool) -> ExportedModelConfig:
    """The content of model.json for an export of `saved`."""
    network = trunk_of(saved).config
    output: Output = "features" if not network.num_classes else "probabilities" if pixels else "logits"
    files = FORMATS[to].files
    return ExportedModelConfig(network, saved.preprocessing, to, files, output, pixels, saved.classes, saved.words)


class WithPreprocessing(nn.Module):
    """A network with the steps around it that `config` asks for: normalization before it, softmax after it."""

    def __init__(self, network: nn.Module, config: ExportedModelConfig):
        super().__init__()
        self.network = network
        self.before: nn.Module = Normalize(config.preprocessing) if config.pixels else nn.Identity()
        self.after: nn.Module = nn.Softmax(dim=1) if config.output == "probabilities" else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """B 3 H W -> B K"""
        return self.after(self.network(self.before(images)))


class Normalize(nn.Module):
    """`resmlp.data.normalize` with the mean and the std as constants of the graph."""

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing):
        super().__init__()
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 B C H W -> float32 B C H W"""
        return (pixels.float() / 255 - self.mean) / self.std


@torch.no_grad()
def difference(run: Forward, reference: nn.Module, config: ExportedModelConfig, images: Tensor | None = None) -> float:
    """Largest absolute difference between outputs of `run` and `reference` over `probes`; nan if any output is nan."""
    worst = []
    for pixels in probes(config.model.size, images):
        pixels = to_gray(pixels) if config.model.architecture.in_chans == 1 else pixels
        inputs = pixels if config.pixels else normalize(pixels, config.preprocessing.mean, config.preprocessing.std)
        expected, outputs = reference(inputs), run(inputs)
        if outputs.shape != expected.shape:
            shapes = f"{tuple(outputs.shape)}, not {tuple(expected.shape)}"
            raise UserError(f"the exported network gives outputs of shape {shapes}", "report this as a bug of resmlp")
        worst.append((outputs - expected).abs().max())
    return torch.stack(worst).max().item()


def probes(size: tuple[int, int], images: Tensor | None = None) -> list[Tensor]:
    """Batches uint8 B 3 H W for the comparison: one image of noise, three smooth images, and `images` (P 3 H W)."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (1, 3, *size), generator=generator, dtype=torch.uint8)
    coarse = torch.rand(3, 3, 4, 4, generator=generator) * 255
    smooth = F.interpolate(coarse, size, mode="bicubic", align_corners=False).clamp(0, 255).to(torch.uint8)
    return [noise, smooth] if images is None else [noise, smooth, *images.split(4)]


def _read_images(files: list[str], preprocessing: Preprocessing) -> Tensor:
    """uint8 P 3 H W, resized and cropped for the network. Raises `UserError` for the first unreadable file."""
    transform = eval_transform(preprocessing)
    return torch.stack([transform(File(file, preprocessing.decoding).read()) for file in files])
