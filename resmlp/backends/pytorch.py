"""torch as an engine for networks on a CPU, like those of `resmlp.backends.runtimes`."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from resmlp.config.precision import Precision


class TorchEngine:
    """A torch network, folded or not."""

    def __init__(self, network: Callable[[Tensor], Tensor], name: str = "torch", precision: Precision = "fp32"):
        self.network, self.name, self.precision = network, name, precision
        self.cores = 1  # torch uses its own threads for each batch, so streams would not help

    @torch.inference_mode()
    def run(self, images: np.ndarray) -> np.ndarray:
        """B 3 H W -> B K"""
        return self.network(torch.from_numpy(images)).float().numpy()

    def run_streams(self, chunks: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run one chunk after the other."""
        return [self.run(chunk) for chunk in chunks]


class CompiledEngine(TorchEngine):
    """A network compiled by torch.compile, for any batch size."""

    def __init__(self, network: nn.Module, precision: Precision = "fp32"):
        super().__init__(torch.compile(network), "torch.compile", precision)
