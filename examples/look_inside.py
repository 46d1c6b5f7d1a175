"""See what a network learned: python examples/look_inside.py

Trains on digits of 28x28 pixels, writes the figures of every layer, and prints how local each layer is.
"""

import argparse
from dataclasses import replace

import resmlp
from resmlp.recipes import RECIPES

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int, default=14)
parser.add_argument("--out", default="runs/inside")
options = parser.parse_args()

recipe = RECIPES["digits"]
recipe = replace(recipe, data=replace(recipe.data, img_size=(28,)), run=replace(recipe.run, epochs=options.epochs))
resmlp.train(recipe, options.out)

found = resmlp.inspect(options.out)
for layer in found.layers:
    if layer.distance:
        print(f"{layer.name}: weights lie at {layer.distance.mean:.2f} of the mean distance of two patches")
print(f"page: {found.out}/report.html")
