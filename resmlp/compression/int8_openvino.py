"""A network as an OpenVINO file with 8-bit weights and activations, by NNCF's post-training quantization.

Weights have one scale for each output column, activations one scale from calibration images. What is not a product
stays in bf16 where the CPU has it, and else in 32 bits.
"""

import contextlib
import io
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from resmlp.analysis.profiling.rounds import Work, measure
from resmlp.backends.autotune import Autotuned, Engine
from resmlp.backends.runtimes import open_engine, openvino_core
from resmlp.compression.int8 import ExportedNetwork
from resmlp.config.model_json import MODEL_JSON, Target
from resmlp.data import normalize
from resmlp.exporters.export import difference, exported_config, trunk_of
from resmlp.exporters.formats import FORMATS, export_program, quiet
from resmlp.exporters.precision import available
from resmlp.models import Saved
from resmlp.models.count import input_channels
from resmlp.models.folding import fold
from resmlp.utils.errors import notice
from resmlp.utils.files import write_json
from resmlp.utils.serialization import to_dict

FORM: Target = "openvino"
PART = 8
"""calibration images at a time"""
MEASURED = 32
"""images of a batch whose time is measured"""
SECONDS = 1.0
"""of each measurement"""


def write_int8_openvino(saved: Saved, images: Tensor, folder: Path) -> tuple[Saved, dict[str, Any]]:
    """Write model.xml, model.bin and model.json into an empty folder; `images`, uint8 P 3 H W, calibrate it.

    Returns the written network, opened again, and how many times as fast it is here as the fastest precision of the
    same export that is not int8. Raises `UserError` as `export` does.
    """
    model = trunk_of(saved).cpu().eval()
    config, form = exported_config(saved, FORM, pixels=False), FORMATS[FORM]
    normalized = normalize(images, saved.preprocessing.mean, saved.preprocessing.std)
    whole = folder / "whole"
    whole.mkdir()
    with quiet():
        # folded, not lowered: scales by output column need the weights on the right of their products
        form.write(export_program(fold(model), (input_channels(model), *config.model.size)), whole, config.output)
        quantize(whole / "model.xml", normalized, folder / "model.xml")
    config = replace(config, precision="int8", difference=difference(form.open(folder), model, config))
    write_json(folder / MODEL_JSON, to_dict(config))
    others: dict[str, Engine] = {name: open_engine(FORM, whole, precision=name) for name in available(FORM)}
    speedup = compare_speed(open_engine(FORM, folder, precision="int8"), others, normalized[:MEASURED].numpy())
    for file in form.files:
        (whole / file).unlink()
    whole.rmdir()
    return replace(saved, model=ExportedNetwork(folder, config).eval()), {"speedup": speedup}


def quantize(file: Path, images: Tensor, out: Path) -> None:
    """Quantize an OpenVINO file into another; `images` are normalized calibration images, float32 P 3 H W."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import nncf
        import openvino

        nncf.set_log_level(logging.ERROR)
        parts = [part.numpy() for part in images.split(PART)]
        # without VNNI two products are added in 16 bits: with 7 bits of a weight the sum cannot saturate.
        # SmoothQuant, which the transformer's preset turns on, makes the answers 10 times worse (docs/log.md)
        off = nncf.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1)
        options = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE, smooth_quant_alphas=off)
        small = nncf.quantize(
            openvino_core().read_model(file),
            nncf.Dataset(parts),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(parts),
            advanced_parameters=options,
        )
        openvino.save_model(small, out, compress_to_fp16=False)


def compare_speed(small: Engine, others: Mapping[str, Engine], images: np.ndarray) -> float:
    """Images a second of int8 over those of the fastest other precision; says so where it is not faster."""
    tuned: dict[str, Callable[[], Any]] = {}
    for name, engine in {"int8": small, **others}.items():
        run = Autotuned([engine])
        run.tune(images)
        tuned[name] = partial(run, images)
    found = measure([Work(run, len(images)) for run in tuned.values()], SECONDS, time.perf_counter)
    rates = {name: each.rate.median for name, each in zip(tuned, found)}
    best = max(others, key=rates.__getitem__)
    speedup = rates["int8"] / rates[best]
    if speedup <= 1:
        notice(f"int8 is not faster here: {speedup:.2f} times as fast as {best} by openvino, which export writes")
    return round(speedup, 3)
