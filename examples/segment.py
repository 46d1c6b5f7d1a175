"""Label each pixel: python examples/segment.py

Embedded scenes of digits on patterns; for your own, `--data.source masks` reads images/ and labels/ (docs/data.md).
"""

import argparse
from dataclasses import replace
from pathlib import Path

import resmlp
from resmlp.analysis.overlay import overlay
from resmlp.data.masks.scenes import scene_splits
from resmlp.recipes import RECIPES

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int, default=14)
parser.add_argument("--out", default="runs/segment")
options = parser.parse_args()

recipe = RECIPES["scenes"]
resmlp.train(replace(recipe, run=replace(recipe.run, epochs=options.epochs)), options.out)
print(f"mean intersection over union {resmlp.evaluate(options.out)['miou']:.3f}")

image, _ = scene_splits(recipe.data).val.read(0)
found = resmlp.load(options.out).predict(image)
path = Path(options.out) / "overlay.png"
overlay(image, found.labels, found.palette).save(path)
print(f"{path}: {', '.join(found.shares())}")
