"""File formats of an exported network: ONNX, OpenVINO and torch.export, each with its writer and its runner.

Images: B 3 H W, any B. Outputs: B K.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from resmlp.backends.runtimes import INPUT, open_engine
from resmlp.exporters.lowering import lower
from resmlp.models import Trunk
from resmlp.models.count import input_channels
from resmlp.models.folding import fold
from resmlp.utils.checks import demand
from resmlp.utils.errors import install_hint, lookup

MAX_ONNX_BYTES = 2**31
"""limit of one protobuf message"""

Forward = Callable[[Tensor], Tensor]
"""B 3 H W -> B K"""


class Format(NamedTuple):
    """A file format."""

    packages: tuple[str, ...]
    """packages that write and run it"""
    files: tuple[str, ...]
    write: Callable[[ExportedProgram, Path, str], None]
    """(program, folder, name of the output)"""
    open: Callable[[Path], Forward]
    """folder -> the network"""


def export_program(network: nn.Module, shape: tuple[int, int, int], pixels: bool = False) -> ExportedProgram:
    """The graph for any number of images of `shape`, (channels, height, width): uint8 if `pixels`, else float32."""
    example = torch.zeros(2, *shape, dtype=torch.uint8 if pixels else torch.float32)
    return torch.export.export(network.eval(), (example,), dynamic_shapes=({0: Dim("batch")},))


def write_network(model: nn.Module, size: tuple[int, int], to: str, folder: Path) -> None:
    """Write any network of float32 images B C H W, without model.json and without a comparison.

    A `Trunk` is folded and lowered; any other network is written unchanged.
    """
    network = lower(fold(model)) if isinstance(model, Trunk) else model
    FORMATS[to].write(export_program(network, (input_channels(model), *size)), folder, "logits")


def missing_packages(to: str) -> list[str]:
    """Packages that the format needs and that are not installed. Raises `UserError` for an unknown format."""
    return [name for name in lookup("format", to, FORMATS).packages if find_spec(name) is None]


def check_packages(to: str, flag: str = "--to") -> None:
    """Raise `UserError` for an unknown format, and where a package that it needs is not installed."""
    names = missing_packages(to)
    what = f"{flag} {to} needs {' and '.join(names)}, which {'are' if names[1:] else 'is'} not installed"
    demand(not names, what, install_hint("export"))


@contextmanager
def quiet() -> Iterator[None]:
    """Hide warnings and logs of the exporters; they concern their own internals."""
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
    demand(size < MAX_ONNX_BYTES, f"the weights are {size:,} bytes, over the limit of one ONNX file", "--to openvino")
    names = {"input_names": [INPUT], "output_names": [output]}
    onnx = torch.onnx.export(program, dynamo=True, verbose=False, **names)  # type: ignore[arg-type]
    assert onnx is not None
    onnx.save(folder / "model.onnx", external_data=False)


def _write_openvino(program: ExportedProgram, folder: Path, output: str) -> None:
    import openvino

    model = openvino.convert_model(program)
    (example,) = program.example_inputs[0]
    _remove_broadcasts(model)
    model.reshape({model.input(0): openvino.PartialShape([-1, *example.shape[1:]])})
    model.input(0).get_tensor().set_names({INPUT})
    model.output(0).get_tensor().set_names({output})
    try:
        openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(0, " ".join(str(error).split())[:200]) from None


def _remove_broadcasts(model: Any) -> None:
    """Remove Broadcast nodes before matrix products of an OpenVINO model: MatMul broadcasts over images itself."""
    for node in model.get_ops():
        for factor in node.inputs() if node.get_type_name() == "MatMul" else ():
            source = factor.get_source_output().get_node()
            if source.get_type_name() == "Broadcast":
                factor.replace_source_output(source.input_value(0))


def _write_torch(program: ExportedProgram, folder: Path, output: str) -> None:
    buffer = io.BytesIO()  # on a full disk torch's own writer aborts the process
    torch.export.save(program, buffer)
    (folder / "model.pt2").write_bytes(buffer.getbuffer())


def _open_runtime(to: str, folder: Path) -> Forward:
    engine = open_engine(to, folder)
    return lambda images: torch.from_numpy(engine.run(images.numpy()))


def _open_torch(folder: Path) -> Forward:
    return torch.export.load(folder / "model.pt2").module()


FORMATS: dict[str, Format] = {
    "onnx": Format(("onnx", "onnxscript", "onnxruntime"), ("model.onnx",), _write_onnx, partial(_open_runtime, "onnx")),
    "openvino": Format(("openvino",), ("model.xml", "model.bin"), _write_openvino, partial(_open_runtime, "openvino")),
    "torch": Format((), ("model.pt2",), _write_torch, _open_torch),
}
"""by the value of `--to`"""
