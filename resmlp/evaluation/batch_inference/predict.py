"""`predict_parquet()`: the classes of every image of a data set, as one Parquet file."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resmlp.config.image_size import ImageSize, run_size
from resmlp.config.precision import Execution
from resmlp.evaluation.batch_inference.columns import ClassColumns
from resmlp.evaluation.batch_inference.inputs import given_inputs, open_inputs
from resmlp.evaluation.batch_inference.plan import own_share, use_own_gpu
from resmlp.evaluation.batch_inference.run import Progress, Work, Written, check_parquet, is_parquet, write_parquet
from resmlp.hub.resolve import Source, resolve
from resmlp.inference import Classifier
from resmlp.inference.model_kinds import KINDS, load_source
from resmlp.inference.prediction import warn_untrained
from resmlp.utils.checks import demand

if TYPE_CHECKING:
    from resmlp.imaging.image_file import ImageSource

TOP = 3
"""classes that are named where nothing else is asked for"""


def predict_parquet(
    model: str | Path | Source,
    images: "str | Path | Sequence[str | ImageSource]",
    out: str | Path,
    *,
    top: int | None = None,
    workers: int = 2,
    device: str = "auto",
    backend: str | None = None,
    precision: str = "auto",
    img_size: ImageSize | None = None,
    progress: Progress = lambda step, done, total: None,
) -> Written | None:
    """Write the `top` most probable classes of every image to the Parquet file `out`, a row for each.

    `images` is a folder, an archive or a packed data set, whose class folders become labels, or a sequence of files.
    `workers` processes read the images for a network of torch. `device`, `backend`, `precision`, `img_size` are as of
    `resmlp.load`. Processes with RANK and WORLD_SIZE in their environment share the work; all but the last to end
    return None. An interrupted call continues when it is made again. Raises `UserError`.
    """
    out = Path(out)
    demand(is_parquet(out), f"--out {out}", "give a file name that ends in .parquet")
    check_parquet(out)
    source, size = resolve(model), run_size(img_size)
    demand(KINDS[source.kind].takes == "images", f"{source} translates text", "use resmlp translate")
    demand(
        "segmenter" not in source.kind, f"--out {out} is for classifiers, and {source} is a segmenter", "give a folder"
    )
    inputs = open_inputs(str(images)) if isinstance(images, str | Path) else given_inputs(images)
    use_own_gpu(device)
    predictor = load_source(source, Execution(device, backend, precision, len(inputs), size))
    assert isinstance(predictor, Classifier)
    hint = "resmlp embed MODEL PATH --out FILE.parquet writes features"
    demand(predictor.has_classifier, f"{source} has no classifier", hint)
    if own_share().rank == 0:
        warn_untrained(source.name, predictor.trained)
    several = predictor.threshold is not None
    named = min(top or TOP, len(predictor.classes) or top or TOP)
    options: dict[str, Any] = {"command": "predict", "--top": named, "--precision": precision}
    options |= {"--backend": backend, "--img-size": img_size}
    run = partial(_results, predictor, named)
    columns = ClassColumns(named, several)
    return write_parquet(
        out, inputs, Work(source, predictor, run, columns, predictor.batch_size, workers, options), progress
    )


def _results(predictor: Classifier, top: int, images: np.ndarray) -> list[Any]:
    return predictor.results(images, top=top)  # type: ignore[arg-type]  # a sequence of images as well
