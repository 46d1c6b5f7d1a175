"""Table 1's columns of any networks: parameters, multiply-adds, throughput, memory; beside them energy and the machine.

All networks, backends and batches take turns in the same rounds (`rounds`), as does a large product of square matrices,
of whose speed each throughput is a share.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from resmlp.analysis.profiling.device import allocated, clock_of, describe, energy_meter, exact_fp32, matmul
from resmlp.analysis.profiling.rounds import Measured, Work, measure
from resmlp.analysis.profiling.rss import resident_memory
from resmlp.analysis.profiling.subjects import Subject, blank, open_subject
from resmlp.utils.errors import UserError, lookup, printable

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
Backend = Callable[[Subject, str], Callable[[Tensor], Any]]
"""what makes of a network something that runs, at a precision (a key of `DTYPES`)"""
BACKENDS: dict[str, Backend] = {
    "torch": lambda subject, precision: subject.model,
    "compile": lambda subject, precision: torch.compile(subject.model, dynamic=False),
}

TOO_MUCH = ("out of memory", "allocate memory")  # torch's words, of a GPU and of a CPU


@dataclass(frozen=True)
class Settings:
    """How networks are measured."""

    device: torch.device
    batches: tuple[int, ...] = (32,)
    precision: str = "fp32"
    """of weights and images: fp32, without TF32, or bf16"""
    backends: tuple[str, ...] = ("torch",)
    seconds: float = 3.0
    """for each network, batch and backend, as far as that is at least a call in each of three rounds"""

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and images."""
        return DTYPES[self.precision]


@dataclass(frozen=True)
class Row:
    """What one network reached at one batch with one backend."""

    model: str
    backend: str
    batch: int
    parameters: int
    macs: int
    """multiply-adds for an image"""
    images_per_s: float
    """the median over the rounds"""
    quartiles: tuple[float, float]
    """of the same"""
    rounds: tuple[float, ...]
    """images per second in each of them"""
    matmul_share: float
    """of the multiply-adds per second of the matrix product in the same rounds"""
    memory: int | None
    """bytes of weights, images and what lies between them at their peak; None where it cannot be told apart"""
    joules: float | None
    """for an image; None where no counter tells"""


@dataclass(frozen=True)
class Profile:
    """All rows, and what they were measured on."""

    rows: tuple[Row, ...]
    machine: str
    device: str
    precision: str
    threads: int
    """of the CPU"""
    matmul_flops: float
    """floating-point operations per second of the matrix product, two a multiply-add; the median over the rounds"""
    torch: str
    """its version"""


class Case(NamedTuple):
    """What is measured: a network at one batch with one backend."""

    subject: Subject
    macs: int
    backend: str
    batch: int
    memory: int | None
    work: Work


def profile(
    models: Sequence[str],
    settings: Settings,
    tell: Callable[[str], None] = lambda text: None,
    backends: Mapping[str, Backend] = BACKENDS,
) -> Profile:
    """Measure each MODEL of the command line at each batch with each backend; `tell` is told what goes on.

    `backends` are those that there are.

    Raises `UserError` for a model that is not there or cannot be run, a backend that is not there, a batch too large
    for the memory.
    """
    for backend in settings.backends:
        lookup("backend", backend, dict(backends))
    models, device = list(dict.fromkeys(models)), settings.device
    compiled = len(models) * len(settings.batches) * ("compile" in settings.backends)
    exact = exact_fp32() if device.type == "cuda" else nullcontext()  # torch.export refuses to see such settings
    with exact, shapes_compiled(compiled):
        cases = [case for name in models for case in _cases(name, settings, tell, backends)]
        works = [*(case.work for case in cases), matmul(device, settings.dtype)]
        with torch.inference_mode():
            *found, product = measure(works, settings.seconds, clock_of(device), energy_meter(device), tell)
    rows = tuple(_row(case, measured, product) for case, measured in zip(cases, found))
    about = (describe(device), device.type, settings.precision, torch.get_num_threads())
    return Profile(rows, *about, product.rate.median, str(torch.__version__))


def ratios(profile: Profile, peer: str) -> list[float | None]:
    """How many times as fast as `peer` each row is at its batch and with its backend: the median over the rounds.

    None where the peer has no such row.
    """
    theirs = {(row.batch, row.backend): row.rounds for row in profile.rows if row.model == peer}
    pairs = [(row.rounds, theirs.get((row.batch, row.backend))) for row in profile.rows]
    return [median(a / b for a, b in zip(ours, other)) if other else None for ours, other in pairs]


@contextmanager
def shapes_compiled(count: int) -> Iterator[None]:
    """Let torch.compile make `count` programs of one `forward`: by default it stops at 8, and says nothing."""
    if not count:
        yield
        return
    from torch import _dynamo

    with _dynamo.config.patch(recompile_limit=2 * count + 8):
        yield


def _cases(
    name: str, settings: Settings, tell: Callable[[str], None], backends: Mapping[str, Backend]
) -> Iterator[Case]:
    """A network at each batch with each backend, on its device, its memory measured."""
    device, dtype = settings.device, settings.dtype
    tell(f"opening {name}")
    subject = open_subject(name)
    macs, resident = subject.macs(), dict[int, int]()
    tell(f"memory of {name}")
    if device.type == "cpu" and "torch" in settings.backends:
        resident = resident_memory(name, settings.batches, settings.precision, torch.get_num_threads())
    with explained(f"{name} on {device.type}"):
        subject.model.to(device, dtype)
    made: dict[str, Callable[[Tensor], Any]] = {}
    for batch in dict.fromkeys(settings.batches):
        for backend in dict.fromkeys(settings.backends):
            with explained(f"{name} at --batch {batch}"):
                images = blank(batch, subject.size, device, dtype)
            if backend not in made:
                with explained(f"{name} with {backend}"):
                    made[backend] = backends[backend](subject, settings.precision)
            run = _guarded(made[backend], images, f"{name} at --batch {batch} with {backend}")
            memory = resident.get(batch) if backend == "torch" else None  # a compiler's own is resident as well
            if device.type == "cuda":
                with torch.inference_mode():
                    memory = subject.weight_bytes + images.nbytes + allocated(run)
            yield Case(subject, macs, backend, batch, memory, Work(run, batch))


def _guarded(network: Callable[[Tensor], Any], images: Tensor, what: str) -> Callable[[], Any]:
    """Run the network; what stops it is explained."""

    def run() -> Any:
        with explained(what):
            return network(images)

    return run


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Say in one line what stopped `what`, and whether that was the memory."""
    try:
        yield
    except (RuntimeError, MemoryError, TypeError, NotImplementedError) as error:
        reason = printable(" ".join(str(error).split()))
        if isinstance(error, MemoryError) or any(words in reason.lower() for words in TOO_MUCH):
            raise UserError(f"{what} needs more memory than there is", "a smaller --batch") from error
        hint = "another --backend or --precision"
        raise UserError(f"{what} cannot be run: {reason[:200] or type(error).__name__}", hint) from error


def _row(case: Case, measured: Measured, product: Measured) -> Row:
    """What was measured of a case."""
    rate, subject = measured.rate, case.subject
    return Row(
        model=subject.name,
        backend=case.backend,
        batch=case.batch,
        parameters=subject.parameters,
        macs=case.macs,
        images_per_s=rate.median,
        quartiles=(rate.low, rate.high),
        rounds=tuple(measured.rates),
        matmul_share=median(2 * case.macs * ours / full for ours, full in zip(measured.rates, product.rates)),
        memory=case.memory,
        joules=fmean(measured.joules) if measured.joules else None,
    )
