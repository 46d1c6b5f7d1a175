"""A segmenter as a graph from images of one size to logits for each pixel.

B images of H x W pixels, K classes.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from resmlp.backends.runtimes import open_engine
from resmlp.config.image_size import Size
from resmlp.config.model_json import ExportedSegmenterConfig, Target
from resmlp.config.precision import Execution
from resmlp.config.preprocessing import Preprocessing
from resmlp.data import normalize
from resmlp.data.images.mixup import to_gray
from resmlp.exporters.checked_files import check_difference, check_out, put_in_place, share_of_range, written_aside
from resmlp.exporters.formats import FORMATS, check_packages, export_program
from resmlp.exporters.image_graphs import Normalize, probes, read_images
from resmlp.exporters.precision import available
from resmlp.hub.resolve import Source
from resmlp.models.at_size import segmenter_at
from resmlp.models.segmenter import Segmenter
from resmlp.models.segmenter_files import open_segmenter
from resmlp.utils.checks import demand
from resmlp.utils.errors import counted
from resmlp.utils.files import disk_errors


def export_segmenter(
    source: Source,
    folder: Path,
    to: Target,
    pixels: bool,
    tolerance: float,
    files: Sequence[str] = (),
    precision: str = "fp32",
    size: Size | None = None,
) -> ExportedSegmenterConfig:
    """Write the segmenter of `source` into `folder`, for images of its window or of `size`; as `export` does.

    `files` are images for the comparison with torch. In precision auto it is fp32, as in prediction.
    """
    demand(to != "executorch", f"--to {to} is for classifiers", "use onnx or openvino for a segmenter")
    check_packages(to)
    form = FORMATS[to]
    check_out(folder, to, form.files, ExportedSegmenterConfig)
    saved = segmenter_at(open_segmenter(source), size)
    model, own, preprocessing = saved.model.cpu().eval(), saved.config, saved.config.preprocessing
    (chosen, *_) = Execution(precision=precision).among(available(to), f"an export to {to} on this cpu")
    config = ExportedSegmenterConfig(own, to, form.files, pixels, max(model.backbone.strides), precision=chosen)
    batches = probes(model.config.size, read_images(list(files), preprocessing) if files else None)
    with written_aside() as aside:
        with disk_errors(folder):
            shape = (len(preprocessing.mean), *model.config.size)
            form.write(export_program(graph_of(model, config), shape, pixels), aside, "logits")
        run = form.open(aside)
        mean, std = preprocessing.mean, preprocessing.std
        inputs = [channels_of(each, preprocessing) if pixels else normalize(each, mean, std) for each in batches]
        expected = [logits_of(model, mean, std, each).numpy() for each in batches]
        error = float(np.max([share_of_range(run(own).numpy(), theirs) for own, theirs in zip(inputs, expected)]))
        check_difference(error, tolerance, "logits", to)
        config = replace(config, difference=error)
        if chosen != "fp32":
            engine = open_engine(to, aside, precision=chosen)
            config = replace(config, agreement=agreement([engine.run(each.numpy()) for each in inputs], expected))
        put_in_place(aside, folder, config)
    return config


def channels_of(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """uint8 B 3 H W -> uint8 B C H W with the channels of the network."""
    return to_gray(images) if len(preprocessing.mean) == 1 else images


def graph_of(model: Segmenter, config: ExportedSegmenterConfig) -> nn.Module:
    """The network with what it does before it: normalization, for pixels."""
    return nn.Sequential(Normalize(config.segmenter.preprocessing), model) if config.pixels else model


@torch.no_grad()
def logits_of(model: Segmenter, mean: Sequence[float], std: Sequence[float], pixels: Tensor) -> Tensor:
    """uint8 B 3 H W -> B K H W, by torch"""
    logits: Tensor = model(normalize(pixels, mean, std))
    return logits


def agreement(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> str:
    """The share of the pixels with the same class."""
    same = [ours.argmax(1) == theirs.argmax(1) for ours, theirs in zip(found, expected)]
    share = float(np.concatenate([each.ravel() for each in same]).mean())
    return f"the class agrees on {100 * share:.1f} % of the pixels of {counted(sum(map(len, same)), 'image')}"
