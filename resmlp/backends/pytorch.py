"""torch as a program that runs networks on a CPU, as `resmlp.backends.runtimes` has others."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn


class Torch:
    """A network of torch's, folded or not."""

    def __init__(self, network: Callable[[Tensor], Tensor], name: str = "torch"):
        self.network, self.name, self.cores = network, name, 1
        # of torch's own threads there are as many as it was told: streams are not for it

    @torch.inference_mode()
    def one(self, images: np.ndarray) -> np.ndarray:
        """B 3 H W -> B K"""
        return self.network(torch.from_numpy(images)).float().numpy()

    def many(self, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
        """One after the other."""
        return [self.one(part) for part in parts]


class Compiled(Torch):
    """The same by torch.compile, any number of images."""

    def __init__(self, network: nn.Module):
        super().__init__(torch.compile(network), "torch.compile")
