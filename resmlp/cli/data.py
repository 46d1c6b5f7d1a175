"""`resmlp data check`."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from resmlp.cli.base import Verb
from resmlp.utils.checks import ANY, check_range, demand
from resmlp.utils.errors import UserError, counted, lookup
from resmlp.utils.files import write_json

if TYPE_CHECKING:
    from resmlp.data.checking.check import Progress, Report


@dataclass(frozen=True, kw_only=True)
class DataCheck(Verb):
    """look at a tree of images before training on it: resmlp data check PATH"""

    path: Annotated[Positional[str], arg(metavar="PATH")]
    """a folder or archive as `train` takes it: a folder a class, or train/ and val/ of such"""
    decode: bool = False
    """read every pixel, not the headers alone: finds every damaged file"""
    workers: int | None = None
    """processes; default one a core"""
    img_size: tuple[int, ...] = (32,)
    """images below this height and width, or one number for both, count as tiny"""
    out: Path | None = None
    """write the JSON report there as well"""

    @classmethod
    def prepare(cls, args: list[str]) -> tuple[None, list[str]]:
        """The second word says what to do with the data."""
        if args and args[0] in ("-h", "--help"):
            print("usage: resmlp data check PATH\n\n`resmlp data check --help` shows its flags")
            raise SystemExit(0)
        if not args or args[0].startswith("-"):
            raise UserError("data needs a word for what to do", "resmlp data check PATH")
        lookup("verb", f"data {args[0]}", {"data check": cls})
        return None, args[1:]

    def run(self) -> dict[str, Any]:
        """Print the report, write it to `out`; raises `UserError` at the end where something must be mended."""
        check_range("--", self, workers=(1, ANY))
        size = " ".join(map(str, self.img_size))
        demand(
            len(self.img_size) in (1, 2) and min(self.img_size) > 0,
            f"--img-size {size}",
            "give one positive number, or height and width",
        )
        demand(self.out is None or bool(self.out.name), f"--out {self.out}", "give the name of a file")
        from resmlp.data.checking.check import check
        from resmlp.data.masks.trees import is_mask_tree

        looks = f"resmlp train scenes --data.source masks --data.root {self.path} looks at them before it trains"
        demand(not is_mask_tree(self.path), f"{self.path} has the folders of images with masks", looks)
        with _bar() as progress:
            report = check(self.path, self.decode, self.workers or _cores(), self.img_size, progress)
        result, errors = report.as_dict(), report.errors()
        if not self.json:
            _show(report)
        elif errors:  # else it is printed as every verb's result is
            print(json.dumps(result, ensure_ascii=False))
        if self.out:
            write_json(self.out, result)
        if errors:
            kinds = ", ".join(f"{finding.kind} {len(finding.names):,}" for finding in errors)
            what = f"{counted(len(errors), 'finding')} must be mended before training: {kinds}"
            sys.stdout.flush()  # the error comes last
            raise UserError(what, "the report says how")
        return result


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _bar() -> Iterator["Progress"]:
    """A progress bar where standard error is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("listing", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def _show(report: "Report") -> None:
    """A table of counts, then the findings, each in a line."""
    how = "every pixel" if report.decoded else "the headers"
    print(f"{report.path}: {counted(report.images, 'image')}, {how} read in {report.seconds:.1f} s")
    for part in next(iter(report.classes.values()), ()):
        counts = [own[part] for own in report.classes.values() if own[part]]
        spread = f"{min(counts):,} to {max(counts):,} each" if counts else ""
        print(f"  {part:<8}{counted(sum(counts), 'image'):>19}  {counted(len(counts), 'class'):>14}  {spread}")
    for side, own in report.sizes.items():
        print(f"  {side:<8}{own['min']:>10,} to {own['max']:,}, median {own['median']:g}")
    print("  modes   " + ", ".join(f"{mode} {count:,}" for mode, count in report.modes.items()))
    for finding in report.findings:
        print(f"{finding.severity:<8} {finding}")
    if not report.findings:
        print("nothing amiss")
