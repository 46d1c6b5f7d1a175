"""`resmlp profile`."""

import sys
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from resmlp.cli.base import Device, Verb
from resmlp.utils.checks import ANY, POSITIVE, check_range, demand
from resmlp.utils.errors import counted
from resmlp.utils.files import check_writable, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table
    from torch import Tensor

    from resmlp.analysis.profiling.subjects import Subject
    from resmlp.backends.runtimes import Precision

Backend = Literal["torch", "compile", "onnx", "openvino"]
EXPORTED = {"onnx", "openvino"}


@dataclass(frozen=True, kw_only=True)
class Profile(Verb):
    """parameters, multiply-adds, images per second, memory: Table 1's columns for any networks, side by side"""

    models: Annotated[Positional[tuple[str, ...]], arg(metavar="MODEL...")]
    """run folders, files of weights, names of `resmlp list`, hf-hub:ORG/NAME, timm:NAME; a segmenter at its window"""
    against: tuple[str, ...] = ()
    """more of them, to each of which the others' speed is compared, round by round"""
    batch: tuple[int, ...] = (32,)
    """images at a time; several are measured in turn"""
    precision: Literal["fp32", "bf16"] = "fp32"
    """of weights and images; fp32 is without TF32"""
    backend: tuple[Backend, ...] = ("torch",)
    """what runs the network; several are measured in turn. onnx and openvino run what export writes, on a CPU"""
    seconds: float = 3.0
    """for each network, batch and backend; longer where three calls take longer"""
    out: Path | None = None
    """a folder for profile.json and the trade-off of accuracy and speed, tradeoff.png and .svg"""
    device: Device = "auto"

    def __post_init__(self):
        check_range("--", self, batch=(1, 2**20), seconds=(POSITIVE, ANY))
        demand(bool(self.models), "no models given", "resmlp profile MODEL...")
        demand(bool(self.batch), "--batch is empty", "give numbers of images, such as --batch 1 32")
        demand(bool(self.backend), "--backend is empty", "torch, compile, onnx or openvino, or several")

    def run(self) -> dict[str, Any]:
        """Measure, show a table on standard error, and write what was asked for."""
        if self.out:
            demand(not self.out.exists() or self.out.is_dir(), f"--out {self.out} is a file", "give a folder")
            check_writable(f"--out {self.out}", self.out / "profile.json")
        from rich.console import Console

        from resmlp.analysis.profiling.profile import BACKENDS, Settings, profile, ratios
        from resmlp.analysis.profiling.published_results import as_measured, as_published, known_top1
        from resmlp.analysis.profiling.tradeoff import tradeoff
        from resmlp.utils.devices import find_device

        device = find_device(self.device)
        for backend in EXPORTED & set(self.backend):
            check_exported(backend, device.type, self.precision)
        settings = Settings(device, self.batch, self.precision, self.backend, self.seconds)
        backends = BACKENDS | {name: partial(exported, name) for name in EXPORTED}
        console = Console(stderr=True, width=None if sys.stderr.isatty() else 200, markup=False, emoji=False)
        with console.status("") as status:
            found = profile([*self.models, *self.against], settings, status.update, backends)
        result = asdict(found)
        times = {peer: ratios(found, peer) for peer in self.against}
        for number, row in enumerate(result["rows"]):
            row["top1_published"] = known_top1(row["model"])
            if self.against:
                row["times"] = {peer: ratio[number] for peer, ratio in times.items()}
        console.print(table(result), highlight=False)
        if self.out:
            write_json(self.out / "profile.json", result)
            machine = f"{result['machine']}, {result['precision']}"
            tradeoff(as_published(), as_measured(result["rows"]), machine, self.out / "tradeoff.png")
            print(f"written: {self.out}", file=sys.stderr)
        return result


def check_exported(backend: str, device: str, precision: str) -> None:
    """Raises `UserError` where its packages are not installed, or cannot do what is asked for."""
    from resmlp.exporters.formats import check_packages

    check_packages(backend, "--backend")
    demand(device == "cpu", f"--backend {backend} on {device}: it runs exported networks on a CPU", "--device cpu")
    demand(backend != "onnx" or precision == "fp32", f"--backend onnx has no {precision}", "openvino has")


def exported(to: str, subject: "Subject", precision: "Precision") -> "Callable[[Tensor], Any]":
    """The network as export writes it, ours folded, the others as they are; all cores work on a batch together.

    In bf16 the weights are written with 32 bits, and OpenVINO rounds them.
    """
    import numpy as np

    from resmlp.backends.runtimes import open_engine
    from resmlp.exporters.formats import quiet, write_network

    with TemporaryDirectory(prefix="resmlp-profile-") as aside, quiet():
        write_network(deepcopy(subject.model).float(), subject.size, to, Path(aside))
        engine = open_engine(to, Path(aside), precision=precision)
        engine.one(np.zeros((1, 3, *subject.size), np.float32))  # which opens it, before its files go
    return lambda images: engine.one(images.float().numpy())


def table(result: dict[str, Any]) -> "Table":
    """What `--json` prints, for people; columns that are empty are left out."""
    from rich.table import Table

    lines = [_line(row) for row in result["rows"]]
    title = f"{result['machine']}, {result['precision']}"
    if result["device"] == "cpu":
        title += f", {counted(result['threads'], 'thread')}"
    full = f"a product of square matrices: {result['matmul_flops'] / 1e9:,.1f} GFLOP/s"
    shown = Table(
        title=title, caption=full, title_justify="left", caption_justify="left", box=None, padding=(0, 2, 0, 0)
    )
    kept = [name for name in lines[0] if any(line[name] for line in lines)]
    for name in kept:
        shown.add_column(name, justify="left" if name in ("model", "backend") else "right", overflow="fold")
    for line in lines:
        shown.add_row(*(line[name] for name in kept))
    return shown


def _line(row: dict[str, Any]) -> dict[str, str]:
    """A row in Table 1's units: millions, thousand millions, megabytes of 10^6 bytes."""
    low, high = row["quartiles"]
    line = {
        "model": row["model"],
        "backend": row["backend"],
        "batch": str(row["batch"]),
        "params (M)": f"{row['parameters'] / 1e6:.2f}",
        "GMACs": f"{row['macs'] / 1e9:.3g}",
        "images/s": f"{row['images_per_s']:,.4g}",
        "quartiles": f"{low:,.4g} to {high:,.4g}",
        "of matmul": f"{row['matmul_share']:.1%}",
        "memory (MB)": "" if row["memory"] is None else f"{row['memory'] / 1e6:,.1f}",
        "J/image": "" if row["joules"] is None else f"{row['joules']:.3g}",
        "top-1, published": "" if row["top1_published"] is None else f"{row['top1_published']:.3f}",
    }
    times = {f"times {peer}": "" if ratio is None else f"{ratio:.2f}" for peer, ratio in row.get("times", {}).items()}
    return line | times
