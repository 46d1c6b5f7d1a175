"""The features of every image of a data set, as one Parquet file."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resmlp.config.image_size import ImageSize, run_size
from resmlp.config.precision import Execution
from resmlp.evaluation.batch_inference.columns import FeatureColumns
from resmlp.evaluation.batch_inference.inputs import Inputs
from resmlp.evaluation.batch_inference.plan import own_share, use_own_gpu
from resmlp.evaluation.batch_inference.run import Progress, Work, Written, column_batches, write_parquet
from resmlp.evaluation.evaluator import open_predictor
from resmlp.hub.resolve import Source
from resmlp.inference.prediction import warn_untrained
from resmlp.utils.checks import demand_finite
from resmlp.utils.errors import counted

if TYPE_CHECKING:
    from resmlp.inference import TorchPredictor


@dataclass(frozen=True)
class EmbeddingsFile:
    """The features of N images in a Parquet file, and the map of them; the properties read the file each time."""

    written: Written
    map: Path | None = None
    mapped: int | None = None
    """images on the map"""

    @property
    def model(self) -> str:
        """The name of the network."""
        return self.written.model

    @property
    def out(self) -> Path:
        """The Parquet file."""
        return self.written.out

    @property
    def unreadable(self) -> tuple[str, ...]:
        """The paths of the images without features."""
        return self.written.unreadable

    @property
    def dim(self) -> int:
        """The number of features of an image."""
        from pyarrow import parquet

        size: int = parquet.read_schema(self.out).field("feature").type.list_size
        return size

    @property
    def features(self) -> np.ndarray:
        """float32 N D, of the images that can be read: all in memory."""
        parts = [batch["feature"].drop_null() for batch in column_batches(self.out, ["feature"])]
        return np.concatenate([part.flatten().to_numpy().reshape(-1, self.dim) for part in parts])

    @property
    def paths(self) -> tuple[str, ...]:
        """Of these images, in the folder or archive."""
        return tuple(self._readable("path"))

    @property
    def labels(self) -> tuple[str | None, ...]:
        """Of these images, as in the column."""
        return tuple(self._readable("label"))

    def _readable(self, name: str) -> list[Any]:
        batches = column_batches(self.out, [name, "error"])
        return [value for batch in batches for value in batch[name].filter(batch["error"].is_null()).to_pylist()]

    def to_dict(self) -> dict[str, Any]:
        """Counts and files, without the features."""
        result = {**self.written.to_dict(), "dim": self.dim}
        return result | {"mapped": self.mapped, "map": str(self.map)} if self.map else result

    def __str__(self) -> str:
        drawn = [f"drawn: {self.map}"] if self.map else []
        return "\n".join([f"{self.written}", f"{counted(self.dim, 'feature')} each", *drawn])


def embed_parquet(
    source: Source,
    inputs: Inputs,
    out: Path,
    map: Path | None,
    *,
    batch_size: int,
    workers: int,
    device: str,
    precision: str,
    img_size: ImageSize | None,
    progress: Progress,
) -> EmbeddingsFile | None:
    """Write the features of every image to `out`, as of `resmlp.embed`; None where other processes are not done yet."""
    from resmlp.utils.devices import find_device

    use_own_gpu(device)
    execution = Execution(device, precision=precision, images=len(inputs), size=run_size(img_size))
    predictor = open_predictor(source, "best", find_device(device), execution)
    if own_share().rank == 0:
        warn_untrained(source.name, predictor.trained)
    columns = FeatureColumns(len(_features(predictor, _blank(predictor))[0]))
    options = {"command": "embed", "--precision": precision, "--img-size": img_size}
    run = partial(_features, predictor)
    work = Work(source, predictor, run, columns, batch_size, workers, options)
    written = write_parquet(out, inputs, work, progress)
    if written is None:
        return None
    result = EmbeddingsFile(written, map)
    if map is None:
        return result
    from resmlp.analysis.embedding_map import draw_embedding_map

    return EmbeddingsFile(written, map, draw_embedding_map(result.features, result.labels, map))


def _features(predictor: "TorchPredictor", images: np.ndarray) -> list[Any]:
    values = predictor.features(images).numpy()
    demand_finite(np.isfinite(values).all())
    return list(values)


def _blank(predictor: "TorchPredictor") -> np.ndarray:
    """One black image, from which the number of features is seen."""
    size = predictor.shapes[0] if predictor.shapes else predictor.preprocessing.size
    return np.zeros((1, 3, *size), np.uint8)
