"""Compression methods: 8 or 4 bits for a weight, or fewer weights.

Each method corrects the remaining weights for the error it makes, by the moments of the inputs of each matrix over
training images (GPTQ, `resmlp.models.gptq`); this takes seconds and no gradients. A weight has R rows, its outputs.
"""

from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor

from resmlp.compression.int8 import write_int8
from resmlp.compression.int8_openvino import write_int8_openvino
from resmlp.config.model_json import ModelConfig
from resmlp.data import normalize
from resmlp.exporters.export import trunk_of
from resmlp.exporters.formats import check_packages
from resmlp.models import Saved, Trunk, open_model, save_model
from resmlp.models.gptq import compensated, moments
from resmlp.models.quantize import CODES, Quantized, best_step, matrices, nearest, packed_state
from resmlp.utils.checks import demand
from resmlp.utils.errors import install_hint, lookup
from resmlp.utils.files import write_json
from resmlp.utils.run_folder import CONFIG, WEIGHTS
from resmlp.utils.serialization import to_dict

BATCH = 64
"""calibration images at a time"""
SHARE = 0.5
"""default share of the weights of each matrix that `pruned` sets to 0"""


class Method(NamedTuple):
    """A way to make a network smaller."""

    write: Callable[[Saved, Tensor, Path], tuple[Saved, dict[str, Any]]]
    """(network, calibration images uint8 P 3 H W, empty folder) -> the written network, opened again, and further
    fields of `CompressionResult`"""
    files: tuple[str, ...]
    """files of weights"""
    format: str | None = None
    """the export format, for its packages"""
    package: str | None = None
    """another package that it needs"""


def methods(share: float) -> dict[str, Method]:
    """All methods by the value of `--to`; `share` is that of `pruned`."""
    weights = (WEIGHTS,)
    return {
        "int8": Method(write_int8, ("model.onnx",), "onnx"),
        "int8-openvino": Method(write_int8_openvino, ("model.xml", "model.bin"), "openvino", "nncf"),
        "int4": Method(write_int4, weights),
        "pruned": Method(partial(write_masked, lambda weight: largest(weight, 1 - share)), weights),
        "2:4": Method(partial(write_masked, two_of_four), weights),
    }


def find_method(to: str, share: float = SHARE) -> Method:
    """The method named `to`. Raises `UserError` for an unknown name, and where a package is not installed."""
    method = lookup("method", to, methods(share))
    if method.format:
        check_packages(method.format)
    missing = method.package is not None and find_spec(method.package) is None
    demand(not missing, f"--to {to} needs {method.package}, which is not installed", install_hint("export"))
    return method


def write_int4(saved: Saved, images: Tensor, folder: Path) -> tuple[Saved, dict[str, Any]]:
    """Write matrices in 4 bits, with one step for each row, and all other parameters in 16 bits."""
    model, seen = trunk_of(saved), input_moments(saved, images)
    weights = matrices(model)
    quantized = {name: quantize(weight, seen.get(name)) for name, weight in weights.items()}
    state = packed_state({key: tensor.cpu() for key, tensor in model.state_dict().items()}, quantized)
    (folder / WEIGHTS).write_bytes(save(contiguous(state)))
    write_json(folder / CONFIG, to_dict(ModelConfig(model.config, saved.preprocessing, saved.classes, saved.threshold)))
    codes = sum(tensor.nbytes for key, tensor in state.items() if key.endswith(CODES))
    return open_model(folder), {"codes_bytes": codes, "zeros": zeros(q.codes for q in quantized.values())}


def quantize(weight: Tensor, moment: Tensor | None) -> Quantized:
    """Codes and steps of a matrix R ..., on the CPU; with the moment C C of its inputs, of least error over these."""
    rows = weight.detach().cpu().flatten(1).float()
    if moment is None:
        step = best_step(rows)
        codes = nearest(rows, step)
    else:
        step = best_step(rows, moment.diagonal())
        corrected = compensated(rows, moment, lambda column, _: nearest(column[:, None], step)[:, 0] * step)
        codes = nearest(corrected, step)
    return Quantized(codes.view(weight.shape), step)


def write_masked(
    mask: Callable[[Tensor], Tensor], saved: Saved, images: Tensor, folder: Path
) -> tuple[Saved, dict[str, Any]]:
    """Set the weights of each matrix of the layers to 0 where `mask` (R ... -> bool R ...) is False.

    The first and the last matrix of the network are not pruned: they have few weights, and each matters much.
    """
    model, seen = trunk_of(saved), input_moments(saved, images)
    weights = {name: weight for name, weight in matrices(model).items() if name.startswith("blocks.")}
    new = {name: masked(weight, mask(weight), seen.get(name)) for name, weight in weights.items()}
    copy = Trunk(model.config)
    copy.load_state_dict(model.state_dict() | new)
    save_model(folder, copy, saved.classes, saved.preprocessing, saved.threshold)
    return open_model(folder), {"zeros": zeros(new.values())}


def masked(weight: Tensor, mask: Tensor, moment: Tensor | None) -> Tensor:
    """`weight`, R ..., with 0 where `mask` is False, on the CPU; with a moment the other weights are corrected."""
    rows, kept = weight.detach().cpu().flatten(1), mask.cpu().flatten(1).to(weight.dtype)
    pruned = rows * kept if moment is None else compensated(rows, moment, lambda column, j: column * kept[:, j])
    return pruned.view_as(weight)


def largest(weight: Tensor, share: float) -> Tensor:
    """R ... -> bool R ...: True for the `share` of largest magnitude, rounded to whole weights."""
    magnitudes = weight.detach().abs().flatten()
    kept = torch.zeros_like(magnitudes, dtype=torch.bool)
    kept[magnitudes.topk(round(share * len(magnitudes))).indices] = True
    return kept.view_as(weight)


def two_of_four(weight: Tensor) -> Tensor:
    """R ... -> bool R ...: True for the two largest of each four columns; all True where 4 does not divide them."""
    magnitudes = weight.detach().abs().flatten(1)
    if magnitudes.shape[1] % 4:
        return torch.ones_like(weight, dtype=torch.bool)
    fours = magnitudes.unflatten(1, (-1, 4))
    return torch.zeros_like(fours, dtype=torch.bool).scatter_(2, fours.topk(2, dim=2).indices, True).view_as(weight)


def input_moments(saved: Saved, images: Tensor) -> dict[str, Tensor]:
    """Moments of the inputs of each matrix (`resmlp.models.gptq.moments`) over images uint8 P 3 H W."""
    preprocessing, device = saved.preprocessing, next(saved.model.parameters()).device
    parts = images.split(BATCH)
    return moments(saved.model, (normalize(part.to(device), preprocessing.mean, preprocessing.std) for part in parts))


def zeros(tensors: Iterable[Tensor]) -> float:
    """Share of zeros among all elements of the tensors."""
    counts = [(int((tensor == 0).sum()), tensor.numel()) for tensor in tensors]
    return sum(zero for zero, _ in counts) / max(sum(count for _, count in counts), 1)


def contiguous(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state with contiguous tensors, as safetensors needs them."""
    return {key: tensor.contiguous() for key, tensor in state.items()}
