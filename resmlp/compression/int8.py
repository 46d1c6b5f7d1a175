"""A network as an ONNX file of 8-bit weights and activations, by onnxruntime's static quantization.

Each matrix product reads and multiplies whole numbers: weights with a scale for each column of what they compute,
activations with one scale that training images give. What is added and scaled between them stays in 32 bits; in 8
bits too it would cost more accuracy than space.
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

from resmlp.config.model_config import MODEL_JSON, ExportedModelConfig, TrunkConfig
from resmlp.data import normalize
from resmlp.exporters.export import FORMATS, INPUT, TOLERANCE, difference, export, probes, program_of
from resmlp.models import Saved, Trunk
from resmlp.models.folding import fold
from resmlp.utils.checks import demand
from resmlp.utils.files import write_json
from resmlp.utils.serialization import to_dict

FILE = "model.onnx"
PRODUCTS = ("MatMul", "Gemm", "Conv")
BATCH = 8  # calibration images at a time: what lies between all layers is held for as many
KEPT = 99.999
"""per cent of an activation's values that its range holds: for 1 in 100,000 no other needs coarser steps"""
EXACT = 1e-6
"""singular values below this share of the largest are rounding"""


class Graph(nn.Module):
    """The files of an export as a network: logits on the CPU, no gradient."""

    config: TrunkConfig

    def __init__(self, folder: Path, card: ExportedModelConfig):
        super().__init__()
        self.run, self.config = FORMATS[card.to].open(folder), card.model

    def forward(self, images: Tensor) -> Tensor:
        """B 3 H W -> B K"""
        return self.run(images.cpu())


def write_int8(saved: Saved, images: Tensor, folder: Path) -> tuple[Saved, dict[str, Any]]:
    """Write model.onnx and model.json into `folder`, which is empty; uint8 `images`, P 3 H W, say how large
    activations are.

    Returns what was written, opened again, and the bytes of the same export in 32 bits, which is compared first. Raises
    `UserError` as `export` does, and where that differs by more than rounding does in numbers as large as its logits.
    """
    model = saved.model.cpu().eval()
    assert isinstance(model, Trunk)
    largest = largest_output(saved)
    demand(math.isfinite(largest), "its logits are not finite", "compress the weights of an earlier step")
    card = export(saved, folder, "onnx", tolerance=math.inf)
    beyond = f"its export in 32 bits differs by {card.difference:.1e}, of {card.output} up to {largest:.1e}"
    demand(card.difference <= TOLERANCE * max(1.0, largest), beyond, "give --to int4, which needs no export")
    before = (folder / FILE).stat().st_size
    # folded alone: weights stand on the right of their products, as 8-bit kernels and scales by column want them
    FORMATS["onnx"].write(program_of(fold(model), card.model.size), folder, card.output)
    quantize(folder / FILE, normalize(images, saved.preprocessing.mean, saved.preprocessing.std))
    card = replace(card, difference=difference(FORMATS["onnx"].open(folder), model, card))
    write_json(folder / MODEL_JSON, to_dict(card))
    return replace(saved, model=Graph(folder, card).eval()), {"onnx_bytes": before}


@torch.no_grad()
def largest_output(saved: Saved) -> float:
    """Largest magnitude of what the network gives for the images that an export is compared on; nan where one is."""
    look = saved.preprocessing
    outputs = [saved.model(normalize(pixels, look.mean, look.std)) for pixels in probes(look.size)]
    return torch.cat(outputs).abs().max().item()


def quantize(file: Path, images: Tensor) -> None:
    """Put an ONNX file of 8 bits in the place of one of 32; `images` are what it sees, P 3 H W."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.calibrate import CalibrationDataReader
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        """A batch at a time: what was seen of one is counted before the next."""

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
        "CalibPercentile": KEPT,
        "CalibTensorRangeSymmetric": False,
        "CalibStridedMinMax": 1,
    }
    aside, whole = file.with_name(".prepared.onnx"), file.with_name(".quantized.onnx")
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of its own insides
        quant_pre_process(str(file), str(aside), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(aside),
            str(whole),
            Images(),
            per_channel=True,
            op_types_to_quantize=list(PRODUCTS),
            weight_type=quantization.QuantType.QInt8,
            activation_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.Percentile,
            extra_options=options,
        )
    model = onnx.load(whole)
    restore(model.graph)
    thin_out(model.graph)
    onnx.save(model, file)
    aside.unlink()
    whole.unlink()


def restore(graph: Any) -> None:
    """Have what is no product read numbers of 32 bits: the quantizer gave the rounded ones to all who read them."""
    rounded = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    returned = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in rounded]
    whole = {node.output[0]: rounded[node.input[0]] for node in returned}
    for node in graph.node:
        if node.op_type not in (*PRODUCTS, "QuantizeLinear", "DequantizeLinear"):
            for place, name in enumerate(node.input):
                node.input[place] = whole.get(name, name)


def thin_out(graph: Any) -> None:
    """Write each constant of low rank as a product of two thin matrices, which a runtime multiplies once, on loading.

    Folding makes such constants, N D each: what a linear mixer adds for each token and channel is of rank 2 (the map M
    of `resmlp.models.folding`). What exporters note of their own work goes as well.
    """
    from onnx import TensorProto, helper, numpy_helper

    del graph.value_info[:]  # shapes of what is in between, which a runtime finds by itself
    for node in graph.node:
        del node.metadata_props[:]
    for constant in list(graph.initializer):
        outer, matrix = list(constant.dims[:-2]), constant.dims[-2:]
        if constant.data_type != TensorProto.FLOAT or len(matrix) < 2 or any(count != 1 for count in outer):
            continue
        parts = thin(numpy_helper.to_array(constant).reshape(matrix))
        if parts is None:
            continue
        parts = (parts[0].reshape(*outer, *parts[0].shape), parts[1])
        names = [f"{constant.name}.{side}" for side in ("left", "right")]
        graph.initializer.remove(constant)
        graph.initializer.extend(numpy_helper.from_array(part, name) for part, name in zip(parts, names))
        graph.node.insert(0, helper.make_node("MatMul", names, [constant.name]))


def thin(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """N D -> N r and r D float32, whose product it is but for rounding; None where they would not be half as large."""
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    rank = max(1, int((values > EXACT * values[0]).sum()))
    if 2 * rank * sum(matrix.shape) > matrix.size:
        return None
    root = np.sqrt(values[:rank])
    return (left[:, :rank] * root).astype(np.float32), (root[:, None] * right[:rank]).astype(np.float32)
