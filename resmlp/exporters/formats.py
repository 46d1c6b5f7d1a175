"""File formats of an exported network: ONNX, OpenVINO, torch.export and ExecuTorch, with their writers and runners.

Images: B 3 H W, any B. Outputs: B K.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from resmlp.backends.executorch import LARGEST_BATCH
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
WriteGraph = Callable[[ExportedProgram, Path, Sequence[str], Sequence[str]], None]
"""(program, path without an ending, names of the inputs, names of the outputs)"""


class Format(NamedTuple):
    """A file format."""

    packages: tuple[str, ...]
    """packages that write and run it"""
    files: tuple[str, ...]
    write: Callable[[ExportedProgram, Path, str], None]
    """(program, folder, name of the output)"""
    open: Callable[[Path], Forward]
    """folder -> the network"""
    hint: str = install_hint("export")
    """how to install the packages"""
    most: int | None = None
    """images of the largest batch; None: no limit"""


def export_program(
    network: nn.Module, shape: tuple[int, int, int], pixels: bool = False, most: int | None = None
) -> ExportedProgram:
    """The graph for any number of images of `shape`, or up to `most`: uint8 if `pixels`, else float32.

    `shape` is (channels, height, width).
    """
    example = torch.zeros(2, *shape, dtype=torch.uint8 if pixels else torch.float32)
    return torch.export.export(network.eval(), (example,), dynamic_shapes=({0: Dim("batch", max=most)},))


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
    demand(not names, what, FORMATS[to].hint)


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


def write_onnx(program: ExportedProgram, path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Write `path`.onnx."""
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    demand(size < MAX_ONNX_BYTES, f"the weights are {size:,} bytes, over the limit of one ONNX file", "--to openvino")
    names = {"input_names": list(inputs), "output_names": list(outputs)}
    onnx = torch.onnx.export(program, dynamo=True, verbose=False, **names)  # type: ignore[arg-type]
    assert onnx is not None
    onnx.save(path.with_suffix(".onnx"), external_data=False)


def write_openvino(program: ExportedProgram, path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Write `path`.xml and `path`.bin."""
    import openvino

    model = openvino.convert_model(program)
    _remove_broadcasts(model)
    nodes = {node.name: node for node in program.graph.nodes}
    shapes = [nodes[name].meta["val"].shape for name in program.graph_signature.user_inputs]
    fixed = [[side if isinstance(side, int) else -1 for side in shape] for shape in shapes]
    model.reshape({port: openvino.PartialShape(shape) for port, shape in zip(model.inputs, fixed)})
    for port, name in zip([*model.inputs, *model.outputs], [*inputs, *outputs]):
        port.get_tensor().set_names({name})
    try:
        openvino.save_model(model, path.with_suffix(".xml"), compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(0, " ".join(str(error).split())[:200]) from None


def _write_model(write: WriteGraph, program: ExportedProgram, folder: Path, output: str) -> None:
    write(program, folder / "model", [INPUT], [output])


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


def _write_executorch(program: ExportedProgram, folder: Path, output: str) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    (folder / "model.pte").write_bytes(lowered.buffer)


def _open_runtime(to: str, folder: Path) -> Forward:
    engine = open_engine(to, folder)
    return lambda images: torch.from_numpy(engine.run(images.numpy()))


def _open_torch(folder: Path) -> Forward:
    return torch.export.load(folder / "model.pt2").module()


FORMATS: dict[str, Format] = {
    "onnx": Format(
        ("onnx", "onnxscript", "onnxruntime"),
        ("model.onnx",),
        partial(_write_model, write_onnx),
        partial(_open_runtime, "onnx"),
    ),
    "openvino": Format(
        ("openvino",),
        ("model.xml", "model.bin"),
        partial(_write_model, write_openvino),
        partial(_open_runtime, "openvino"),
    ),
    "torch": Format((), ("model.pt2",), _write_torch, _open_torch),
    "executorch": Format(
        ("executorch",),
        ("model.pte",),
        _write_executorch,
        partial(_open_runtime, "executorch"),
        hint=install_hint("executorch"),
        most=LARGEST_BATCH,
    ),
}
"""by the value of `--to`"""
