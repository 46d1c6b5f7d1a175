"""`resmlp embed`."""

import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from tyro.conf import Positional, arg

from resmlp.cli.base import Device, Verb
from resmlp.evaluation.evaluator import check_counts, open_weights
from resmlp.inference.prediction import warn_untrained
from resmlp.utils.checks import ANY, check_range, demand
from resmlp.utils.devices import take_place
from resmlp.utils.errors import UserError, counted, install_hint
from resmlp.utils.files import check_writable, read_json, write_together, write_whole

if TYPE_CHECKING:
    import numpy as np

    from resmlp.data import ImageSet


class Embedded(NamedTuple):
    """The features of N images, in order of their paths."""

    paths: list[str]
    """in the folder or archive, divided by '/'"""
    labels: list[str | None]
    """class folders; None for an image that lies in none"""
    features: "np.ndarray"
    """float32 N D"""


@dataclass(frozen=True, kw_only=True)
class Embed(Verb):
    """features of every image in a folder or archive, for other programs, and a map of them"""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """a run folder, a .safetensors file, a model's name, timm:NAME, or pixels"""
    path: Annotated[Positional[str], arg(metavar="PATH")]
    """a folder or archive of images, in folders of any depth or in none"""
    out: Annotated[Path | None, arg(metavar="FILE")] = None
    """FILE.npy, with FILE.json beside it, or FILE.parquet"""
    map: Annotated[Path | None, arg(metavar="FILE.png")] = None
    """draw the features as points of a plane (t-SNE), colored by class folder"""
    batch_size: int = 64
    workers: int = 2
    device: Device = "auto"

    def __post_init__(self):
        check_range("--", self, batch_size=(1, ANY), workers=(0, ANY))
        demand(
            bool(self.out or self.map), "nowhere to put the features", "give --out FILE.npy or FILE.parquet, or --map"
        )
        if self.out:
            endings = "it ends in " + " or ".join(FORMATS)
            demand(self.out.suffix.lower() in FORMATS, f"--out {self.out}", endings)
        if self.map:
            demand(self.map.suffix.lower() == ".png", f"--map {self.map}", "it ends in .png")

    def run(self) -> dict[str, Any]:
        """Write the features; those that cannot be read are named and left out."""
        if self.out:
            check_writable(f"--out {self.out}", self.out)
            FORMATS[self.out.suffix.lower()].check(self.out)
        if self.map:
            check_writable(f"--map {self.map}", self.map)
        images, labels = list_tree(self.path)
        if self.map:
            from resmlp.analysis.embedding_map import check_map

            check_map(len(images))
        with take_place(self.device) as place:
            from resmlp.data import EvalBatches
            from resmlp.inference import Predictor
            from resmlp.metrics import extract

            predictor = Predictor(open_weights(self.model, "best"), place.device)
            if place.rank == 0:
                warn_untrained(self.model, predictor.saved.trained)
            options = (predictor.preprocessing, self.batch_size, self.workers)
            batches = EvalBatches(images, *options, rank=place.rank, world=place.world)
            found = extract(predictor.features, batches, "cpu")
            check_counts(found, images)
        if place.rank:
            return {}
        index = found.index.tolist()
        paths = [self.inner(images.name(i)) for i in index]
        return self.keep(Embedded(paths, [labels[i] for i in index], found.value.numpy()), found.unreadable)

    def inner(self, name: str) -> str:
        """An image's name without the folder or archive that all are in."""
        root = str(Path(self.path).expanduser())
        return name[len(root) + 1 :] if name.startswith((root + "/", root + ":")) else name

    def keep(self, embedded: Embedded, unreadable: Sequence[str]) -> dict[str, Any]:
        """Write what was asked for, and say so."""
        result: dict[str, Any] = {"model": self.model, "images": len(embedded.paths)}
        result |= {"dim": embedded.features.shape[1], "unreadable": list(unreadable)}
        if self.out:
            FORMATS[self.out.suffix.lower()].write(self.out, embedded, result)
            result["out"] = str(self.out)
        if self.map:
            from resmlp.analysis.embedding_map import feature_map

            result["mapped"] = feature_map(embedded.features, embedded.labels, self.map)
            result["map"] = str(self.map)
        if not self.json:
            print(f"{counted(result['images'], 'image')}, {counted(result['dim'], 'feature')} each")
            for name in unreadable:
                print(f"  left out, cannot be read: {name}")
            for what, kind in (("out", "written"), ("map", "drawn")):
                if what in result:
                    print(f"{kind}: {result[what]}")
        return result


class Format(NamedTuple):
    """A kind of file that features are kept in."""

    write: Callable[[Path, Embedded, dict[str, Any]], None]
    check: Callable[[Path], None]
    """raises `UserError` where it cannot be written here"""


def _write_npy(path: Path, embedded: Embedded, about: dict[str, Any]) -> None:
    """float32 N D, and what its rows are in a .json beside it; what was there stays until both are whole."""
    import numpy as np

    rows = json.dumps({**about, "paths": embedded.paths, "labels": embedded.labels}, indent=2, ensure_ascii=False)

    def write(aside: Path) -> None:
        with aside.open("wb") as file:
            np.save(file, embedded.features, allow_pickle=False)

    write_together({path.with_suffix(".json"): lambda aside: aside.write_text(rows + "\n", "utf-8"), path: write})


def _check_beside(path: Path) -> None:
    """The .json beside can be written too, and is not of another program, such as the model.json of a run."""
    beside = path.with_suffix(".json")
    check_writable(f"{beside}, beside --out {path}", beside)
    if beside.exists():
        try:
            found = read_json(beside)
        except UserError:
            found = None
        ours = isinstance(found, dict) and "paths" in found
        demand(ours, f"--out {path} would replace {beside}, which is not of embed", "choose another --out")


def _write_parquet(path: Path, embedded: Embedded, about: dict[str, Any]) -> None:
    """Columns path, label and feature, a row for each image; the model's name is in the table's metadata."""
    import pyarrow
    import pyarrow.parquet

    rows, dim = embedded.features.shape
    ends = pyarrow.array(range(0, (rows + 1) * dim, dim), pyarrow.int64())
    feature = pyarrow.LargeListArray.from_arrays(ends, pyarrow.array(embedded.features.reshape(-1)))
    columns = {
        "path": pyarrow.array(embedded.paths, pyarrow.string()),
        "label": pyarrow.array(embedded.labels, pyarrow.string()),
        "feature": feature,
    }
    table = pyarrow.table(columns).replace_schema_metadata({"model": about["model"]})
    write_whole(path, lambda aside: pyarrow.parquet.write_table(table, aside))


def _need_pyarrow(path: Path) -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError("parquet needs pyarrow, which is not installed", install_hint("parquet") + "; or use --out FILE.npy")


FORMATS = {".npy": Format(_write_npy, _check_beside), ".parquet": Format(_write_parquet, _need_pyarrow)}


def list_tree(root: str) -> "tuple[ImageSet, list[str | None]]":
    """All images under `root` in order of their paths, and the class folder of each; raises `UserError`.

    The class folder is the top folder, or in a tree with train/ and val/ the one below.
    """
    from resmlp.data import ImageSet
    from resmlp.data.checking.layout import lay_out
    from resmlp.data.images.trees import open_tree
    from resmlp.imaging.image_file import ENDINGS

    tree = open_tree(root, flag="PATH")
    demand(bool(tree.whole.images), f"no images in {root}", "images end in " + " ".join(ENDINGS))
    layout = lay_out(tree)
    names = [layout.places[place][1] or None if place >= 0 else None for place in layout.place]
    order = sorted(range(len(names)), key=lambda i: tree.whole.images[i][0])
    images = [tree.whole.images[i][1] for i in order]
    return ImageSet((), [0] * len(order), images), [names[i] for i in order]
