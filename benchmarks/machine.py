"""What a number was measured on: processor, instruction sets, cores, threads and versions, in one form for all."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from resmlp.utils.hardware import cores

CPUINFO = Path("/proc/cpuinfo")
INSTRUCTION_SETS = {
    *("avx2", "fma", "avx_vnni", "avx_vnni_int8"),
    *("avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni"),
    *("amx_tile", "amx_bf16", "amx_fp16", "amx_int8"),
    *("asimd", "asimddp", "bf16", "i8mm", "sve", "sve2"),
}
"""those on which the speed of matrix products depends, on x86 and on ARM, as Linux names them"""


def conditions(*peers: str) -> dict[str, Any]:
    """`machine` and `versions` of a result, with those of the packages it is compared with, by their names on PyPI."""
    return {"machine": machine(), "versions": versions(*peers)}


def machine() -> dict[str, Any]:
    """Processor, instruction sets (null if they cannot be read), cores this process may use, torch's threads, GPU."""
    info = CPUINFO.read_text() if CPUINFO.exists() else ""
    found = {
        "cpu": "".join(entry(info, "model name")) or platform.processor() or platform.machine(),
        "instruction_sets": instruction_sets(info),
        "cores": cores(),
        "threads": torch.get_num_threads(),
    }
    return found | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def instruction_sets(info: str) -> list[str] | None:
    """Those of `INSTRUCTION_SETS` that the text of /proc/cpuinfo lists; None if it lists none at all."""
    flags = " ".join([*entry(info, "flags"), *entry(info, "Features")]).split()
    return sorted(INSTRUCTION_SETS.intersection(flags)) if flags else None


def entry(info: str, name: str) -> list[str]:
    """The value of the first line `name : value`; empty if there is none."""
    lines = (line.partition(":") for line in info.splitlines())
    return [value.strip() for key, _, value in lines if key.strip() == name][:1]


def versions(*peers: str) -> dict[str, str]:
    """The versions of Python, resmlp, torch and `peers`; "absent" for a package that is not installed."""
    found = {"python": platform.python_version(), "torch": str(torch.__version__)}
    for package in ("resmlp", *peers):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
