"""A small network learns from the labels and from a larger network: python examples/distil.py

Both learn embedded digits; the teacher is any network or function from images in [0, 1] to logits.
"""

import argparse
from dataclasses import replace

import resmlp
from resmlp.config.tasks import Distill
from resmlp.recipes import RECIPES

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--out", default="runs/distil")
options = parser.parse_args()

digits = RECIPES["digits"]
digits = replace(digits, run=replace(digits.run, epochs=options.epochs))
resmlp.train(digits, f"{options.out}/teacher")

small = replace(digits, model=replace(digits.model, dim=32, depth=2))
resmlp.train(small, f"{options.out}/alone")
taught = replace(small, task=Distill(teacher=f"{options.out}/teacher", targets="soft", temperature=2.0))
resmlp.train(taught, f"{options.out}/taught")

for name in ("teacher", "alone", "taught"):
    print(f"{name:8} top-1 {resmlp.evaluate(f'{options.out}/{name}')['top1']:.1%}")
