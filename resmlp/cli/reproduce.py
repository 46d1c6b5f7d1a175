"""`resmlp reproduce`."""

import importlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from resmlp.cli.base import Device, Verb
from resmlp.paper import TABLES
from resmlp.utils.checks import check_range, demand
from resmlp.utils.errors import lookup

Scale = Literal["smoke", "small", "paper"]
PLANS = {"smoke": "smoke", "small": "small", "paper": "full"}
"""scale -> the module that plans it"""


@dataclass(frozen=True)
class Sets:
    """Where the data is."""

    root: Path | None = None
    """a folder with a sub-folder for each set (imagenet/, cifar10/, caltech20/, multi30k/, camvid/, ...), or the one
    set that the table reads; smoke needs none"""


@dataclass(frozen=True, kw_only=True)
class Reproduce(Verb):
    """the paper's tables and figures beside ours, row by row; the same command again continues"""

    table: Annotated[Positional[str], arg(metavar="TABLE")]
    """table1 to table6, figure2, figure3 or figure4"""
    row: Annotated[tuple[str, ...], arg(metavar="NAME...")] = ()
    """rows to run; default all that this scale has"""
    scale: Scale = "smoke"
    """smoke: embedded data, seconds a row; small: CIFAR-10, Caltech-20, Multi30k, CamVid; paper: its own data"""
    data: Sets = field(default_factory=Sets)
    seeds: tuple[int, ...] = (0,)
    """each row is run with each"""
    out: Path = Path("reproduced")
    """a folder: TABLE-SCALE.md, .html and .json; runs are in TABLE/SCALE/ROW/seed-N"""
    device: Device = "auto"

    def __post_init__(self):
        table = lookup("table", self.table, TABLES)
        for name in self.row:
            lookup("row", name, {row.name: row for row in table.rows})
        check_range("--", self, seeds=(0, 2**31 - 1))
        demand(bool(self.seeds), "--seeds names none", "give one or more, such as 0 1 2")

    def run(self) -> dict[str, Any]:
        """Run what is missing, and write the pages."""
        from resmlp.reproduction.pages import markdown
        from resmlp.reproduction.runner import Order, reproduce
        from resmlp.utils.devices import find_device

        demand(not self.out.exists() or self.out.is_dir(), f"--out {self.out} is a file", "give a folder")
        plans = importlib.import_module(f"resmlp.reproduction.{PLANS[self.scale]}").PLANS
        root = None if self.data.root is None else self.data.root.expanduser().absolute()
        device = find_device(self.device).type
        rows, seeds = tuple(dict.fromkeys(self.row)), tuple(dict.fromkeys(self.seeds))
        order = Order(self.table, self.scale, plans, self.out.absolute(), device, evaluate, root, rows, seeds)
        record = reproduce(order, lambda text: print(text, file=sys.stderr))
        if not self.json:
            print(markdown(record))
        print(f"written: {self.out / f'{self.table}-{self.scale}'}.md, .html and .json", file=sys.stderr)
        return record


def evaluate(
    model: str, protocols: tuple[str, ...], root: Path | None = None, val: str | None = None, real: Path | None = None
) -> dict[str, Any]:
    """What `resmlp eval MODEL --protocol ... --json` prints, on the data at `root`, or on what the run held out."""
    from resmlp.cli.evaluate import Eval
    from resmlp.config.evaluation import EvalData

    data = EvalData(root=None if root is None else str(root), val=val, workers=0)
    return Eval(json=True, model=model, protocol=protocols, data=data, real=real).run()
