"""The backends of `resmlp profile`: PyTorch, torch.compile, and exported networks on a CPU."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from resmlp.analysis.profiling.subjects import Subject
from resmlp.backends.runtimes import HAS, open_engine
from resmlp.config.precision import Execution, Precision
from resmlp.exporters.formats import check_packages, quiet, write_network
from resmlp.utils.checks import demand
from resmlp.utils.hardware import device_precisions, instruction_set

Network = Callable[[Tensor], Any]
"""images B 3 H W -> outputs"""
Backend = Callable[[Subject, str], Network]
"""(network, precision) -> a function that runs it"""
EXPORTED = ("onnx", "openvino")
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


def run_torch(subject: Subject, precision: str) -> Network:
    """The network in PyTorch."""
    return subject.model


def run_compiled(subject: Subject, precision: str) -> Network:
    """The network in torch.compile, compiled for each batch size."""
    return cast(Network, torch.compile(subject.model, dynamic=False))


def run_exported(to: str, subject: Subject, precision: str) -> Network:
    """The network exported to `to`, with all cores on one batch.

    In bf16 the weight file has 32 bits, and OpenVINO converts the weights.
    """
    with TemporaryDirectory(prefix="resmlp-profile-") as folder, quiet():
        write_network(deepcopy(subject.model).float(), subject.size, to, Path(folder))
        engine = open_engine(to, Path(folder), precision=cast(Precision, precision))
        engine.run(
            np.zeros((1, subject.channels, *subject.size), np.float32)
        )  # reads the files before they are removed
    return lambda images: engine.run(images.float().numpy())


BACKENDS: dict[str, Backend] = {
    "torch": run_torch,
    "compile": run_compiled,
    **{to: partial(run_exported, to) for to in EXPORTED},
}


def check_backend(backend: str, device: str, precision: str) -> None:
    """Raise `UserError` if a backend of `BACKENDS` lacks a package, or does not support the device or precision."""
    if backend in EXPORTED:
        check_packages(backend, "--backend")
        demand(device == "cpu", f"--backend {backend} runs only on a CPU, not on {device}", "--device cpu")
    unit = f" ({instruction_set('fp32')})" if device == "cpu" else ""
    Execution(precision=precision).among(precisions_of(backend, device), f"--backend {backend} on this {device}{unit}")


def precisions_of(backend: str, device: str) -> list[Precision]:
    """The precisions that a backend has on a device, fp32 first."""
    return [name for name in device_precisions(device) if name in HAS.get(backend, DTYPES)]


def lowest_precision(backends: Iterable[str], device: str) -> Precision:
    """The lowest precision that all of these backends have on a device: they are compared in one."""
    every = [precisions_of(backend, device) for backend in backends]
    return [name for name in device_precisions(device) if all(name in present for present in every)][-1]


@contextmanager
def allow_recompiles(count: int) -> Iterator[None]:
    """Let torch.compile compile one `forward` `count` times; above its default limit of 8 it falls back silently."""
    if not count:
        yield
        return
    from torch import _dynamo

    with _dynamo.config.patch(recompile_limit=2 * count + 8):
        yield
