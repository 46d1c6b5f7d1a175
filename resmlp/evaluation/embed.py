"""`embed()`: features of every image in a folder or archive, for other programs."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resmlp.config.image_size import ImageSize, run_size
from resmlp.config.label_table import LabelTable
from resmlp.config.precision import Execution
from resmlp.evaluation.batch_inference.inputs import NO_TABLE, open_inputs
from resmlp.evaluation.batch_inference.run import ENDING, Progress, is_parquet, need_pyarrow
from resmlp.evaluation.evaluator import check_counts, open_predictor
from resmlp.hub.resolve import Source, resolve
from resmlp.inference.prediction import warn_untrained
from resmlp.utils.checks import demand, demand_finite
from resmlp.utils.errors import UserError, counted, each_once
from resmlp.utils.files import check_writable, read_json, write_together

if TYPE_CHECKING:
    import numpy as np

    from resmlp.evaluation.batch_inference.embed import EmbeddingsFile


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
    progress: Progress = lambda step, done, total: None,
) -> "Embeddings | EmbeddingsFile | None":
    """The features of every image under `path`, a folder or an archive of any depth, or a packed data set.

    Its labels are class folders, or those of the table in `data`. Features are also written to `out`, and drawn as
    points of a plane (t-SNE) to `map`, a PNG file. `out` is FILE.npy, with FILE.json beside it, or FILE.parquet, which
    is written in parts (`resmlp.evaluation.batch_inference`): the result then reads the features from the file.
    `precision` and `img_size` are as of `resmlp.load`. An image that cannot be read is named, and has no features. Of
    several processes the first returns the result, of a Parquet file the one that ends last; the others return None.
    `progress` is called while a Parquet file is written. Raises `UserError`.
    """
    out, map = (None if file is None else Path(file) for file in (out, map))
    check_outputs(out, map)
    source, inputs = resolve(model), open_inputs(str(path), data)
    images, labels = inputs.images, inputs.labels
    if map:
        from resmlp.analysis.embedding_map import check_image_count

        check_image_count(len(images))
    if out and is_parquet(out):
        from resmlp.evaluation.batch_inference.embed import embed_parquet

        settings: dict[str, Any] = {"batch_size": batch_size, "workers": workers, "device": device}
        settings |= {"precision": precision, "img_size": img_size, "progress": progress}
        return embed_parquet(source, inputs, out, map, **settings)
    from resmlp.data import EvalBatches
    from resmlp.metrics import extract
    from resmlp.utils.devices import this_process

    with this_process(device) as process:
        execution = Execution(device, precision=precision, images=len(images), size=run_size(img_size))
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
    paths = tuple(inputs.path(i) for i in index)
    features, kept = collected.value.numpy(), tuple(labels[i] for i in index)
    mapped = None
    if map:
        from resmlp.analysis.embedding_map import draw_embedding_map

        mapped = draw_embedding_map(features, list(kept), map)
    result = Embeddings(source.name, features, paths, kept, collected.unreadable, out, map, mapped)
    if out:
        _write_npy(out, result)
    return result


def check_outputs(out: Path | None, map: Path | None) -> None:
    """Raise `UserError` for files that cannot be written, before the network runs."""
    if out:
        endings = "give a file name that ends in " + " or ".join(CHECKS)
        demand(out.suffix.lower() in CHECKS, f"--out {out}", endings)
        check_writable(f"--out {out}", out)
        CHECKS[out.suffix.lower()](out)
    if map:
        demand(map.suffix.lower() == ".png", f"--map {map}", "give a file name that ends in .png")
        check_writable(f"--map {map}", map)


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


CHECKS: dict[str, Callable[[Path], None]] = {".npy": _check_beside, ENDING: need_pyarrow}
"""the ending of a kind of file that features are kept in -> what raises `UserError` where it cannot be written here"""
