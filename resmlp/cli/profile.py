"""`resmlp profile`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from resmlp.cli.base import Device, ImgSize, Verb
from resmlp.config.help import MANY, default_if_any
from resmlp.config.precision import PrecisionChoice

Backend = Literal["torch", "compile", "onnx", "openvino"]


@dataclass(frozen=True, kw_only=True)
class Profile(Verb):
    """parameters, multiply-adds, images per second, memory: Table 1's columns for any networks, side by side"""

    models: Annotated[Positional[tuple[str, ...]], arg(metavar="MODEL...", help_behavior_hint=default_if_any)]
    """run folders, weight files, names of `resmlp list`, hf-hub:ORG/NAME, timm:NAME; a segmenter runs at its window"""
    against: Annotated[tuple[str, ...], MANY] = ()
    """more networks, measured as well: each row shows its speedup over them, round by round"""
    batch: tuple[int, ...] = (32,)
    """batch sizes"""
    precision: PrecisionChoice = "fp32"
    """of weights and images: fp32 (without TF32), bf16, or auto, the lowest that the device and all backends have"""
    backend: tuple[Backend, ...] = ("torch",)
    """what runs the networks; onnx and openvino run the exported network on a CPU"""
    seconds: float = 3.0
    """for each network, batch size and backend; more if three calls take longer"""
    out: Path | None = None
    """a folder for profile.json and the plot of accuracy against throughput, tradeoff.png and .svg"""
    img_size: ImgSize = None
    device: Device = "auto"

    def run(self) -> dict[str, Any]:
        """Measure, print a table on standard error, and write the files of `--out`."""
        from resmlp.analysis.profiling.profile import profile
        from resmlp.utils.console import console

        result = profile(
            self.models,
            against=self.against,
            batch=self.batch,
            precision=self.precision,
            backend=self.backend,
            seconds=self.seconds,
            out=self.out,
            device=self.device,
            img_size=self.img_size,
        )
        console.print(result.table())
        if self.out:
            print(f"written: {self.out}", file=sys.stderr)
        return result.to_dict()
