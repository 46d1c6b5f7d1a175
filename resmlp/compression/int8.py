"""A network as an ONNX file with 8-bit weights and activations, by static quantization of onnxruntime.

Each matrix product reads and multiplies integers: weights with one scale for each output column, activations with one
scale from calibration images. Sums and scalings between the products stay in 32 bits: in 8 bits they would cost
accuracy and save little space.
"""

import contextlib
import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resmlp.backends.runtimes import INPUT
from resmlp.config.model_json import MODEL_JSON, ExportedModelConfig, TrunkConfig
from resmlp.data import normalize
from resmlp.exporters.export import TOLERANCE, difference, export_saved, trunk_of
from resmlp.exporters.formats import FORMATS, export_program
from resmlp.exporters.image_graphs import probes
from resmlp.models import Saved
from resmlp.models.count import input_channels
from resmlp.models.folding import fold
from resmlp.utils.checks import demand
from resmlp.utils.files import write_json
from resmlp.utils.serialization import to_dict

FILE = "model.onnx"
PRODUCTS = ("MatMul", "Gemm", "Conv")
BATCH = 8
"""calibration images at a time; the activations of all layers are held for a batch"""
PERCENTILE = 99.999
"""per cent of the values of an activation within its range: the largest 1 in 100,000 would coarsen all steps"""
ROUNDING = 1e-6
"""singular values below this share of the largest are rounding errors"""


class ExportedNetwork(nn.Module):
    """The files of an export as a torch module on the CPU, without gradients."""

    config: TrunkConfig

    def __init__(self, folder: Path, config: ExportedModelConfig):
        super().__init__()
        self.run, self.config = FORMATS[config.to].open(folder), config.model

    def forward(self, images: Tensor) -> Tensor:
        """B 3 H W -> B K"""
        return self.run(images.cpu())


def write_int8(saved: Saved, images: Tensor, folder: Path) -> tuple[Saved, dict[str, Any]]:
    """Write model.onnx and model.json into an empty folder; `images`, uint8 P 3 H W, calibrate the activations.

    Returns the written network, opened again, and the bytes of the same export in 32 bits. That export is compared with
    the network first. Raises `UserError` as `export` does, and where the difference is more than the rounding error of
    numbers as large as the logits.
    """
    model = trunk_of(saved).cpu().eval()
    largest = largest_output(saved)
    demand(math.isfinite(largest), "the logits of the model are not finite", "compress the weights of an earlier step")
    config = export_saved(saved, folder, "onnx", tolerance=math.inf)
    too_large = f"the export in 32 bits differs by {config.difference:.1e}, for {config.output} up to {largest:.1e}"
    demand(config.difference <= TOLERANCE * max(1.0, largest), too_large, "give --to int4, which needs no export")
    onnx_bytes = (folder / FILE).stat().st_size
    # folded, not lowered: 8-bit kernels and scales by column need the weights on the right of their products
    FORMATS["onnx"].write(
        export_program(fold(model), (input_channels(model), *config.model.size)), folder, config.output
    )
    quantize(folder / FILE, normalize(images, saved.preprocessing.mean, saved.preprocessing.std))
    config = replace(config, precision="int8", difference=difference(FORMATS["onnx"].open(folder), model, config))
    write_json(folder / MODEL_JSON, to_dict(config))
    return replace(saved, model=ExportedNetwork(folder, config).eval()), {"onnx_bytes": onnx_bytes}


@torch.no_grad()
def largest_output(saved: Saved) -> float:
    """Largest magnitude of an output for the images of `probes`; nan if any output is nan."""
    preprocessing = saved.preprocessing
    inputs = (normalize(pixels, preprocessing.mean, preprocessing.std) for pixels in probes(preprocessing.size))
    outputs = [saved.model(images) for images in inputs]
    return torch.cat(outputs).abs().max().item()


def quantize(file: Path, images: Tensor) -> None:
    """Quantize an ONNX file in place; `images` are normalized calibration images, float32 P 3 H W."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.calibrate import CalibrationDataReader
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        """One batch at a time."""

        def __init__(self) -> None:
            self.batches = images.split(BATCH)
            self.range = iter(range(len(self.batches)))

        def __len__(self) -> int:
            return len(self.batches)

        def set_range(self, start_index: int, end_index: int) -> None:
            self.range = iter(range(start_index, end_index))

        def get_next(self) -> dict[str, np.ndarray] | None:
            number = next(self.range, None)
            return None if number is None else {INPUT: self.batches[number].numpy()}

    options = {
        "OpTypesToExcludeOutputQuantization": list(PRODUCTS),
        "CalibPercentile": PERCENTILE,
        "CalibTensorRangeSymmetric": False,
        "CalibStridedMinMax": 1,
    }
    prepared, quantized = file.with_name(".prepared.onnx"), file.with_name(".quantized.onnx")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its own progress
        quant_pre_process(str(file), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared),
            str(quantized),
            Images(),
            per_channel=True,
            reduce_range=True,  # 7 bits for a weight: sums of 8-bit products saturate on CPUs without VNNI
            op_types_to_quantize=list(PRODUCTS),
            weight_type=quantization.QuantType.QInt8,
            activation_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.Percentile,
            extra_options=options,
        )
    model = onnx.load(quantized)
    restore_inputs(model.graph)
    factor_constants(model.graph)
    onnx.save(model, file)
    prepared.unlink()
    quantized.unlink()


def restore_inputs(graph: Any) -> None:
    """Give 32-bit inputs back to all nodes but products: the quantizer gave rounded inputs to every reader."""
    rounded = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    returned = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in rounded]
    original = {node.output[0]: rounded[node.input[0]] for node in returned}
    for node in graph.node:
        if node.op_type not in (*PRODUCTS, "QuantizeLinear", "DequantizeLinear"):
            for i, name in enumerate(node.input):
                node.input[i] = original.get(name, name)


def factor_constants(graph: Any) -> None:
    """Write each constant of low rank as a product of two thin matrices; a runtime multiplies them once, on loading.

    Folding makes such constants, N D each: the bias that a linear mixer adds for each token and channel has rank 2 (the
    map M of `resmlp.models.folding`). Shapes and metadata from the exporter are removed as well.
    """
    from onnx import TensorProto, helper, numpy_helper

    del graph.value_info[:]  # shapes of intermediate tensors; a runtime infers them
    for node in graph.node:
        del node.metadata_props[:]
    for constant in list(graph.initializer):
        outer, matrix = list(constant.dims[:-2]), constant.dims[-2:]
        if constant.data_type != TensorProto.FLOAT or len(matrix) < 2 or any(count != 1 for count in outer):
            continue
        parts = thin_factors(numpy_helper.to_array(constant).reshape(matrix))
        if parts is None:
            continue
        parts = (parts[0].reshape(*outer, *parts[0].shape), parts[1])
        names = [f"{constant.name}.{side}" for side in ("left", "right")]
        graph.initializer.remove(constant)
        graph.initializer.extend(numpy_helper.from_array(part, name) for part, name in zip(parts, names))
        graph.node.insert(0, helper.make_node("MatMul", names, [constant.name]))


def thin_factors(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """N D -> N r and r D float32, with `matrix` as their product up to rounding; None if over half its size."""
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    rank = max(1, int((values > ROUNDING * values[0]).sum()))
    if 2 * rank * sum(matrix.shape) > matrix.size:
        return None
    root = np.sqrt(values[:rank])
    return (left[:, :rank] * root).astype(np.float32), (root[:, None] * right[:rank]).astype(np.float32)
