"""A network as a file for other programs: ONNX, OpenVINO, torch.export or ExecuTorch; for any batch.

The written file is run by its own program and compared with the network in torch before it replaces an earlier one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resmlp.config.export_sizes import graph_name
from resmlp.config.image_size import ImageSize, Size, image_sizes, shown
from resmlp.config.model_json import MODEL_JSON, AnyExport, ExportedModelConfig, ModelConfig, Output, Target
from resmlp.config.precision import Execution, Precision
from resmlp.data import normalize
from resmlp.data.images.mixup import to_gray
from resmlp.exporters.checked_files import check_difference, check_out, put_in_place, written_aside
from resmlp.exporters.formats import FORMATS, Forward, check_packages, export_program
from resmlp.exporters.image_graphs import Normalize, probes, read_images
from resmlp.exporters.lowering import lower
from resmlp.exporters.precision import available, choose_precision
from resmlp.exporters.segmenter import export_segmenter
from resmlp.exporters.translator import export_translator
from resmlp.hub.default_out import default_out
from resmlp.hub.resolve import Source, resolve
from resmlp.imaging.listing import list_images
from resmlp.models import Saved, Trunk, fold, open_model
from resmlp.models.at_size import at_size
from resmlp.models.count import input_channels
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, notice
from resmlp.utils.files import disk_errors
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
    img_size: ImageSize | Sequence[ImageSize] | None = None,
) -> ExportResult:
    """Export MODEL into the folder `out`: by default RUN/export, or export/NAME.

    A classifier takes float32 B 3 H W, normalized, and gives logits B K (features B D without a classifier);
    `with_preprocessing`: uint8 B 3 H W, 0 to 255, and probabilities B K. A segmenter gives logits B K H W. `img_size`
    is another size of the images than that of the network or the window, as of `resmlp.load`; of a classifier also
    several sizes, each with a graph. A translator becomes two graphs, the encoder and a step of
    the decoder. `images`: files or folders of images for the comparison with torch, besides noise and smooth images.

    Raises `UserError` for a network that the format does not take, for a missing package, for an image that cannot be
    read, for a folder with other content, and where an output differs by more than `tolerance`.
    """
    source, sizes = resolve(model), image_sizes(img_size)
    folder = default_out(source.name, "export") if out is None else Path(out)
    only_images = f"{source} translates text, and"
    if source.kind == "translator":
        demand(not with_preprocessing, f"{only_images} --with-preprocessing is for images", "leave it out")
        demand(not images, f"{only_images} --images is for images", "leave it out")
        demand(not sizes, f"{only_images} --img-size is for images", "leave it out")
        return _result(folder, export_translator(source, folder, to, tolerance, precision))
    files = list_images(images) if images else []
    if source.kind == "segmenter":
        several = f"--img-size {' '.join(map(shown, sizes))}: the export of a segmenter is for one size"
        demand(len(sizes) < 2, several, "export it once for each size, with another --out")
        options = (with_preprocessing, tolerance, files, precision, sizes[0] if sizes else None)
        return _result(folder, export_segmenter(source, folder, to, *options))
    source.expect(ModelConfig)
    check_packages(to)
    check_formats(sizes, to)
    check_out(folder, to, FORMATS[to].files, ExportedModelConfig)
    saved = open_model(source)
    trunk_of(saved, source.name)
    if not source.trained:
        notice(f"{source} names an architecture: its weights are random (a run folder has trained ones)")
    precisions = Execution(precision=precision).among(available(to), f"an export to {to} on this cpu")
    networks = [at_size(saved, size) for size in sizes] or [saved]
    return _result(folder, export_networks(networks, folder, to, with_preprocessing, tolerance, files, precisions))


def _result(folder: Path, config: AnyExport) -> ExportResult:
    """What is in model.json, for people."""
    output: Output = getattr(config, "output", "logits")
    how = {name: getattr(config, name) for name in ("precision", "agreement") if hasattr(config, name)}
    return ExportResult(folder, config.to, config.files, output, config.difference, **how)


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
    check_out(folder, to, FORMATS[to].files, ExportedModelConfig)
    with written_aside() as aside, disk_errors(folder):
        config = write_aside(
            saved, aside, exported_config(saved, to, with_preprocessing), tolerance, images, precisions
        )
        put_in_place(aside, folder, config)
    return config


def check_formats(sizes: Sequence[Size], to: Target) -> None:
    """Raise `UserError` for several sizes in a format whose program opens one graph alone."""
    what = f"--img-size {' '.join(map(shown, sizes))}: an export to {to} is for one size"
    demand(len(sizes) < 2 or to in ("onnx", "openvino"), what, "use onnx or openvino, or export it once for each size")


def export_networks(
    networks: Sequence[Saved],
    folder: Path,
    to: Target,
    with_preprocessing: bool,
    tolerance: float,
    files: Sequence[str],
    precisions: Sequence[Precision],
) -> ExportedModelConfig:
    """Write one network, at one size or at several, into `folder`: a graph for each size, the first the usual one.

    Each is compared with torch, also on the images of `files`. A choice of precision is made for the first.
    """
    images = [read_images(list(files), saved.preprocessing) if files else None for saved in networks]
    if len(networks) == 1:
        return export_saved(networks[0], folder, to, with_preprocessing, tolerance, images[0], precisions)
    configs = [exported_config(saved, to, with_preprocessing) for saved in networks]
    sizes = tuple(config.model.size for config in configs)
    whole = replace(configs[0], sizes=sizes)
    names = {size: [graph_name(whole, size) + Path(file).suffix for file in whole.files] for size in sizes}
    whole = replace(whole, files=tuple(name for own in names.values() for name in own))
    check_out(folder, to, whole.files, ExportedModelConfig)
    with written_aside() as aside, disk_errors(folder):
        for saved, config, own in zip(networks, configs, images):
            part = aside / shown(config.model.size)
            part.mkdir()
            written = write_aside(
                saved, part, config, tolerance, own, ("fp32",) if config is not configs[0] else precisions
            )
            for file, name in zip(config.files, names[config.model.size]):
                (part / file).rename(aside / name)
            if config is configs[0]:
                whole = replace(whole, precision=written.precision, agreement=written.agreement)
            whole = replace(whole, difference=max(whole.difference, written.difference))
        put_in_place(aside, folder, whole)
    return whole


def write_aside(
    saved: Saved,
    aside: Path,
    config: ExportedModelConfig,
    tolerance: float,
    images: Tensor | None = None,
    precisions: Sequence[Precision] = ("fp32",),
) -> ExportedModelConfig:
    """Write the files of a network into a folder, and compare them with torch. Returns the content of model.json."""
    model, form = trunk_of(saved).cpu().eval(), FORMATS[config.to]
    exported, reference = (WithPreprocessing(network, config) for network in (lower(fold(model)), model))
    shape = (input_channels(model), *config.model.size)
    form.write(export_program(exported, shape, config.pixels, form.most), aside, config.output)
    error = difference(form.open(aside), reference, config, images)
    check_difference(error, tolerance, config.output, config.to)  # refuses nan
    config = replace(config, difference=error)
    return config if tuple(precisions) == ("fp32",) else choose_precision(aside, config, precisions)


def trunk_of(saved: Saved, name: str = "the model") -> Trunk:
    """The network as a `Trunk`. Raises `UserError` for any other network."""
    if not isinstance(saved.model, Trunk):
        raise UserError(f"{name} is not a resmlp network", "give one of `resmlp list`; timm exports its own networks")
    return saved.model


def exported_config(saved: Saved, to: Target, pixels: bool) -> ExportedModelConfig:
    """The content of model.json for an export of `saved`."""
    network = trunk_of(saved).config
    output: Output = "features" if not network.num_classes else "probabilities" if pixels else "logits"
    files = FORMATS[to].files
    names = (saved.classes, saved.words, saved.threshold)
    return ExportedModelConfig(network, saved.preprocessing, to, files, output, pixels, *names)


class WithPreprocessing(nn.Module):
    """A network with the steps around it that `config` asks for: normalization, softmax or sigmoid."""

    def __init__(self, network: nn.Module, config: ExportedModelConfig):
        super().__init__()
        self.network = network
        self.before: nn.Module = Normalize(config.preprocessing) if config.pixels else nn.Identity()
        probability: nn.Module = nn.Softmax(dim=1) if config.threshold is None else nn.Sigmoid()
        self.after: nn.Module = probability if config.output == "probabilities" else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """B 3 H W -> B K"""
        return self.after(self.network(self.before(images)))


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
