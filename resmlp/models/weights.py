"""Weights from files that hold tensors alone, and into a network, tensor by tensor."""

import argparse
import math
import re
import warnings
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from resmlp.hub.resolve import Source, resolve
from resmlp.models.quantize import unpacked_state
from resmlp.models.weight_formats import DIALECTS, State, to_resmlp, unwrapped
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, is_out_of_memory, printable
from resmlp.utils.files import exists
from resmlp.utils.serialization import shown

MAX_ARCHIVE = 16 * 2**30  # bytes of an .npz when unpacked: eight times the largest Mixer there is
MAX_RATIO, FREE = 16, 2**26  # bytes when unpacked for each byte of an .npz, and beside these; weights halve at best
NUMBERS = {np.dtype(kind) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "?")}
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""by the version of an .npy"""
FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2}
EMPTY = torch.empty(0, 0)


@dataclass(frozen=True)
class Weights:
    """A network's tensors in our names, and where they came from."""

    state: State
    source: str

    @property
    def num_classes(self) -> int:
        """Rows of the classifier; 0 where there is none."""
        return len(self.state["head.weight"]) if "head.weight" in self.state else 0

    def without_head(self) -> "Weights":
        """The trunk alone."""
        return replace(self, state={k: v for k, v in self.state.items() if not k.startswith("head.")})


def read_tensors(path: Path) -> State:
    """The tensors of a .safetensors, PyTorch or .npz file; anything else in it is refused, never unpickled.

    The one exception is `argparse.Namespace`, which training scripts (DeiT's, DINO's) put beside the weights: it holds
    values and does nothing, and is dropped.
    """
    if not exists(str(path)) or not path.is_file():
        raise UserError(f"no weights at {path}", "give a file, a run folder, or a name of `resmlp list weights`")
    try:
        loaded = _load(path)
    except (SafetensorError, OSError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if is_out_of_memory(error):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if "TorchScript" in reason:  # torch's own advice would be to run what is in it
            raise UserError(f"{path} is a TorchScript archive", "save its state dict alone") from None
        raise UserError(f"cannot read weights from {path}: {reason}", "is it whole?") from None
    except (UserError, MemoryError):
        raise
    except Exception as error:  # pickle's errors have no common class
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it holds more than tensors ({named[1] if named else type(error).__name__})"
        raise UserError(f"refused to load {path}: {reason}", "save its state dict alone") from None
    tensors = unwrapped(loaded)
    if tensors is None:
        raise UserError(f"{path} holds no dictionary of tensors", "save its state dict alone")
    _check_stored(path, tensors)
    return tensors


def _load(path: Path) -> Any:
    """What the file holds; its first bytes say of which kind it is, whatever its ending."""
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{":  # after the header's length
        return load_file(path)
    if start.startswith(b"PK") and (arrays := _arrays(path)) is not None:
        return arrays
    if not start.startswith((b"PK", b"\x80")):  # no zip archive and no pickle
        raise UserError(
            f"{path} is {'not a weight file' if start else 'empty'}", "give a .safetensors, .pth or .npz file"
        )
    with warnings.catch_warnings():  # of an unusual pickle: what matters is whether it is refused
        warnings.simplefilter("ignore")
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)


def _arrays(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of an .npz; None for another zip archive, which PyTorch's files are."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if not members or not all(member.filename.endswith(".npy") for member in members):
            return None
        size = sum(member.file_size for member in members)
        fits = size <= min(MAX_ARCHIVE, FREE + MAX_RATIO * path.stat().st_size)
        demand(fits, f"{path} claims {size:,} bytes when unpacked", "no network is that large")
        for member in members:
            _check_array(path, archive, member)
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _check_array(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Raise `UserError` for an array of anything but numbers, or of another length than its header says."""
    name = f"{path}: {printable(member.filename)}"
    with archive.open(member) as file:
        try:
            shape, _, kind = HEADERS[np.lib.format.read_magic(file)](file)
        except Exception:  # NumPy parses the header as Python, with errors of many classes
            raise UserError(f"{name} has a damaged header", "is the file whole?") from None
        demand(kind in NUMBERS, f"{name} is of type {printable(str(kind))[:100]}", "weights are floating-point")
        whole = min(shape, default=0) >= 0 and file.tell() + math.prod(shape) * kind.itemsize == member.file_size
        demand(whole, f"{name} has another length than its shape {shown(shape)}", "is the file whole?")


def _check_stored(path: Path, state: State) -> None:
    """Raise `UserError` for a tensor that claims more values than the file holds, by strides of 0 for instance."""
    for key, tensor in state.items():
        if tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized:
            stored = tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()
            demand(stored, f"{path}: {key} of shape {tuple(tensor.shape)} has fewer values", "save it contiguous")


def check_state(file: Path, state: State) -> None:
    """Raise `UserError` for tensors that no network computes with."""
    for key, tensor in state.items():
        plain = tensor.layout == torch.strided and not tensor.is_quantized and tensor.device.type == "cpu"
        demand(plain, f"{file}: {key} is sparse, quantized or without values", "save it dense, and with its values")
        counts = key.endswith("num_batches_tracked")  # of BatchNorm
        kind = str(tensor.dtype).removeprefix("torch.")
        demand(tensor.dtype in FLOATS or counts, f"{file}: {key} is of type {kind}", "weights are floating-point")
        demand(tensor.numel() > 0, f"{file}: {key} is empty, of shape {tuple(tensor.shape)}", "is the file whole?")
        finite = bool(torch.isfinite(tensor.float()).all())
        demand(
            finite, f"{file}: {key} holds values that are not finite", "its training went wrong; take an earlier one"
        )


def read_weights(model: str | Path | Source) -> Weights:
    """The weights of a MODEL, a file of any dialect among them, in the names of `resmlp`.

    Raises `UserError` for a file that holds anything but tensors, or tensors of no known dialect.
    """
    source = resolve(model)
    file = source.file
    state = to_resmlp(unpacked_state(file, read_tensors(file)))
    if state is None:
        known = ", ".join(DIALECTS)
        raise UserError(f"{file} is of an unknown dialect", f"a known one has a key that ends in one of {known}")
    check_state(file, state)
    demand(state.get("head.weight", EMPTY).ndim == 2, f"{file}: head.weight is not a matrix", "is it a classifier?")
    weights, known_as = Weights(state, source.name), source.published
    return weights.without_head() if known_as and known_as.num_classes == 0 else weights


def read_own_weights(source: Source) -> Weights:
    """The weights of a segmenter or a translator: its weight file holds them in the names of `resmlp` already."""
    state = unpacked_state(source.file, read_tensors(source.file))
    check_state(source.file, state)
    return Weights(state, source.name)


def load_into(model: nn.Module, weights: Weights, swap_head: bool = False) -> bool:
    """Put `weights` into `model`, tensor by tensor; with `swap_head` a head of another class count keeps its own.

    A model on the device "meta", which has shapes alone, comes to the CPU. Returns whether the head kept its own.
    Raises `UserError` that names the first key or shape that does not fit.
    """
    own = model.state_dict()
    state = dict(weights.state)
    mine = {key: tensor for key, tensor in own.items() if key.startswith("head.")}
    other_count = weights.num_classes != (len(mine["head.weight"]) if mine else 0)
    swapped = other_count and (swap_head or not mine)
    if swapped:
        state = weights.without_head().state | mine
    for key, tensor in own.items():
        if key not in state:
            raise UserError(f"{weights.source} has no {key}", "it is of another model, or not whole")
        if state[key].shape != tensor.shape:
            shapes = f"{tuple(state[key].shape)}, the model wants {tuple(tensor.shape)}"
            raise UserError(f"{weights.source}: {key} is {shapes}", _hint(key))
    for key in state:
        if key not in own:
            raise UserError(f"{weights.source} has {key}, which the model lacks", "it is of another model")
    if any(tensor.is_meta for tensor in own.values()):
        model.to_empty(device="cpu")
    model.load_state_dict(state)  # copied, not assigned: a file's tensors lie at odd addresses, and compute otherwise
    return swapped


def _hint(key: str) -> str:
    """The likeliest reason why this tensor's shape differs."""
    if key.startswith("head."):
        return "another class count than the file, or what describes it, says elsewhere"
    if key.startswith(("encoder.", "decoder.")) and ".tokens.fn." in key:
        return "another max_length: a token mixer's matrix is of that size"
    if ".tokens.fn." in key or key.startswith("embed.position"):
        return "another img_size: a token mixer's matrix is fixed to its grid"
    return "it is of another model"
