"""The outputs of a network for images, batch by batch, while other processes read the next ones."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from resmlp.evaluation.batch_inference.inputs import Inputs
from resmlp.evaluation.batch_inference.plan import BlockBatches
from resmlp.imaging.decode import UnreadableImage
from resmlp.imaging.inputs import read_image

if TYPE_CHECKING:
    from resmlp.inference import Classifier

Run = Callable[[np.ndarray], list[Any]]
"""uint8 B 3 H W of the network's size -> a result for each"""


class Output(NamedTuple):
    """The results of a batch, and why others of it have none, by the numbers of the images."""

    results: dict[int, Any]
    errors: dict[int, str]


def outputs(predictor: "Classifier", run: Run, inputs: Inputs, order: BlockBatches, workers: int) -> Iterator[Output]:
    """The output of each batch of `order`; one of several image sizes may be in several parts.

    `workers` processes read the images for a network of torch. Any other one reads them itself: torch is not loaded.
    Raises `UserError`.
    """
    yield from (
        _by_loader(predictor, run, inputs, order, workers)
        if predictor.by_torch
        else _alone(predictor, run, inputs, order)
    )


def _by_loader(predictor: Any, run: Run, inputs: Inputs, order: BlockBatches, workers: int) -> Iterator[Output]:
    from resmlp.data import EvalBatches

    options = (predictor.preprocessing, order.batch_size, workers)
    for batch in EvalBatches(inputs.images, *options, shapes=predictor.shapes, order=order):
        index = batch["index"].tolist()
        results = run(batch["image"].numpy()) if index else []
        yield Output(dict(zip(index, results)), batch["reasons"])


def _alone(predictor: "Classifier", run: Run, inputs: Inputs, order: BlockBatches) -> Iterator[Output]:
    for rows in order:
        kept, errors = dict[int, np.ndarray](), dict[int, str]()
        for i in rows:
            try:
                kept[i] = predictor.keep(read_image(inputs.images.images[i], predictor.preprocessing.decoding))
            except UnreadableImage as error:
                errors[i] = error.reason
        results = run(np.stack(list(kept.values()))) if kept else []
        yield Output(dict(zip(kept, results)), errors)
