"""A ResMLP by NumPy alone, for small networks whose first answer shall not wait until torch is loaded. Loads no torch.

B images, N tokens, D channels, K classes.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file

from resmlp.config.model_json import TrunkConfig
from resmlp.config.vision import Architecture

State = dict[str, np.ndarray]
ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
ERF_RATE = 0.3275911
"""Abramowitz and Stegun 7.1.26: erf to 1.5e-7"""


def is_plain(arch: Architecture) -> bool:
    """Whether `NumpyTrunk` has all parts of the architecture: it is the paper's ResMLP."""
    parts = (arch.mixer, arch.norm, arch.activation, arch.scale, arch.residual, arch.pool)
    return parts == ("linear", "affine", "gelu", "layerscale", "pre", "mean") and not arch.pos_embed


def read_state(file: Path) -> State:
    """The weights of a file as float32; the codes of `resmlp.models.quantize` in 8 bits become weights."""
    stored = load_file(file)
    state = {key: value.astype(np.float32) for key, value in stored.items()}
    for name in [name for name in state if name.endswith(".codes")]:
        codes, step = state.pop(name), state.pop(f"{name.removesuffix('.codes')}.step")
        state[name.removesuffix(".codes")] = codes * step.reshape(-1, *[1] * (codes.ndim - 1))
    return state


class Layer(NamedTuple):
    """What a layer mixes patches with, as a layer of `resmlp.analysis.layers`."""

    number: int
    name: str
    grid: tuple[int, int]
    weight: np.ndarray
    """A, N N"""

    def matrices(self) -> dict[str, np.ndarray]:
        """A."""
        return {"A": self.weight}


class NumpyTrunk:
    """The network of `config`, for which `is_plain` holds, with the weights `state`."""

    def __init__(self, config: TrunkConfig, state: State):
        self.config, self.state = config, state

    def layers(self) -> list[Layer]:
        """All of them."""
        names = range(self.config.architecture.depth)
        return [Layer(i, f"layer {i}", self.config.grid, self.state[f"blocks.{i}.tokens.fn.weight"]) for i in names]

    def features(self, images: np.ndarray) -> np.ndarray:
        """float32 B 3 H W -> B D, the mean of the tokens after the last norm"""
        x = self._embed(images)
        for i in range(self.config.architecture.depth):
            x = self._mix_tokens(x, f"blocks.{i}.tokens")
            x = self._mix_channels(x, f"blocks.{i}.channels")
        return self._affine(x, "norm").mean(1)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """float32 B 3 H W -> B K"""
        return self._linear(self.features(images), "head")

    def _embed(self, images: np.ndarray) -> np.ndarray:
        weight, bias = self.state["embed.patches.proj.weight"], self.state["embed.patches.proj.bias"]
        (rows, columns), side = self.config.grid, self.config.architecture.patch_size
        patches = images.reshape(len(images), -1, rows, side, columns, side).transpose(0, 2, 4, 1, 3, 5)
        return patches.reshape(len(images), rows * columns, -1) @ weight.reshape(len(weight), -1).T + bias

    def _mix_tokens(self, x: np.ndarray, name: str) -> np.ndarray:
        """Equation 2 of the paper, B N D -> B N D: each channel by the matrix A over the tokens."""
        mixed = self.state[f"{name}.fn.weight"] @ self._affine(x, f"{name}.norm")
        return x + self.state[f"{name}.scale.gamma"] * (mixed + self.state[f"{name}.fn.bias"][:, None])

    def _mix_channels(self, x: np.ndarray, name: str) -> np.ndarray:
        """Equation 3, B N D -> B N D: each token by an MLP over the channels."""
        hidden = gelu(self._linear(self._affine(x, f"{name}.norm"), f"{name}.fn.fc1"))
        return x + self.state[f"{name}.scale.gamma"] * self._linear(hidden, f"{name}.fn.fc2")

    def _affine(self, x: np.ndarray, name: str) -> np.ndarray:
        return x * self.state[f"{name}.alpha"] + self.state[f"{name}.beta"]

    def _linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]


def gelu(x: np.ndarray) -> np.ndarray:
    """x times the normal distribution function of x."""
    size = np.abs(x) * np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(ERF_RATE) * size)
    series = np.zeros_like(t)
    for factor in reversed(ERF):
        series = (series + np.float32(factor)) * t
    erf = np.copysign(1 - series * np.exp(-size * size), x)
    return 0.5 * x * (1 + erf)
