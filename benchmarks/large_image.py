"""The memory that `resmlp predict` takes to label an image of 4000 x 3000 pixels.

python benchmarks/large_image.py      writes results/large_image.json

The network is the paper's: ResMLP-S12, UPerNet 512 wide, 150 classes, windows of 224 in steps of two thirds; weights
are random, which changes neither time nor memory. What is measured is the whole program, Python and torch included.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from machine import conditions
from PIL import Image

from resmlp.config import Data, Model
from resmlp.config.model_json import SegmenterModelConfig
from resmlp.data.masks.classnames import palette
from resmlp.models import build_segmenter
from resmlp.models.segmenter_files import save_segmenter

WIDTH, HEIGHT, CLASSES, WINDOW = 4000, 3000, 150, (224, 224)
MOST_GIB = 3.0
RESULT = Path(__file__).parent.parent / "results" / "large_image.json"


def prepare(folder: Path) -> Path:
    """Write a network into `folder`, and an image as smooth as a photograph, whose path is returned."""
    torch.manual_seed(0)
    model, _ = build_segmenter(Model("resmlp_s12"), WINDOW, CLASSES)
    names = tuple(map(str, range(CLASSES)))
    card = SegmenterModelConfig(model.config, Data(img_size=WINDOW).preprocessing(), names, palette(CLASSES))
    save_segmenter(folder, model.eval(), card)
    coarse = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    image = folder / "image.png"
    Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(image)
    return image


def main() -> int:
    """Returns 1 where it takes more than it may."""
    with TemporaryDirectory() as aside:
        folder = Path(aside)
        image = prepare(folder)
        command = [sys.executable, "-m", "resmlp", "predict", str(folder / "model.safetensors"), str(image)]
        start = time.monotonic()
        subprocess.run([*command, "--out", str(folder / "out"), "--device", "cpu"], check=True)
        seconds = time.monotonic() - start
        with Image.open(folder / "out" / "image-labels.png") as labels:
            assert labels.size == (WIDTH, HEIGHT)
    gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    result = {
        "what": f"Segmentation of a {WIDTH} x {HEIGHT} image by S12 with UPerNet, {CLASSES} classes: total memory",
        "numbers": {"gib": round(gib, 2)},
        "target": {"gib": f"under {MOST_GIB:g}"},
        "reached": gib < MOST_GIB,
        "command": "python benchmarks/large_image.py",
        "seconds": round(seconds, 1),
        **conditions(),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["numbers"]))
    return int(not result["reached"])


if __name__ == "__main__":
    raise SystemExit(main())
