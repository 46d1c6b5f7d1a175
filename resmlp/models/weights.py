"""Weights of others, by one pure renaming function for each dialect, and files that hold tensors alone.

Dialects are told by their keys: ours, the authors' (deit's `resmlp_models.py`), and timm's ResMLP and MLP-Mixer.
"""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from resmlp.checks import demand
from resmlp.errors import UserError

State = dict[str, Tensor]


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


def _dialect(stem: str, tokens: str, channels: str, scale: str) -> Callable[[State], State]:
    """The renaming function of a dialect that differs by four names, patterns all; (1, 1, d) Affines become (d)."""
    block = r"^(blocks\.\d+)\."
    rules = (
        (rf"^{stem}\.", "embed.patches."),
        (block + r"norm1\.", r"\1.tokens.norm."),
        (block + rf"{tokens}\.", r"\1.tokens.fn."),
        (block + rf"{scale}1$", r"\1.tokens.scale.gamma"),
        (block + r"norm2\.", r"\1.channels.norm."),
        (block + rf"{channels}\.", r"\1.channels.fn."),
        (block + rf"{scale}2$", r"\1.channels.scale.gamma"),
    )

    def ours(key: str) -> str:
        for old, new in rules:
            key = re.sub(old, new, key)
        return key

    def rename(state: State) -> State:
        return {ours(k): v.flatten() if v.shape[:2] == (1, 1) and v.ndim == 3 else v for k, v in state.items()}

    return rename


from_official = _dialect("patch_embed", "attn", "mlp", "gamma_")
from_timm = _dialect("stem", "(?:linear|mlp)_tokens", "mlp_channels", "ls")

EMPTY = torch.empty(0, 0)

WRAPPED = re.compile(r"^(module\.|_orig_mod\.)+")  # what DDP and torch.compile put before each key

DIALECTS: dict[str, Callable[[State], State]] = {
    "embed.patches.proj.weight": dict,
    "patch_embed.proj.weight": from_official,
    "stem.proj.weight": from_timm,
}
"""a key that only this dialect has -> its renaming function"""


def read_tensors(path: Path) -> State:
    """The tensors of a .safetensors or PyTorch file; anything else in it is refused, never unpickled."""
    if not path.is_file():
        raise UserError(f"no weights at {path}", "give a .safetensors or .pth file, or a run folder")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():  # of an unusual pickle: what matters is whether it is refused
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot read weights from {path}: {reason}", "is it whole?") from None
    except Exception as error:  # pickle's errors have no common class
        reason = f"it holds more than tensors ({type(error).__name__})"
        raise UserError(f"refused to load {path}: {reason}", "save its state dict alone") from None
    for wrapper in ("model", "state_dict", "state_dict_ema"):
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict):
        raise UserError(f"{path} holds no dictionary of tensors", "save its state dict alone")
    tensors = {key: value for key, value in loaded.items() if isinstance(key, str) and isinstance(value, Tensor)}
    return {WRAPPED.sub("", key): value for key, value in tensors.items()}


def weights_path(path: str | Path) -> Path:
    """The file meant by a run folder or a file."""
    path = Path(path)
    return path / "model.safetensors" if path.is_dir() else path


def read_weights(path: str | Path) -> Weights:
    """The weights of a run folder or a file of any dialect, under our names."""
    file = weights_path(path)
    state = read_tensors(file)
    for key, rename in DIALECTS.items():
        if key in state:
            state = rename(state)
            demand(
                state.get("head.weight", EMPTY).ndim == 2, f"{file}: head.weight is no matrix", "is it a classifier?"
            )
            return Weights(state, str(path))
    known = ", ".join(DIALECTS)
    raise UserError(f"{file} is of no dialect we know", f"a known one has one of the keys {known}")


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
