"""Fine-tune a network on a folder of your own pictures: python examples/finetune_folder.py PATH

PATH has a sub-folder for each class. The weights are published ones, or those of a run of yours (--model runs/x).
"""

import argparse
from dataclasses import replace

import resmlp
from resmlp.recipes import RECIPES

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("path")
parser.add_argument("--model", default="resmlp_s12.fb_distilled_in1k")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--out", default="runs/finetuned")
options = parser.parse_args()

recipe = RECIPES["finetune"]
recipe = replace(
    recipe,
    model=replace(recipe.model, checkpoint=options.model),
    data=replace(recipe.data, root=options.path, batch_size=32),
    run=replace(recipe.run, epochs=options.epochs),
)
resmlp.train(recipe, options.out)

scores = resmlp.evaluate(options.out)
print(f"top-1 on the held-out images: {scores['top1']:.1%}")
for name, share in sorted(scores["per_class"].items(), key=lambda item: item[1])[:5]:
    print(f"  {share:.1%}  {name}")
