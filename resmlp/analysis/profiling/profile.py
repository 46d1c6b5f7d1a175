"""`resmlp.profile`: Table 1's columns for any networks, with energy and the speed of the machine.

All networks, backends and batch sizes take turns in the same rounds (`rounds`). A large matrix product takes part in
each round, and each throughput is compared with it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from resmlp.analysis.profiling.backends import (
    BACKENDS,
    DTYPES,
    Network,
    allow_recompiles,
    check_backend,
    lowest_precision,
)
from resmlp.analysis.profiling.device import allocated, clock_of, describe, energy_meter, exact_fp32, matmul
from resmlp.analysis.profiling.published_results import measured_points, published_points, published_top1
from resmlp.analysis.profiling.results import Profile, Row
from resmlp.analysis.profiling.rounds import Measured, Work, measure
from resmlp.analysis.profiling.rss import measure_rss
from resmlp.analysis.profiling.subjects import Subject, blank, open_subject
from resmlp.analysis.profiling.tradeoff import tradeoff
from resmlp.config.image_size import ImageSize, Size, image_size
from resmlp.utils.checks import ANY, POSITIVE, check_range, demand
from resmlp.utils.console import console
from resmlp.utils.devices import find_device
from resmlp.utils.errors import UserError, is_out_of_memory, lookup, printable
from resmlp.utils.files import check_writable, write_json

Progress = Callable[[str], None]
"""takes a line of text"""


@dataclass(frozen=True)
class Settings:
    """How networks are measured. Raises `UserError` for a wrong value, in the words of the command line."""

    device: torch.device
    batch: tuple[int, ...] = (32,)
    precision: str = "fp32"
    """of weights and images: fp32 (without TF32) or bf16"""
    backend: tuple[str, ...] = ("torch",)
    """names in `BACKENDS`"""
    seconds: float = 3.0
    """for each network, batch size and backend; more if three calls take longer"""
    size: Size | None = None
    """of the images; None: that of each network"""

    def __post_init__(self) -> None:
        check_range("--", self, batch=(1, 2**20), seconds=(POSITIVE, ANY))
        int8 = f"--precision {self.precision}: profile measures fp32 and bf16"
        demand(self.precision in DTYPES, int8, "resmlp compress --to int8-openvino measures int8 beside them")
        demand(bool(self.batch), "--batch is empty", "give numbers of images, such as --batch 1 32")
        demand(bool(self.backend), "--backend is empty", f"choose from {', '.join(BACKENDS)}")
        for backend in self.backend:
            lookup("backend", backend, BACKENDS)
            check_backend(backend, self.device.type, self.precision)

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and images."""
        return DTYPES[self.precision]


class Case(NamedTuple):
    """One network at one batch size with one backend, ready to run."""

    subject: Subject
    macs: int
    backend: str
    batch: int
    memory: int | None
    work: Work


def profile(
    models: str | Sequence[str],
    *,
    against: str | Sequence[str] = (),
    batch: int | Sequence[int] = 32,
    precision: str = "fp32",
    backend: str | Sequence[str] = "torch",
    seconds: float = 3.0,
    out: str | Path | None = None,
    device: str = "auto",
    img_size: ImageSize | None = None,
) -> Profile:
    """Measure parameters, multiply-adds, throughput, memory and energy of networks, in turn with each other.

    `models` and `against` are MODELs of the command line; each row has its `speedup` over those of `against`, at the
    same batch size and backend. `batch`, `backend` ("torch", "compile", "onnx", "openvino"), `precision` ("fp32",
    "bf16", or "auto", the lowest that the device and all backends have) and `img_size` (such as 288 or "320x224") apply
    to all networks. Each combination is measured for about `seconds`. A folder `out` gets `profile.json` and a plot of
    accuracy against throughput (`tradeoff.png`, `.svg`). A status line on standard error shows progress.

    Raises `UserError` for a MODEL that does not exist or cannot run, a wrong argument, or a batch too large for the
    memory.
    """
    models, against = _several(models), _several(against)
    demand(bool(models), "no models given", "give one or more")
    place = find_device(device)
    backends = _several(backend)
    precision = lowest_precision(backends, place.type) if precision == "auto" else precision
    settings = Settings(place, _several(batch), precision, backends, seconds, image_size(img_size))
    folder = None if out is None else Path(out)
    if folder:
        demand(not folder.exists() or folder.is_dir(), f"--out {folder} is a file", "give a folder")
        check_writable(f"--out {folder}", folder / "profile.json")
    with console.status("") as status:
        result = measure_networks([*models, *against], settings, status.update)
    result = replace(result, rows=tuple(_annotated(result, against)))
    if folder:
        write_json(folder / "profile.json", result.to_dict())
        title = f"{result.machine}, {result.precision}"
        tradeoff(published_points(), measured_points(result.rows), title, folder / "tradeoff.png")
    return result


def _several(value: Any) -> tuple[Any, ...]:
    """A single value or a sequence, as a tuple."""
    return (value,) if isinstance(value, str | int) else tuple(value)


def _annotated(result: Profile, against: Sequence[str]) -> Iterator[Row]:
    """The rows with their published accuracy, and their speedup over each network of `against`."""
    ratios = {peer: speedups(result, peer) for peer in against}
    for i, row in enumerate(result.rows):
        speedup = {peer: ratio[i] for peer, ratio in ratios.items()} if against else None
        yield replace(row, top1_published=published_top1(row.model), speedup=speedup)


def measure_networks(models: Sequence[str], settings: Settings, progress: Progress = lambda text: None) -> Profile:
    """Measure each MODEL at each batch size with each backend; `progress` is called with each step."""
    models, device = list(dict.fromkeys(models)), settings.device
    compiled = len(models) * len(settings.batch) * ("compile" in settings.backend)
    exact = exact_fp32() if device.type == "cuda" else nullcontext()  # torch.export fails under such settings
    with exact, allow_recompiles(compiled):
        cases = [case for name in models for case in _cases(name, settings, progress)]
        works = [*(case.work for case in cases), matmul(device, settings.dtype)]
        with torch.inference_mode():
            *measured, product = measure(works, settings.seconds, clock_of(device), energy_meter(device), progress)
    rows = tuple(_row(case, result, product) for case, result in zip(cases, measured))
    conditions = (describe(device), device.type, settings.precision, torch.get_num_threads())
    return Profile(rows, *conditions, product.rate.median, str(torch.__version__))


def speedups(profile: Profile, peer: str) -> list[float | None]:
    """For each row, its speed over that of `peer` at the same batch size and backend: the median over the rounds.

    None if `peer` has no such row.
    """
    peer_rounds = {(row.batch, row.backend): row.rounds for row in profile.rows if row.model == peer}
    pairs = [(row.rounds, peer_rounds.get((row.batch, row.backend))) for row in profile.rows]
    return [median(a / b for a, b in zip(rounds, other)) if other else None for rounds, other in pairs]


def _cases(name: str, settings: Settings, progress: Progress) -> Iterator[Case]:
    """A network at each batch size with each backend, on its device, with its memory."""
    device, dtype = settings.device, settings.dtype
    progress(f"opening {name}")
    subject = open_subject(name, settings.size)
    macs, rss = subject.macs(), dict[int, int]()
    progress(f"memory of {name}")
    if device.type == "cpu" and "torch" in settings.backend:
        rss = measure_rss(name, settings.batch, settings.precision, torch.get_num_threads(), settings.size)
    with explained(f"{name} on {device.type}"):
        subject.model.to(device, dtype)
    networks: dict[str, Network] = {}
    for batch in dict.fromkeys(settings.batch):
        for backend in dict.fromkeys(settings.backend):
            with explained(f"{name} at --batch {batch}"):
                images = blank(batch, subject.size, device, dtype, subject.channels)
            if backend not in networks:
                with explained(f"{name} with {backend}"):
                    networks[backend] = BACKENDS[backend](subject, settings.precision)
            run = _guarded(networks[backend], images, f"{name} at --batch {batch} with {backend}")
            memory = rss.get(batch) if backend == "torch" else None  # the memory of a compiler would count as well
            if device.type == "cuda":
                with torch.inference_mode():
                    memory = subject.weight_bytes + images.nbytes + allocated(run)
            yield Case(subject, macs, backend, batch, memory, Work(run, batch))


def _guarded(network: Network, images: Tensor, what: str) -> Callable[[], Any]:
    """A call of the network on `images` whose errors name `what`."""

    def run() -> Any:
        with explained(what):
            return network(images)

    return run


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn an error of torch into a `UserError` that names `what`, and whether the memory was too small."""
    try:
        yield
    except (RuntimeError, MemoryError, TypeError, NotImplementedError) as error:
        reason = printable(" ".join(str(error).split()))
        if is_out_of_memory(error):
            raise UserError(f"{what} needs more memory than is available", "use a smaller --batch") from error
        hint = "use another --backend or --precision"
        raise UserError(f"{what} cannot run: {reason[:200] or type(error).__name__}", hint) from error


def _row(case: Case, measured: Measured, product: Measured) -> Row:
    """The measurements of a case."""
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
        matmul_share=median(2 * case.macs * own / full for own, full in zip(measured.rates, product.rates)),
        memory=case.memory,
        joules=fmean(measured.joules) if measured.joules else None,
        size=subject.size,
    )
