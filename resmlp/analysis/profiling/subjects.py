"""A network to profile, with its counts: parameters, bytes, multiply-adds."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resmlp.config.image_size import Size
from resmlp.inference.model_kinds import open_source
from resmlp.models import Segmenter, Seq2Seq, count_macs, count_parameters
from resmlp.models.count import input_channels
from resmlp.utils.errors import UserError


@dataclass(frozen=True)
class Subject:
    """An image network in evaluation mode."""

    name: str
    """MODEL as given"""
    model: nn.Module
    size: Size
    """(height, width) of its input in pixels; the window of a segmenter"""

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return count_parameters(self.model)

    @property
    def channels(self) -> int:
        """Channels of its images."""
        return input_channels(self.model)

    @property
    def weight_bytes(self) -> int:
        """Bytes of its parameters and buffers."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        return sum(tensor.nbytes for tensor in tensors)

    def macs(self) -> int:
        """Multiply-adds for one image, Table 1's "FLOPs". Raises `UserError` if the network cannot run."""
        parameter = next(self.model.parameters())
        try:
            return count_macs(self.model, blank(1, self.size, parameter.device, parameter.dtype, self.channels))
        except Exception as error:
            reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
            what = f"{self.name} cannot run at {self.size[0]}x{self.size[1]}: {reason}"
            raise UserError(what, "profile takes networks of one image") from error


def open_subject(name: str, size: Size | None = None) -> Subject:
    """Open a MODEL on the CPU in fp32, for images of `size` (height, width) if it is given.

    Raises `UserError` if it does not exist, is not an image network, or cannot be moved to the size.
    """
    opened = open_source(name, size)
    if isinstance(opened.model, Seq2Seq):
        raise UserError(f"{name} translates text", "profile takes classifiers and segmenters")
    if isinstance(opened.model, Segmenter):
        return Subject(name, opened.model, opened.model.config.size)
    if not any(True for _ in opened.model.parameters()):
        hint = "profile its network before the export, with --backend onnx or openvino"
        raise UserError(f"{name} is an exported network", hint)
    return Subject(name, opened.model.eval(), opened.preprocessing.size)


def blank(batch: int, size: Size, device: torch.device | str, dtype: torch.dtype, channels: int = 3) -> Tensor:
    """Images B C H W of seeded noise; zeros would use less energy than photographs."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, channels, *size, generator=generator).to(device, dtype).repeat(batch, 1, 1, 1)
