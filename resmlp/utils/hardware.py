"""What the matrix units of this CPU multiply: precisions and instruction sets. Loads no torch."""

import os
import platform
from functools import cache
from pathlib import Path
from typing import Literal

Precision = Literal["fp32", "bf16", "int8"]
"""of the factors of matrix products; sums are of 32 bits"""
SETS: dict[Precision, tuple[str, ...]] = {
    "fp32": ("avx512f", "avx2", "asimd", "sse4_2"),
    "bf16": ("amx_bf16", "avx512_bf16", "bf16"),
    "int8": ("amx_int8", "avx512_vnni", "avx_vnni", "i8mm", "asimddp", "avx2"),
}
"""names of Linux, the fastest first. Products of int8 need none of them: without, they widen to 16 bits"""


def cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@cache
def cpu_flags() -> frozenset[str]:
    """The names that Linux has for what this CPU can do; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    listed = (line.partition(":") for line in lines)
    return frozenset(next((rest for name, _, rest in listed if name.strip() in ("flags", "Features")), "").split())


def instruction_set(precision: Precision) -> str:
    """The fastest instruction set of this CPU for products of this precision; the machine's name where none is known.

    `ONEDNN_MAX_CPU_ISA`, which limits torch and OpenVINO, counts where it rules out all units of bf16.
    """
    flags = cpu_flags()
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in BELOW_BF16:
        flags -= {name for names in SETS.values() for name in names if name not in ("avx2", "sse4_2")}
    return next((name for name in SETS[precision] if name in flags), platform.machine())


BELOW_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")


def cpu_precisions() -> tuple[Precision, ...]:
    """The precisions of floating-point numbers that this CPU has products for."""
    return ("fp32", "bf16") if instruction_set("bf16") in SETS["bf16"] else ("fp32",)


def device_precisions(device: str) -> tuple[Precision, ...]:
    """The same of a type of device: cpu, cuda or mps."""
    return cpu_precisions() if device == "cpu" else ("fp32", "bf16") if device == "cuda" else ("fp32",)
