"""ExecuTorch's Python runtime as an engine. It loads torch."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from resmlp.config.precision import Precision

LARGEST_BATCH = 32
"""images; a .pte plans its memory for that many"""


class ExecuTorch:
    """A model.pte, run by XNNPACK and by ExecuTorch's own kernels."""

    name = "executorch"
    precision: Precision = "fp32"
    cores = 1
    """it has threads of its own, so streams would not help"""

    def __init__(self, folder: Path):
        self.path = folder / "model.pte"

    @cached_property
    def _method(self) -> Any:
        from executorch.runtime import Runtime

        return Runtime.get().load_program(self.path).load_method("forward")

    def run(self, images: np.ndarray) -> np.ndarray:
        """B 3 H W -> B K, at most `LARGEST_BATCH` images at a time."""
        parts = np.array_split(images, -(-len(images) // LARGEST_BATCH))
        outputs = [self._method.execute([torch.from_numpy(np.ascontiguousarray(part))])[0] for part in parts]
        return np.concatenate([output.numpy().copy() for output in outputs])

    def run_streams(self, chunks: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run one chunk after the other."""
        return [self.run(chunk) for chunk in chunks]
