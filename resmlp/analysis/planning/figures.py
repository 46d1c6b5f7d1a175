"""The figures that a plan is computed from, each with its source. None of them is an estimate of ours.

What we measured is in measured.json, which docs/plan.py writes from results/*.json: the installed package has no
results/.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from resmlp.paper import TABLES
from resmlp.utils.errors import lookup
from resmlp.utils.files import read_json

MEASURED = Path(__file__).parent / "measured.json"


class Figure(NamedTuple):
    """A number and where it is from."""

    value: float
    source: str


@dataclass(frozen=True)
class Gpu:
    """A GPU by its data sheet: dense products, without sparsity."""

    title: str
    fp32: float
    """operations per second, of the arithmetic units; TF32 does not count"""
    bf16: float | None
    """operations per second of the matrix units with sums in fp32; None: it has no such units"""
    memory: float
    """bytes"""
    bandwidth: float
    """bytes per second of its memory"""

    def peak(self, precision: str) -> float | None:
        """Operations per second."""
        return self.fp32 if precision == "fp32" else self.bf16

    @property
    def source(self) -> str:
        """Where the numbers are from."""
        return f"NVIDIA, data sheet of the {self.title}"


GPUS: dict[str, Gpu] = {
    "v100": Gpu("V100 SXM2", 15.7e12, None, 32e9, 0.9e12),
    "a100": Gpu("A100 SXM 80 GB", 19.5e12, 312e12, 80e9, 2.039e12),
    "h100": Gpu("H100 SXM", 67e12, 989e12, 80e9, 3.35e12),
    "h200": Gpu("H200 SXM", 67e12, 989e12, 141e9, 4.8e12),
    "l4": Gpu("L4", 30.3e12, 121e12, 24e9, 0.3e12),
    "l40s": Gpu("L40S", 91.6e12, 362e12, 48e9, 0.864e12),
    "rtx3090": Gpu("GeForce RTX 3090", 35.6e12, 71e12, 24e9, 0.936e12),
    "rtx4090": Gpu("GeForce RTX 4090", 82.6e12, 165e12, 24e9, 1.008e12),
}

TIMM_GPU = "rtx3090"
TIMM = "timm, commit 5e7d47ca, results/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv"
TIMM_TRAINING: dict[str, float] = {
    "resmlp_s12": 1577.31,
    "resmlp_s24": 776.95,
    "resmlp_s36": 509.53,
    "resmlp_b24_p8": 70.41,
    "mixer_s32": 4943.04,
    "mixer_s16": 1660.76,
    "mixer_b32": 1856.75,
    "mixer_b16": 556.6,
    "mixer_l32": 543.38,
    "mixer_l16": 171.41,
    "deit_s": 1050.7,
}
"""images per second of training in mixed precision at 224x224 on one RTX 3090, of the networks under our names"""
PAPER_GPU = "v100"
PAPER = "the paper, Table 1: inference, batch 32, fp32, one V100"
PAPER_ROWS = {"resmlp_s12": "s12", "resmlp_s24": "s24", "resmlp_b24": "b24"}
USUAL = "resmlp_s12"
"""the network whose efficiency is taken for one that nobody has published"""

IMAGENET = "ImageNet-1k"
IMAGENET_IMAGES = Figure(1_281_167, "ILSVRC2012, training images")
IMAGENET_BYTES = Figure(147_897_477_120 / 1_281_167, "the size of ILSVRC2012_img_train.tar over its images")


class Published(NamedTuple):
    """A published speed, from which the efficiency on another GPU is computed."""

    network: str
    gpu: Gpu
    images_per_s: float
    passes: int
    """1: forward; 3: forward and backward, which takes twice the operations"""
    source: str


def published_speed(network: str, precision: str) -> Published:
    """That of the network in this precision, or of `USUAL`."""
    if precision == "fp32":
        table, name = TABLES["table1"], network if network in PAPER_ROWS else USUAL
        speed = table.reported(table.row(PAPER_ROWS[name]))["images_per_s"]
        return Published(name, GPUS[PAPER_GPU], speed, 1, PAPER)
    name = network if network in TIMM_TRAINING else USUAL
    return Published(name, GPUS[TIMM_GPU], TIMM_TRAINING[name], 3, TIMM)


def gpu_named(name: str) -> Gpu:
    """The GPU of a name of `--gpu`. Raises `UserError`."""
    return lookup("GPU", name.lower(), GPUS, "give --mfu and the most similar one for any other")


@cache
def measured() -> dict[str, Any]:
    """What we measured: name -> {"value": ..., "source": ...}."""
    found: dict[str, Any] = read_json(MEASURED)
    return found


def measured_figure(name: str) -> Figure:
    """One of them."""
    entry = measured()[name]
    return Figure(entry["value"], entry["source"])
