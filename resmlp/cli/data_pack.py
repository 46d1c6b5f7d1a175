"""`resmlp data pack`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from resmlp.cli.base import Verb, print_text
from resmlp.cli.progress import progress_bar
from resmlp.config.packing import PackData


@dataclass(frozen=True, kw_only=True)
class DataPack(Verb):
    """pack images into a few large tar files (WebDataset) and an index: resmlp data pack PATH --out DIR"""

    path: Annotated[Positional[str], arg(metavar="PATH")]
    """images, as --data.root of `train` takes them: class folders, archives, Parquet, a published data set, images with
    masks, or images without classes"""
    out: Path
    """a new folder, or one of an earlier call that was interrupted; --data.root takes it"""
    data: PackData = field(default_factory=PackData)
    max_side: int | None = None
    """resize images with a longer side to this number of pixels, as JPEG of quality 95; others are copied unchanged"""
    shard_size: int = 256
    """MB of the images in a shard, as large as they are in PATH"""
    workers: int | None = None
    """processes; by default one per CPU core"""

    @classmethod
    def prepare(cls, args: list[str]) -> tuple[None, list[str]]:
        """The second word is read."""
        return None, args[1:]

    def run(self) -> dict[str, Any]:
        """Pack, verify, and print the command that trains on the result."""
        from resmlp.data.packing.pack import pack

        with progress_bar() as bar:
            result = pack(
                self.data.at(self.path),
                self.out,
                max_side=self.max_side,
                shard_size=self.shard_size,
                workers=self.workers,
                progress=bar,
            )
        if not self.json:
            print_text(result)
        return result.to_dict()
