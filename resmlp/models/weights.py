"""Weights from files that hold tensors alone, and into a network, tensor by tensor."""

import argparse
import warnings
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from resmlp.checks import demand
from resmlp.errors import UserError
from resmlp.models.dialects import DIALECTS, State, to_ours, unwrapped
from resmlp.published import published
from resmlp.sources import file_of, is_published

MAX_ARCHIVE = 16 * 2**30  # bytes of an .npz when unpacked: eight times the largest Mixer there is
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
    if not path.is_file():
        raise UserError(f"no weights at {path}", "give a file, a run folder, or a name of `resmlp list weights`")
    try:
        loaded = _load(path)
    except (SafetensorError, OSError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot read weights from {path}: {reason}", "is it whole?") from None
    except UserError:
        raise
    except Exception as error:  # pickle's errors have no common class
        reason = f"it holds more than tensors ({type(error).__name__})"
        raise UserError(f"refused to load {path}: {reason}", "save its state dict alone") from None
    tensors = unwrapped(loaded)
    if tensors is None:
        raise UserError(f"{path} holds no dictionary of tensors", "save its state dict alone")
    return tensors


def _load(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        demand(size <= MAX_ARCHIVE, f"{path} claims {size:,} bytes when unpacked", "no network is that large")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    with warnings.catch_warnings():  # of an unusual pickle: what matters is whether it is refused
        warnings.simplefilter("ignore")
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)


def read_weights(source: str | Path) -> Weights:
    """The weights of a run folder, a file of any dialect, published `model.tag`, or `hf-hub:ORG/NAME`, in our names."""
    source = str(source)
    file = file_of(source)
    state = to_ours(read_tensors(file))
    if state is None:
        known = ", ".join(DIALECTS)
        raise UserError(f"{file} is of no dialect we know", f"a known one has a key that ends in one of {known}")
    demand(state.get("head.weight", EMPTY).ndim == 2, f"{file}: head.weight is no matrix", "is it a classifier?")
    weights = Weights(state, source)
    headless = is_published(source) and published(source).num_classes == 0
    return weights.without_head() if headless else weights


def load_into(model: nn.Module, weights: Weights, swap_head: bool = False) -> bool:
    """Put `weights` into `model`, tensor by tensor; with `swap_head` a head of another class count keeps its own.

    Returns whether it did. Raises `UserError` that names the first key or shape that does not fit.
    """
    own = model.state_dict()
    state = dict(weights.state)
    mine, theirs = ({k: v.shape for k, v in some.items() if k.startswith("head.")} for some in (own, state))
    swapped = mine != theirs and (swap_head or not mine)
    if swapped:
        state = {k: v for k, v in state.items() if k not in theirs} | {k: own[k] for k in mine}
    for key, tensor in own.items():
        if key not in state:
            raise UserError(f"{weights.source} has no {key}", "it is of another model; see its model.json")
        if state[key].shape != tensor.shape:
            shapes = f"{tuple(state[key].shape)}, the model wants {tuple(tensor.shape)}"
            raise UserError(f"{weights.source}: {key} is {shapes}", _hint(key))
    for key in state:
        if key not in own:
            raise UserError(f"{weights.source} has {key}, which the model lacks", "it is of another model")
    model.load_state_dict(state)
    return swapped


def _hint(key: str) -> str:
    """The likeliest reason why this tensor's shape differs."""
    if key.startswith("head."):
        return "another class count; leave num_classes out, or fine-tune with --model.checkpoint"
    if ".tokens.fn." in key or key.startswith("embed.position"):
        return "another img_size: a token mixer's matrix is fixed to its grid"
    return "it is of another model"
