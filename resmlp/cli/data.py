"""`resmlp data check`, and the choice between it and the other second words."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from resmlp.cli.base import Verb, print_json, print_text
from resmlp.cli.data_masks import DataMasks
from resmlp.cli.data_pack import DataPack
from resmlp.cli.progress import progress_bar
from resmlp.config.checking import CheckedData
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, lookup
from resmlp.utils.files import write_json

if TYPE_CHECKING:
    from resmlp.data.checking.report import Report

USAGE = "resmlp data check PATH, resmlp data masks PATH --out DIR, or resmlp data pack PATH --out DIR"


@dataclass(frozen=True, kw_only=True)
class DataCheck(Verb):
    """check images or parallel text before training on them: resmlp data check PATH"""

    path: Annotated[Positional[str], arg(metavar="PATH")]
    """a folder, an archive or an address, as in `train`: one folder for each class, or train/ and val/ of such folders;
    or parallel text: a folder with two files for each part, or a table (.tsv, .parquet)"""
    data: CheckedData = field(default_factory=CheckedData)
    decode: bool = False
    """decode every pixel, not only the headers: this finds every damaged file"""
    workers: int | None = None
    """processes; by default one per CPU core"""
    img_size: tuple[int, ...] = (32,)
    """report images below this height and width (or one number for both) as tiny"""
    near: Literal["auto", "on", "off"] = "auto"
    """search near duplicates: copies in another size or encoding. auto: in up to 100,000 images; on: in any number"""
    out: Path | None = None
    """also write the JSON report to this file"""

    @classmethod
    def chosen(cls, args: list[str]) -> type[Verb]:
        """The class of the second word of the command."""
        if args and args[0] in ("-h", "--help"):
            print(f"usage: {USAGE}\n\n`resmlp data check --help` shows its flags")
            raise SystemExit(0)
        if not args or args[0].startswith("-"):
            raise UserError("the verb data needs a second word", USAGE)
        words: dict[str, type[Verb]] = {"data check": cls, "data masks": DataMasks, "data pack": DataPack}
        return lookup("verb", f"data {args[0]}", words)

    @classmethod
    def prepare(cls, args: list[str]) -> tuple[None, list[str]]:
        """The second word is read."""
        return None, args[1:]

    def run(self) -> dict[str, Any]:
        """Print the report and write it to `out`; then raise `UserError` if an issue must be fixed before training."""
        demand(self.out is None or bool(self.out.name), f"--out {self.out}", "give the name of a file")
        report = self._check()
        result = report.to_dict()
        if not self.json:
            print_text(report)
        elif report.errors:  # without errors, the result of this method is printed
            print_json(result)
        if self.out:
            write_json(self.out, result)
        sys.stdout.flush()  # the error comes last
        report.raise_for_errors()
        return result

    def _check(self) -> "Report":
        from resmlp.data.checking.text_files import is_text

        path = Path(self.path).expanduser()
        if self.data.labels is None and is_text(path):
            from resmlp.data.checking.text import check_text

            demand(not self.decode, f"--decode is for images, and {path} is text", "leave it out: every line is read")
            own = f"--data.value-range is for images, and {path} is text"
            demand(self.data.value_range is None, own, "leave it out")
            return check_text(path)
        from resmlp.data.checking.check import check_data

        with progress_bar() as progress:
            return check_data(
                self.path,
                decode=self.decode,
                workers=self.workers,
                img_size=self.img_size,
                near=self.near,
                progress=progress,
                data=self.data,
            )
