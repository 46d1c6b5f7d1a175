"""`embed()`: features of every image in a folder or archive, for other programs."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from resmlp.config.image_size import ImageSize, run_size
from resmlp.config.label_table import LabelTable
from resmlp.config.precision import Execution
from resmlp.evaluation.evaluator import check_counts, open_predictor
from resmlp.hub.resolve import Source, resolve
from resmlp.inference.prediction import warn_untrained
from resmlp.utils.checks import demand, demand_finite
from resmlp.utils.errors import UserError, counted, each_once, install_hint
from resmlp.utils.files import check_writable, read_json, write_together, write_whole

if TYPE_CHECKING:
    import numpy as np

    from resmlp.data import ImageSet


NO_TABLE = LabelTable()


@dataclass(frozen=True, eq=False)
class Embeddings:
    """The features of N images, in the order of their paths, and the files that were written."""

    model: str
    features: "np.ndarray"
    """float32 N D"""
    paths: tuple[str, ...]
    """in the folder or archive, divided by '/'"""
    labels: tuple[str | None, ...]
    """class folders, or the labels of a table; None for an image outside any class folder, or without a row"""
    unreadable: tuple[str, ...] = ()
    """images that were left out"""
    out: Path | None = None
    map: Path | None = None
    mapped: int | None = None
    """images on the map"""

    def to_dict(self) -> dict[str, Any]:
        """Counts and files, without the features."""
        result: dict[str, Any] = {"model": self.model, "images": len(self.paths)}
        result |= {"dim": self.features.shape[1], "unreadable": list(self.unreadable)}
        if self.out:
            result["out"] = str(self.out)
        if self.map:
            result |= {"mapped": self.mapped, "map": str(self.map)}
        return result

    def __str__(self) -> str:
        lines = [f"{counted(len(self.paths), 'image')}, {counted(self.features.shape[1], 'feature')} each"]
        lines += [f"  left out, cannot be read: {name}" for name in each_once(self.unreadable)]
        lines += [f"written: {self.out}"] * bool(self.out) + [f"drawn: {self.map}"] * bool(self.map)
        return "\n".join(lines)


def embed(
    model: str | Path | Source,
    path: str | Path,
    out: str | Path | None = None,
    map: str | Path | None = None,
    *,
    batch_size: int = 64,
    workers: int = 2,
    device: str = "auto",
    precision: str = "auto",
    data: LabelTable = NO_TABLE,
    img_size: ImageSize | None = None,
) -> Embeddings | None:
    """The features of every image under `path`, a folder or an archive of any depth.

    Its labels are class folders, or those of the table in `data`. Features are also written to `out`, FILE.npy with
    FILE.json beside it or FILE.parquet, and drawn as points of a plane (t-SNE) to `map`, a PNG file. `precision` and
    `img_size` are as of `resmlp.load`. An image that cannot be read is named and left out. Of several processes the
    first returns the result, the others None. Raises `UserError`.
    """
    out, map = (None if file is None else Path(file) for file in (out, map))
    check_outputs(out, map)
    source, root, size = resolve(model), str(path), run_size(img_size)
    images, labels = list_tree(root) if data.labels is None else list_table(root, data)
    if map:
        from resmlp.analysis.embedding_map import check_image_count

        check_image_count(len(images))
    from resmlp.data import EvalBatches
    from resmlp.metrics import extract
    from resmlp.utils.devices import this_process

    with this_process(device) as process:
        execution = Execution(device, precision=precision, images=len(images), size=size)
        predictor = open_predictor(source, "best", process.device, execution)
        if process.rank == 0:
            warn_untrained(source.name, predictor.trained)
        options = (predictor.preprocessing, batch_size, workers)
        part: dict[str, Any] = {"rank": process.rank, "world": process.world}
        batches = EvalBatches(images, *options, **part, shapes=predictor.shapes)
        collected = extract(predictor.features, batches, "cpu")
        check_counts(collected, images)
        demand_finite(collected.value.isfinite().all())
    if process.rank:
        return None
    index = collected.index.tolist()
    paths = tuple(images.paths[i] if images.paths else _inner(images.name(i), root) for i in index)
    features, kept = collected.value.numpy(), tuple(labels[i] for i in index)
    mapped = None
    if map:
        from resmlp.analysis.embedding_map import draw_embedding_map

        mapped = draw_embedding_map(features, list(kept), map)
    result = Embeddings(source.name, features, paths, kept, collected.unreadable, out, map, mapped)
    if out:
        FORMATS[out.suffix.lower()].write(out, result)
    return result


def check_outputs(out: Path | None, map: Path | None) -> None:
    """Raise `UserError` for files that cannot be written, before the network runs."""
    if out:
        endings = "give a file name that ends in " + " or ".join(FORMATS)
        demand(out.suffix.lower() in FORMATS, f"--out {out}", endings)
        check_writable(f"--out {out}", out)
        FORMATS[out.suffix.lower()].check(out)
    if map:
        demand(map.suffix.lower() == ".png", f"--map {map}", "give a file name that ends in .png")
        check_writable(f"--map {map}", map)


def list_tree(root: str) -> "tuple[ImageSet, list[str | None]]":
    """All images under `root` in the order of their paths, and the class folder of each. Raises `UserError`.

    The class folder is the top folder, or in a tree with train/ and val/ the one below.
    """
    from resmlp.data.checking.layout import find_layout
    from resmlp.data.images.imageset import ImageSet, packed_images
    from resmlp.data.images.trees import open_tree
    from resmlp.data.shards.rows import Entries
    from resmlp.imaging.file_types import ENDINGS

    tree = open_tree(root, flag="PATH")
    demand(bool(tree.whole.images), f"no images in {root}", "images end in " + " ".join(ENDINGS))
    if isinstance(tree.whole.images, Entries):
        packed = packed_images(tree.whole.images)
        labels = [packed.classes[label] for label in packed.labels]
        return replace(packed, classes=(), labels=[0] * len(packed)), [*labels]
    names = find_layout(tree).image_classes()
    order = sorted(range(len(names)), key=lambda i: tree.whole.images[i][0])
    images = [tree.whole.images[i][1] for i in order]
    return ImageSet((), [0] * len(order), images), [names[i] for i in order]


def list_table(root: str, data: LabelTable) -> "tuple[ImageSet, list[str | None]]":
    """All images under `root` in the order of their paths, and the labels of each in a table. Raises `UserError`."""
    from resmlp.data import ImageSet
    from resmlp.data.images.imageset import SEPARATOR
    from resmlp.data.images.table_sets import read_table_set

    found = read_table_set(root, str(data.labels), data.columns, "PATH")
    found.raise_for_faults("val-only", "group-leak")
    members = sorted(found.tree.images, key=lambda member: member[0])
    records = [found.records.get(path) for path, _ in members]
    images = ImageSet((), [0] * len(members), [image for _, image in members])
    return images, [None if record is None else SEPARATOR.join(record.classes) for record in records]


def _inner(name: str, root: str) -> str:
    """An image's name without the folder or archive that all are in."""
    root = str(Path(root).expanduser())
    return name[len(root) + 1 :] if name.startswith((root + "/", root + ":")) else name


class Format(NamedTuple):
    """A kind of file that features are kept in."""

    write: Callable[[Path, Embeddings], None]
    check: Callable[[Path], None]
    """raises `UserError` where it cannot be written here"""


def _write_npy(path: Path, result: Embeddings) -> None:
    """float32 N D, with a .json beside it that describes the rows; earlier files stay until both are complete."""
    import numpy as np

    about = {key: value for key, value in result.to_dict().items() if key in ("model", "images", "dim", "unreadable")}
    rows = json.dumps({**about, "paths": result.paths, "labels": result.labels}, indent=2, ensure_ascii=False)

    def write(aside: Path) -> None:
        with aside.open("wb") as file:
            np.save(file, result.features, allow_pickle=False)

    write_together({path.with_suffix(".json"): lambda aside: aside.write_text(rows + "\n", "utf-8"), path: write})


def _check_beside(path: Path) -> None:
    """The .json beside can be written too, and is not that of another program, such as the model.json of a run."""
    beside = path.with_suffix(".json")
    check_writable(f"{beside}, beside --out {path}", beside)
    if beside.exists():
        try:
            content = read_json(beside)
        except UserError:
            content = None
        ours = isinstance(content, dict) and "paths" in content
        demand(ours, f"--out {path} would replace {beside}, which embed did not write", "choose another --out")


def _write_parquet(path: Path, result: Embeddings) -> None:
    """Columns path, label and feature, a row for each image; the table's metadata holds the model's name."""
    import pyarrow
    import pyarrow.parquet

    rows, dim = result.features.shape
    ends = pyarrow.array(range(0, (rows + 1) * dim, dim), pyarrow.int64())
    feature = pyarrow.LargeListArray.from_arrays(ends, pyarrow.array(result.features.reshape(-1)))
    columns = {
        "path": pyarrow.array(result.paths, pyarrow.string()),
        "label": pyarrow.array(result.labels, pyarrow.string()),
        "feature": feature,
    }
    table = pyarrow.table(columns).replace_schema_metadata({"model": result.model})
    write_whole(path, lambda aside: pyarrow.parquet.write_table(table, aside))


def _need_pyarrow(path: Path) -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError(
            "parquet needs pyarrow, which is not installed", f"{install_hint('parquet')}; or --out FILE.npy"
        )


FORMATS = {".npy": Format(_write_npy, _check_beside), ".parquet": Format(_write_parquet, _need_pyarrow)}
