"""What a machine is measured with: its clock, its allocator's peak, its energy counter, and its fastest product."""

import importlib
import importlib.util
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from resmlp.analysis.profiling.rounds import Clock, Meter, Work

SIDE = {"cpu": 2048, "cuda": 8192, "mps": 4096}  # of the square product: large enough to keep every unit busy


def clock_of(device: torch.device) -> Clock:
    """Seconds, once the device has done all that it was given."""

    def clock() -> float:
        if device.type != "cpu":
            torch.accelerator.synchronize()
        return time.perf_counter()

    return clock


def matmul(device: torch.device, dtype: torch.dtype) -> Work:
    """A product of two large square matrices; its amount is in floating-point operations, two a multiply-add."""
    side = SIDE[device.type]
    left, right = torch.randn(2, side, side, device=device).to(dtype).unbind()
    out = torch.empty_like(left)
    return Work(lambda: torch.mm(left, right, out=out), 2.0 * side**3)


def allocated(run: Callable[[], object]) -> int:
    """By how many bytes the peak of CUDA's allocator during a second `run` exceeds what was allocated before it.

    The first may leave a workspace of cuBLAS's behind, and a compiled program.
    """
    run()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def energy_meter(device: torch.device, nvml: Any = None) -> Meter | None:
    """Joules that the GPU used since its driver was loaded, by NVML (package nvidia-ml-py); None where nothing tells.

    `nvml` stands in for the module `pynvml`.
    """
    if device.type != "cuda" or (nvml is None and importlib.util.find_spec("pynvml") is None):
        return None
    nvml = nvml or importlib.import_module("pynvml")
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)  # older GPUs have no counter
    except nvml.NVMLError:
        return None
    return lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000


def describe(device: torch.device) -> str:
    """The accelerator, or how many cores may be used of which processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    cores = len(affinity(0)) if affinity else os.cpu_count()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = named[0] if named else platform.processor() or platform.machine()
    return f"{cores} {'core' if cores == 1 else 'cores'}, {processor}" + (", mps" if device.type == "mps" else "")


@contextmanager
def exact_fp32() -> Iterator[None]:
    """Single precision is meant: no TF32 in products and convolutions, as on the paper's V100."""
    backends: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn.conv]  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "ieee"
    try:
        yield
    finally:
        for backend, precision in zip(backends, before):
            backend.fp32_precision = precision
