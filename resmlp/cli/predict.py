"""`resmlp predict`."""

import json
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from resmlp.cli.base import Device, Verb
from resmlp.hub.resolve import kind_of
from resmlp.imaging.listing import list_images
from resmlp.inference.prediction import warn_untrained
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

BATCH = 32
Backend = Literal["torch", "folded", "compile", "onnx", "openvino", "auto"]


@dataclass(frozen=True, kw_only=True)
class Predict(Verb):
    """what is in these images: a line for each, the likeliest class first; of a segmenter, images in its colors"""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """a run folder, a file of weights, a name of `resmlp list weights`, hf-hub:ORG/NAME, timm:NAME, or
    what export has written"""
    files: Annotated[Positional[tuple[str, ...]], arg(metavar="FILE...")]
    """images, or folders of them"""
    top: int | None = None
    """how many classes to name; default 3"""
    out: Path | None = None
    """for a segmenter: the folder of NAME-overlay.png and NAME-labels.png; default predictions/"""
    device: Device = "auto"
    backend: Backend | None = None
    """what runs a classifier on a CPU: torch, as it is (default); folded, compile, onnx or openvino, as export has it;
    or auto, the fastest of those that are installed, found while it predicts. An exported folder says by itself"""

    def run(self) -> dict[str, Any]:
        """Predict every file that can be read; those that cannot are named, and make the exit code 2."""
        kind = kind_of(self.model)
        demand(kind != "translator", f"{self.model} sees no images, it translates", "resmlp translate takes it")
        if kind == "segmenter":
            demand(self.top is None, f"--top {self.top} is for classifiers", "a segmenter shares out all pixels")
            demand(self.backend is None, f"--backend {self.backend} is for classifiers", "leave it out")
            from resmlp.cli.predict_segmenter import OUT, label_files

            return label_files(self.model, list_images(self.files), self.out or OUT, self.device, self.json)
        demand(self.out is None, f"--out {self.out} is for segmenters", "a classifier prints what it finds")
        return self.rank(3 if self.top is None else self.top)

    def rank(self, top: int) -> dict[str, Any]:
        """What a classifier says."""
        from resmlp.imaging.decode import UnreadableImage
        from resmlp.imaging.image_file import File
        from resmlp.inference import load

        if top < 1:
            raise UserError(f"--top {top}", "at least 1")
        waiting = iter(list_images(self.files))
        predictor = load(self.model, self.device, self.backend)
        warn_untrained(self.model, predictor.trained)
        found: list[dict[str, Any]] = []
        broken: list[UnreadableImage] = []
        while batch := list(islice(waiting, BATCH)):
            images = {}
            for file in batch:
                try:
                    images[file] = File(file).read()
                except UnreadableImage as error:
                    broken.append(error)
            for file, prediction in zip(images, predictor.rank(list(images.values()), top) if images else []):
                ranked = dict(zip(prediction.labels, prediction.probabilities))
                found.append({"file": file, "label": prediction.labels[0], "probabilities": ranked})
                if not self.json:
                    print(f"{file}: " + ", ".join(f"{label} {p:.3f}" for label, p in ranked.items()), flush=True)
        result = {"predictions": found, "unreadable": [error.name for error in broken]}
        if broken:
            if self.json:
                print(json.dumps(result, ensure_ascii=False))
            for failure in broken[:-1]:
                print(f"error: {failure}", file=sys.stderr)
            raise broken[-1]
        return result
