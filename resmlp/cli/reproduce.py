"""`resmlp reproduce`."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from resmlp.cli.base import Device, Verb, print_json, print_text
from resmlp.config.help import default_if_any
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError


@dataclass(frozen=True)
class DataSets:
    """The data sets."""

    root: Path | None = None
    """a folder with a sub-folder for each data set (imagenet/, cifar10/, caltech20/, multi30k/, camvid/, ...), or the
    only data set that the table reads; smoke needs none"""


@dataclass(frozen=True, kw_only=True)
class Reproduce(Verb):
    """the paper's tables and figures, with our numbers next to the paper's; the same command again continues"""

    table: Annotated[Positional[str | None], arg(metavar="[TABLE]")] = None
    """table1 to table6, figure2, figure3 or figure4"""
    verify: bool = False
    """in place of a table: evaluate the packaged networks again, and compare with the numbers that they must have"""
    row: Annotated[tuple[str, ...], arg(metavar="NAME...", help_behavior_hint=default_if_any)] = ()
    """rows to run; default all that this scale runs"""
    scale: Literal["smoke", "small", "paper"] = "smoke"
    """smoke: embedded data, seconds a row; small: CIFAR-10, Caltech-20, Multi30k, CamVid; paper: the paper's data"""
    data: DataSets = field(default_factory=DataSets)
    seeds: tuple[int, ...] = (0,)
    """each row runs with each seed"""
    out: Path = Path("reproduced")
    """output folder: TABLE-SCALE.md, .html and .json; runs are in TABLE/SCALE/ROW/seed-N"""
    device: Device = "auto"

    def run(self) -> dict[str, Any]:
        """Run what is missing, and write the pages."""
        if self.verify:
            return self._verify()
        if self.table is None:
            raise UserError("no TABLE is given", "name table1 to table6 or figure2 to figure4, or --verify")
        from resmlp.reproduction.reproduce import reproduce

        record = reproduce(
            self.table,
            rows=self.row,
            scale=self.scale,
            root=self.data.root,
            seeds=self.seeds,
            out=self.out,
            device=self.device,
        )
        if not self.json:
            print_text(record)
        print(f"written: {self.out / f'{self.table}-{self.scale}'}.md, .html and .json", file=sys.stderr)
        return record.to_dict()

    def _verify(self) -> dict[str, Any]:
        """Print each number, then raise `UserError` if one differs."""
        demand(self.table is None, f"--verify runs no table, and {self.table} is given", "leave one of them out")
        from resmlp.reproduction.verify import verify

        found = verify(self.data.root, device=self.device)
        (print_json(found.to_dict()) if self.json else print_text(found))
        found.raise_for_differences()
        return {}
