"""The instruments of a device: clock, peak of the allocator, energy counter, and a large matrix product."""

import importlib
import importlib.util
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from resmlp.analysis.profiling.rounds import Clock, Meter, Work
from resmlp.utils.errors import counted
from resmlp.utils.hardware import cores

SIDE = {"cpu": 2048, "cuda": 8192, "mps": 4096}  # of the square matrices: large enough to use the whole device


def clock_of(device: torch.device) -> Clock:
    """A clock in seconds that waits until the device has finished its work."""

    def clock() -> float:
        if device.type != "cpu":
            torch.accelerator.synchronize()
        return time.perf_counter()

    return clock


def matmul(device: torch.device, dtype: torch.dtype) -> Work:
    """A product of two large square matrices; its amount is floating-point operations, two for a multiply-add."""
    side = SIDE[device.type]
    left, right = torch.randn(2, side, side, device=device).to(dtype).unbind()
    out = torch.empty_like(left)
    return Work(lambda: torch.mm(left, right, out=out), 2.0 * side**3)


def allocated(run: Callable[[], object]) -> int:
    """Peak bytes of CUDA's allocator during a second `run`, above the bytes allocated before it.

    The first run may leave a cuBLAS workspace and a compiled program behind.
    """
    run()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def energy_meter(device: torch.device, nvml: Any = None) -> Meter | None:
    """The energy counter of the GPU in joules, by NVML (package nvidia-ml-py); None if there is no counter.

    `nvml` replaces the module `pynvml` in tests.
    """
    if device.type != "cuda" or (nvml is None and importlib.util.find_spec("pynvml") is None):
        return None
    nvml = nvml or importlib.import_module("pynvml")
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)  # raises on GPUs without a counter
    except nvml.NVMLError:
        return None
    return lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000


def describe(device: torch.device) -> str:
    """The name of the accelerator, or the number of usable cores and the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.processor() or platform.machine()
    return f"{counted(cores(), 'core')}, {processor}" + (", mps" if device.type == "mps" else "")


@contextmanager
def exact_fp32() -> Iterator[None]:
    """Disable TF32 in matrix products and convolutions; the paper's V100 has no TF32."""
    backends: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn.conv]  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "ieee"
    try:
        yield
    finally:
        for backend, precision in zip(backends, before):
            backend.fp32_precision = precision
