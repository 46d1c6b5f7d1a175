"""A network as a file that other programs run: ONNX, OpenVINO, or torch.export; folded, for any number of images.

What was written is run by the program that it is for, and compared with the network, before it takes its place.
"""

import io
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from resmlp.backends.runtimes import INPUT, open_engine
from resmlp.config.model_config import MODEL_JSON, ExportedModelConfig, Output, Target, read_config
from resmlp.config.preprocessing import Preprocessing
from resmlp.data import normalize
from resmlp.exporters.lowering import lower
from resmlp.models import Saved, Trunk
from resmlp.models.folding import fold
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, install_hint, lookup
from resmlp.utils.files import explained, write_json, write_together
from resmlp.utils.serialization import to_dict

TOLERANCE = 1e-4
MOST_ONNX = 2**31  # bytes of one protobuf message

Run = Callable[[Tensor], Tensor]


class Format(NamedTuple):
    """A kind of file."""

    packages: tuple[str, ...]
    """what must be installed"""
    files: tuple[str, ...]
    write: Callable[[ExportedProgram, Path, str], None]
    """the program and the name of its output into a folder"""
    open: Callable[[Path], Run]
    """what runs the files of a folder: B 3 H W -> B K"""


def export(
    saved: Saved,
    folder: Path,
    to: Target = "onnx",
    with_preprocessing: bool = False,
    tolerance: float = TOLERANCE,
    images: Tensor | None = None,
) -> ExportedModelConfig:
    """Write a network of ours into `folder`: its files (`FORMATS`) and model.json, all of them or none.

    It takes float32 B 3 H W, normalized, for any B, and gives logits B K; `with_preprocessing` uint8 pixels, 0 to 255,
    and it gives probabilities. Of a network without classifier it gives features. It is compared with `saved.model` on
    noise, on smooth images and on `images` (uint8 P 3 H W). Raises `UserError` where an output differs by more than
    `tolerance`, where a package is missing, and for a folder that holds something else.
    """
    check_packages(to)
    demand(isinstance(saved.model, Trunk), "it is no network of ours", "timm's own export takes those of timm")
    form, model = FORMATS[to], saved.model.cpu().eval()
    assert isinstance(model, Trunk)
    card = _card(saved, model, to, with_preprocessing)
    check_place(folder, to)
    network, reference = (Deployed(part, card) for part in (lower(fold(model)), model))
    with TemporaryDirectory(prefix="resmlp-export-") as aside, quiet():
        place = Path(aside)
        with explained(folder):
            form.write(program_of(network, card.model.size, card.pixels), place, card.output)
        worst = difference(form.open(place), reference, card, images)
        beyond = (
            f"the exported network's {card.output} differ by {worst:.1e}, more than {tolerance:g}: nothing is written"
        )
        demand(
            worst <= tolerance, beyond, f"give a --tolerance, or another format than {to}"
        )  # not-a-number is refused
        card = _card(saved, model, to, with_preprocessing, worst)
        write_json(place / MODEL_JSON, to_dict(card))
        write_together({folder / name: partial(shutil.copyfile, place / name) for name in (*form.files, MODEL_JSON)})
    return card


class Deployed(nn.Module):
    """A network with what a program around it would do: pixels to input before it, logits to probabilities after."""

    def __init__(self, network: nn.Module, card: ExportedModelConfig):
        super().__init__()
        self.network = network
        self.before: nn.Module = Normalize(card.preprocessing) if card.pixels else nn.Identity()
        self.after: nn.Module = nn.Softmax(dim=1) if card.output == "probabilities" else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """B 3 H W -> B K"""
        return self.after(self.network(self.before(images)))


class Normalize(nn.Module):
    """`resmlp.data.normalize` by constants of the graph."""

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing):
        super().__init__()
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 B 3 H W -> float32 B 3 H W"""
        return (pixels.float() / 255 - self.mean) / self.std


def write_network(model: nn.Module, size: tuple[int, int], to: str, folder: Path) -> None:
    """Any network of float32 images B 3 H W as files of a format, without a card or a comparison; ours folded."""
    network = lower(fold(model)) if isinstance(model, Trunk) else model
    FORMATS[to].write(program_of(network, size), folder, "logits")


def program_of(network: nn.Module, size: tuple[int, int], pixels: bool = False) -> ExportedProgram:
    """The network as a graph, for any number of images of that size: uint8 `pixels`, or float32."""
    example = torch.zeros(2, 3, *size, dtype=torch.uint8 if pixels else torch.float32)
    return torch.export.export(network.eval(), (example,), dynamic_shapes=({0: Dim("batch")},))


@torch.no_grad()
def difference(run: Run, reference: nn.Module, card: ExportedModelConfig, images: Tensor | None = None) -> float:
    """Largest difference of any output from the network's own, in batches of 1, 3 and more; nan where one is nan."""
    worst = []
    for pixels in probes(card.model.size, images):
        inputs = pixels if card.pixels else normalize(pixels, card.preprocessing.mean, card.preprocessing.std)
        wanted, found = reference(inputs), run(inputs)
        demand(
            found.shape == wanted.shape, f"it gives {tuple(found.shape)} for {len(inputs)} images", "a fault of ours"
        )
        worst.append((found - wanted).abs().max())
    return torch.stack(worst).max().item()


def probes(size: tuple[int, int], images: Tensor | None = None) -> list[Tensor]:
    """uint8 B 3 H W to compare on: one of noise, three as smooth as a sky, and those given."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (1, 3, *size), generator=generator, dtype=torch.uint8)
    coarse = torch.rand(3, 3, 4, 4, generator=generator) * 255
    smooth = F.interpolate(coarse, size, mode="bicubic", align_corners=False).clamp(0, 255).to(torch.uint8)
    return [noise, smooth] if images is None else [noise, smooth, *images.split(4)]


def missing(to: str) -> list[str]:
    """The packages that write or run the format and are not installed. Raises `UserError` where there is no such."""
    return [name for name in lookup("format", to, FORMATS).packages if find_spec(name) is None]


def check_packages(to: str, flag: str = "--to") -> None:
    """Raises `UserError` where what writes or runs the format is not installed, or there is no such format."""
    names = missing(to)
    what = f"{flag} {to} needs {' and '.join(names)}, which {'are' if names[1:] else 'is'} not installed"
    demand(not names, what, install_hint("export"))


def check_place(folder: Path, to: str) -> None:
    """Raises `UserError` for a folder in which something else would be replaced: an export to the same is."""
    demand(not folder.exists() or folder.is_dir(), f"--out {folder} is a file", "give a folder")
    there = next((folder / name for name in (MODEL_JSON, *FORMATS[to].files) if (folder / name).exists()), None)
    if there is None:
        return
    try:
        found = read_config(folder / MODEL_JSON, ExportedModelConfig)
    except UserError:
        raise UserError(f"--out {folder} would replace {there}, which is not of export", "give another --out") from None
    demand(found.to == to, f"--out {folder} holds an export to {found.to}", "give another --out")


def _card(saved: Saved, model: Trunk, to: Target, pixels: bool, worst: float = 0.0) -> ExportedModelConfig:
    output: Output = "features" if not model.config.num_classes else "probabilities" if pixels else "logits"
    files = FORMATS[to].files
    return ExportedModelConfig(
        model.config, saved.preprocessing, to, files, output, pixels, saved.classes, saved.words, worst
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Warnings and logs of the exporters are about their own insides."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def _write_onnx(program: ExportedProgram, folder: Path, output: str) -> None:
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    demand(size < MOST_ONNX, f"its weights are {size:,} bytes, more than one ONNX file holds", "--to openvino")
    names = {"input_names": [INPUT], "output_names": [output]}
    onnx = torch.onnx.export(program, dynamo=True, verbose=False, **names)  # type: ignore[arg-type]
    assert onnx is not None
    onnx.save(folder / "model.onnx", external_data=False)


def _write_openvino(program: ExportedProgram, folder: Path, output: str) -> None:
    import openvino

    model = openvino.convert_model(program)
    (example,) = program.example_inputs[0]
    _unrepeated(model)
    model.reshape({model.input(0): openvino.PartialShape([-1, *example.shape[1:]])})
    model.input(0).get_tensor().set_names({INPUT})
    model.output(0).get_tensor().set_names({output})
    try:
        openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(0, " ".join(str(error).split())[:200]) from None


def _unrepeated(model: Any) -> None:
    """Take out of an OpenVINO model what repeats a matrix for each image: a product does that by itself."""
    for node in model.get_ops():
        for factor in node.inputs() if node.get_type_name() == "MatMul" else ():
            repeated = factor.get_source_output().get_node()
            if repeated.get_type_name() == "Broadcast":
                factor.replace_source_output(repeated.input_value(0))


def _open(to: str, folder: Path) -> Run:
    engine = open_engine(to, folder)
    return lambda images: torch.from_numpy(engine.one(images.numpy()))


def _write_torch(program: ExportedProgram, folder: Path, output: str) -> None:
    buffer = io.BytesIO()  # on a full disk torch's own writer aborts the process
    torch.export.save(program, buffer)
    (folder / "model.pt2").write_bytes(buffer.getbuffer())


def _open_torch(folder: Path) -> Run:
    return torch.export.load(folder / "model.pt2").module()


FORMATS: dict[str, Format] = {
    "onnx": Format(("onnx", "onnxscript", "onnxruntime"), ("model.onnx",), _write_onnx, partial(_open, "onnx")),
    "openvino": Format(("openvino",), ("model.xml", "model.bin"), _write_openvino, partial(_open, "openvino")),
    "torch": Format((), ("model.pt2",), _write_torch, _open_torch),
}
"""by what `--to` says"""
