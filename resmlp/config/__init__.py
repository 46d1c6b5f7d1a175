"""Settings of a run: frozen dataclasses, validated at construction, with error messages that name the flags.

Every field is a flag of the command line (`--data.batch-size 64`) and a key of `recipe.json`; the text under a field is
its help. This package imports neither torch nor the hub.
"""

from resmlp.config.data import INHERITED, Augment, Data
from resmlp.config.model import FROM_CHECKPOINT, Model
from resmlp.config.preprocessing import Preprocessing
from resmlp.config.recipe import ImageRecipe, Recipe, TextRecipe
from resmlp.config.text import Seq2Seq, Text
from resmlp.config.training import Optim, Run

__all__ = [
    "FROM_CHECKPOINT",
    "INHERITED",
    "Augment",
    "Data",
    "Model",
    "Optim",
    "ImageRecipe",
    "Preprocessing",
    "Recipe",
    "Run",
    "Seq2Seq",
    "Text",
    "TextRecipe",
]
