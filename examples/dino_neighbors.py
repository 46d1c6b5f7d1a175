"""Learn features without labels, then classify by the nearest neighbors: python examples/dino_neighbors.py PATH

PATH is a folder of images; its sub-folders, if they are classes, are used only to measure the features.
"""

import argparse
from dataclasses import replace

import resmlp
from resmlp.recipes import RECIPES

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("path")
parser.add_argument("--side", type=int, default=64, help="of the images, in pixels")
parser.add_argument("--epochs", type=int, default=50)
parser.add_argument("--out", default="runs/dino")
options = parser.parse_args()

recipe = RECIPES["dino-folder"]
recipe = replace(
    recipe,
    task=replace(recipe.task, out_dim=1024, hidden=256, bottleneck=64, local_views=4),
    model=replace(recipe.model, name="resmlp_cifar", checkpoint=None, patch_size=8),
    data=replace(recipe.data, root=options.path, img_size=(options.side,), batch_size=32),
    run=replace(recipe.run, epochs=options.epochs),
)
resmlp.train(recipe, options.out)

scores = resmlp.evaluate(options.out, protocol="knn")
print(f"k-NN of learned features, on the held-out images: {scores['knn']:.1%}")
