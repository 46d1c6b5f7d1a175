"""What `resmlp.profile` returns: a row for each network, batch and backend."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

from resmlp.utils.errors import counted
from resmlp.utils.serialization import to_dict

if TYPE_CHECKING:
    from rich.table import Table

LEFT = ("model", "backend")  # columns of text


@dataclass(frozen=True)
class Row:
    """The measurements of one network at one batch size with one backend."""

    model: str
    backend: str
    batch: int
    parameters: int
    macs: int
    """multiply-adds for one image"""
    images_per_s: float
    """median over the rounds"""
    quartiles: tuple[float, float]
    """of images per second"""
    rounds: tuple[float, ...]
    """images per second in each round"""
    matmul_share: float
    """multiply-adds per second over those of a large matrix product in the same rounds, median"""
    memory: int | None
    """peak bytes of weights, images and activations; None if it cannot be measured"""
    joules: float | None
    """energy for one image; None without an energy counter"""
    size: tuple[int, int] | None = None
    """(height, width) of an image in pixels"""
    top1_published: float | None = None
    """top-1 on ImageNet-1k as published, a fraction"""
    speedup: dict[str, float | None] | None = None
    """network of `against` -> how many times as fast as that network; None without `against`"""

    def to_dict(self) -> dict[str, Any]:
        """All fields; `speedup` is left out if it is None."""
        values: dict[str, Any] = to_dict(self)
        if self.speedup is None:
            del values["speedup"]
        return values

    def cells(self) -> dict[str, str]:
        """Column -> text in Table 1's units: 10^6 parameters, 10^9 MACs, 10^6 bytes; "" for a missing number."""
        low, high = self.quartiles
        cells = {
            "model": self.model,
            "size": "" if self.size is None else "{}x{}".format(*self.size),
            "backend": self.backend,
            "batch": str(self.batch),
            "params (M)": f"{self.parameters / 1e6:.2f}",
            "GMACs": f"{self.macs / 1e9:.3g}",
            "images/s": f"{self.images_per_s:,.4g}",
            "quartiles": f"{low:,.4g} to {high:,.4g}",
            "of matmul": f"{self.matmul_share:.1%}",
            "memory (MB)": "" if self.memory is None else f"{self.memory / 1e6:,.1f}",
            "J/image": "" if self.joules is None else f"{self.joules:.3g}",
            "published top-1": "" if self.top1_published is None else f"{self.top1_published:.3f}",
        }
        speedups = (self.speedup or {}).items()
        return cells | {f"speedup over {peer}": "" if ratio is None else f"{ratio:.2f}" for peer, ratio in speedups}


@dataclass(frozen=True)
class Profile:
    """All rows, and the conditions of the measurement."""

    rows: tuple[Row, ...]
    machine: str
    device: str
    precision: str
    threads: int
    """CPU threads"""
    matmul_flops: float
    """operations per second of a large matrix product (two for a multiply-add), median over the rounds"""
    torch: str
    """version"""

    def to_dict(self) -> dict[str, Any]:
        """What `resmlp profile --json` prints."""
        return to_dict(self) | {"rows": [row.to_dict() for row in self.rows]}

    def __str__(self) -> str:
        from rich.console import Console

        text = StringIO()
        Console(file=text, width=200, markup=False, emoji=False, highlight=False).print(self.table())
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def table(self) -> "Table":
        """A table for people, without its empty columns."""
        from rich.table import Table

        title = f"{self.machine}, {self.precision}"
        if self.device == "cpu":
            title += f", {counted(self.threads, 'thread')}"
        caption = f"matmul, a product of square matrices: {self.matmul_flops / 1e9:,.1f} GFLOP/s"
        style: dict[str, Any] = {"title_justify": "left", "caption_justify": "left", "box": None}
        table = Table(title=title, caption=caption, padding=(0, 2, 0, 0), **style)
        _fill(table, [row.cells() for row in self.rows])
        return table


def _fill(table: "Table", rows: Sequence[dict[str, str]]) -> None:
    """Add the rows, without the columns that are empty in all of them."""
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    for name in columns:
        table.add_column(name, justify="left" if name in LEFT else "right", overflow="fold")
    for row in rows:
        table.add_row(*(row[name] for name in columns))
