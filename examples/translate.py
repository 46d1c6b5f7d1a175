"""Translate without attention: python examples/translate.py

Embedded data: English number words to German ones; for text of your own, see docs/translation.md.
"""

import argparse
from dataclasses import replace

import resmlp
from resmlp.recipes import RECIPES

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int)
parser.add_argument("--out", default="runs/translate")
options = parser.parse_args()

recipe = RECIPES["numbers"]
if options.epochs:
    recipe = replace(recipe, run=replace(recipe.run, epochs=options.epochs))
resmlp.train(recipe, options.out)

translator = resmlp.load(options.out)
for line in ("seven", "forty-two", "nine thousand three hundred and five"):
    print(f"{line} -> {translator.predict(line).text}")
