"""What is profiled: a network that sees, with what can be counted of it before it runs."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resmlp.inference.kinds import open_source
from resmlp.models import Segmenter, Seq2Seq, count_macs, count_parameters
from resmlp.utils.errors import UserError

Size = tuple[int, int]


@dataclass(frozen=True)
class Subject:
    """A network in evaluation mode, on the CPU in single precision when it is opened."""

    name: str
    """as it was asked for"""
    model: nn.Module
    size: Size
    """(height, width) of its input, in pixels; a segmenter's is its window"""

    @property
    def parameters(self) -> int:
        """How many numbers were, or could be, learned."""
        return count_parameters(self.model)

    @property
    def weight_bytes(self) -> int:
        """What its parameters and buffers take."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        return sum(tensor.nbytes for tensor in tensors)

    def macs(self) -> int:
        """Multiply-adds for one image: Table 1's "FLOPs". Raises `UserError` for a network that cannot be run."""
        parameter = next(self.model.parameters())
        try:
            return count_macs(self.model, blank(1, self.size, parameter.device, parameter.dtype))
        except Exception as error:
            reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
            what = f"{self.name} cannot be run at {self.size[0]}x{self.size[1]}: {reason}"
            raise UserError(what, "profile takes networks of one image") from error


def open_subject(name: str) -> Subject:
    """What a MODEL of the command line means. Raises `UserError` for what is not there, or sees no images."""
    opened = open_source(name)
    if isinstance(opened.model, Seq2Seq):
        raise UserError(f"{name} translates text", "profile takes classifiers and segmenters")
    if isinstance(opened.model, Segmenter):
        return Subject(name, opened.model, opened.model.config.size)
    if not any(True for _ in opened.model.parameters()):
        hint = "profile its network before the export, with --backend onnx or openvino"
        raise UserError(f"{name} is an exported network", hint)
    return Subject(name, opened.model.eval(), opened.preprocessing.size)


def blank(batch: int, size: Size, device: torch.device | str, dtype: torch.dtype) -> Tensor:
    """Images B 3 H W of seeded noise: zeros would cost less energy than what a camera sees."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 3, *size, generator=generator).to(device, dtype).repeat(batch, 1, 1, 1)
