"""`resmlp compress`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from resmlp.cli.base import Device, Verb, print_text
from resmlp.compression import MethodName
from resmlp.config.evaluation import EvalData
from resmlp.config.precision import PrecisionChoice


@dataclass(frozen=True, kw_only=True)
class Compress(Verb):
    """compress a network to 8 bits, 4 bits or fewer weights; prints accuracy and bytes before and after"""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """a run folder, a file of weights, a name of `resmlp list weights`, or hf-hub:ORG/NAME"""
    to: MethodName
    """int8: weights and activations, for onnxruntime; int8-openvino: the same for openvino; int4: weights; pruned: a
    `share` of each matrix is 0; 2:4: two of each four weights are 0"""
    data: EvalData = field(default_factory=EvalData)
    train: str | None = None
    """a tree of class folders with calibration images; default train/ of the data, or the training set of the run.
    None of them may be evaluated"""
    images: int = 512
    """number of calibration images"""
    share: float = 0.5
    """share of the weights of each matrix that `pruned` sets to 0"""
    out: Path | None = None
    """output folder; default RUN/METHOD for a run folder, else METHOD/NAME"""
    device: Device = "auto"
    precision: PrecisionChoice = "fp32"
    """of the networks in torch when their accuracy is measured: fp32, bf16 or auto"""

    def run(self) -> dict[str, Any]:
        """Write the files, and measure both networks."""
        from resmlp.compression.compress import compress

        result = compress(
            self.model,
            self.to,
            self.out,
            data=self.data,
            train=self.train,
            images=self.images,
            share=self.share,
            device=self.device,
            precision=self.precision,
        )
        if not self.json:
            print_text(result)
        return result.to_dict()
