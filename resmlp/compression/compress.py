"""A smaller network: 8 or 4 bits for a weight, or fewer weights; with its accuracy and its bytes before and after.

Each method closes the gap it opens by what training images say of the inputs of each matrix (`models.feedback`), in
seconds and without gradients.
"""

import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor

from resmlp.compression.int8 import write_int8
from resmlp.config.model_config import ModelConfig
from resmlp.data import normalize
from resmlp.exporters.export import check_packages
from resmlp.models import Saved, Trunk, load_saved, save_model
from resmlp.models.gptq import moments, rounded
from resmlp.models.quantize import CODES, Quantized, best_step, matrices, nearest, packed_state
from resmlp.utils.checks import demand
from resmlp.utils.errors import lookup
from resmlp.utils.files import explained, write_json, write_together
from resmlp.utils.serialization import to_dict

REPORT = "compress.json"
BATCH = 64  # calibration images at a time
SHARE = 0.5
"""of the weights of each matrix, that --to pruned leaves out"""

Score = Callable[[Saved], dict[str, float]]


class Method(NamedTuple):
    """A way to make a network smaller."""

    write: Callable[[Saved, Tensor, Path], tuple[Saved, dict[str, Any]]]
    """a network, uint8 images P 3 H W and an empty folder; returns what it wrote there, opened again, and what more
    there is to say"""
    files: tuple[str, ...]
    """that hold weights"""
    format: str | None = None
    """of `resmlp export`, whose packages it needs"""


def compress(
    saved: Saved,
    folder: Path,
    to: str,
    images: Tensor,
    score: Score,
    share: float = SHARE,
    size: int | None = None,
) -> dict[str, Any]:
    """Write a smaller `saved` into `folder`, all files or none: its weights, model.json, and what is returned.

    That is `to`, how many uint8 `images` (P 3 H W, training images as the network sees them) it was fitted to, and
    "before" and "after": what `score` says of either, and the bytes of their weights' files; that of `saved` has `size`
    bytes, without which it is counted as one of 32 bits. Raises `UserError` for what is no network of ours, where a
    package is missing, and for a folder that holds something else.
    """
    method = find_method(to, share)
    demand(isinstance(saved.model, Trunk), "it is no network of ours", "give one of `resmlp list`")
    check_place(folder, to)
    size = len(save(_contiguous(saved.model.state_dict()))) if size is None else size
    before = score(saved) | {"bytes": size}
    with TemporaryDirectory(prefix="resmlp-compress-") as aside:
        place = Path(aside)
        with explained(folder):
            small, more = method.write(saved, images, place)
        after = score(small) | {"bytes": sum((place / name).stat().st_size for name in method.files)}
        result = {"to": to, "images": len(images), "before": before, "after": after, **more}
        write_json(place / REPORT, result)
        files = (*method.files, "model.json", REPORT)
        write_together({folder / name: partial(shutil.copyfile, place / name) for name in files})
    return result


def find_method(to: str, share: float = SHARE) -> Method:
    """By what `--to` says. Raises `UserError`, also where what it needs is not installed."""
    method = lookup("method", to, methods(share))
    if method.format:
        check_packages(method.format)
    return method


def check_place(folder: Path, to: str) -> None:
    """Raises `UserError` for a folder that holds something else: what compress wrote by the same method is replaced."""
    demand(not folder.exists() or folder.is_dir(), f"--out {folder} is a file", "give a folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    report = folder / REPORT
    demand(report.is_file(), f"--out {folder} holds something that compress did not write", "give another --out")
    other = f"--out {folder} holds what was compressed otherwise than --to {to}"
    demand(f'"to": "{to}"' in report.read_text(encoding="utf-8", errors="replace"), other, "give another --out")


def write_int4(saved: Saved, images: Tensor, folder: Path) -> tuple[Saved, dict[str, Any]]:
    """Weights of matrices in 4 bits, a step for each row of them, and all else in 16 bits."""
    model, seen = saved.model, observed(saved, images)
    assert isinstance(model, Trunk)
    weights = matrices(model)
    quantized = {name: quantize(weight, seen.get(name)) for name, weight in weights.items()}
    state = packed_state({key: tensor.cpu() for key, tensor in model.state_dict().items()}, quantized)
    (folder / "model.safetensors").write_bytes(save(_contiguous(state)))
    write_json(folder / "model.json", to_dict(ModelConfig(model.config, saved.preprocessing, saved.classes)))
    codes = sum(tensor.nbytes for key, tensor in state.items() if key.endswith(CODES))
    return load_saved(folder), {"codes_bytes": codes, "zeros": zeros(q.codes for q in quantized.values())}


def quantize(weight: Tensor, moment: Tensor | None) -> Quantized:
    """Codes and steps of a matrix R ...; with the moment C C of its inputs, of least error over those; on the CPU."""
    rows = weight.detach().cpu().flatten(1).float()
    if moment is None:
        step = best_step(rows)
        codes = nearest(rows, step)
    else:
        step = best_step(rows, moment.diagonal())
        found = rounded(rows, moment, lambda column, _: nearest(column[:, None], step)[:, 0] * step)
        codes = nearest(found, step)
    return Quantized(codes.view(weight.shape), step)


def write_masked(
    mask: Callable[[Tensor], Tensor], saved: Saved, images: Tensor, folder: Path
) -> tuple[Saved, dict[str, Any]]:
    """Weights that `mask`, R ... -> bool R ..., leaves out of each matrix of the layers are 0.

    The first and the last matrix of the network stay as they are: few weights, and much depends on each of them.
    """
    model, seen = saved.model, observed(saved, images)
    assert isinstance(model, Trunk)
    weights = {name: weight for name, weight in matrices(model).items() if name.startswith("blocks.")}
    new = {name: masked(weight, mask(weight), seen.get(name)) for name, weight in weights.items()}
    copy = Trunk(model.config)
    copy.load_state_dict(model.state_dict() | new)
    save_model(folder, copy, saved.classes, saved.preprocessing)
    return load_saved(folder), {"zeros": zeros(new.values())}


def masked(weight: Tensor, mask: Tensor, moment: Tensor | None) -> Tensor:
    """R ... with what `mask`, R ..., leaves out at 0; with a moment the others take its part; on the CPU."""
    rows, kept = weight.detach().cpu().flatten(1), mask.cpu().flatten(1).to(weight.dtype)
    found = rows * kept if moment is None else rounded(rows, moment, lambda column, j: column * kept[:, j])
    return found.view_as(weight)


def largest(weight: Tensor, share: float) -> Tensor:
    """R ... -> bool R ...: the `share` of largest magnitude, rounded to whole weights."""
    magnitudes = weight.detach().abs().flatten()
    kept = torch.zeros_like(magnitudes, dtype=torch.bool)
    kept[magnitudes.topk(round(share * len(magnitudes))).indices] = True
    return kept.view_as(weight)


def two_of_four(weight: Tensor) -> Tensor:
    """R ... -> bool R ...: the two largest of each four columns; all of a matrix whose columns are no multiple of 4."""
    magnitudes = weight.detach().abs().flatten(1)
    if magnitudes.shape[1] % 4:
        return torch.ones_like(weight, dtype=torch.bool)
    fours = magnitudes.unflatten(1, (-1, 4))
    return torch.zeros_like(fours, dtype=torch.bool).scatter_(2, fours.topk(2, dim=2).indices, True).view_as(weight)


def observed(saved: Saved, images: Tensor) -> dict[str, Tensor]:
    """The moments of each matrix's inputs (`models.feedback.moments`) while the network sees uint8 images P 3 H W."""
    look, device = saved.preprocessing, next(saved.model.parameters()).device
    batches = (normalize(batch.to(device), look.mean, look.std) for batch in images.split(BATCH))
    return moments(saved.model, batches)


def zeros(tensors: Iterable[Tensor]) -> float:
    """Share of zeros among all of their numbers."""
    counts = [(int((tensor == 0).sum()), tensor.numel()) for tensor in tensors]
    return sum(none for none, _ in counts) / max(sum(count for _, count in counts), 1)


def _contiguous(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor.contiguous() for key, tensor in state.items()}


def methods(share: float) -> dict[str, Method]:
    """All there are; `share` is what --to pruned leaves out."""
    ours = ("model.safetensors",)
    return {
        "int8": Method(write_int8, ("model.onnx",), "onnx"),
        "int4": Method(write_int4, ours),
        "pruned": Method(partial(write_masked, lambda weight: largest(weight, 1 - share)), ours),
        "2:4": Method(partial(write_masked, two_of_four), ours),
    }
