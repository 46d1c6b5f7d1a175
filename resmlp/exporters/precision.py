"""The precision of an export: chosen when it is written, by speed and by its answers; recorded in model.json."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from resmlp.backends.agreement import agreement, keep_agreeing, outputs_of
from resmlp.backends.autotune import Autotuned
from resmlp.backends.check_images import check_images, check_pixels
from resmlp.backends.runtimes import HAS, open_engine
from resmlp.config.model_json import ExportedModelConfig
from resmlp.config.precision import Precision
from resmlp.utils.hardware import cpu_precisions


def available(to: str) -> tuple[Precision, ...]:
    """The precisions in which this CPU runs an export to a format."""
    return tuple(name for name in HAS.get(to, ("fp32",)) if name in cpu_precisions())


def choose_precision(folder: Path, config: ExportedModelConfig, precisions: Sequence[Precision]) -> ExportedModelConfig:
    """The config with the fastest of the precisions, fp32 first, whose answers agree, and how near they are.

    A single precision is taken as it is, with its agreement.
    """
    engines = {name: open_engine(config.to, folder, precision=name) for name in ("fp32", *precisions)}
    images = check_pixels if config.pixels else check_images
    size = config.model.size

    def batches() -> list[np.ndarray]:
        return list(images(size, config.model.architecture.in_chans))

    kept = keep_agreeing([engines[name] for name in precisions], batches) if len(precisions) > 1 else []
    chosen = Autotuned(kept).tune(batches()[0]).engine.precision if kept else precisions[0]
    if chosen == "fp32":
        return config
    found = agreement(outputs_of(engines["fp32"], batches), outputs_of(engines[chosen], batches))
    return replace(config, precision=chosen, agreement=str(found))
