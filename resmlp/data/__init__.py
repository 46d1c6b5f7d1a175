"""Pictures, from files to augmented batches.

`decode` reads one file, `pictures` finds files on disk and in archives, `trees` finds the classes and splits that their
folders spell, `images` makes labelled sets of them, `known` reads published sets, `sources` names both, `transforms`
changes one picture, `loader` makes batches, and `batch` changes a batch on its device.
"""

from resmlp.data.batch import BatchAugment, normalise
from resmlp.data.decode import UnreadableImage
from resmlp.data.images import ImageSet, Splits, folder_train
from resmlp.data.loader import EvalBatches, TrainBatches
from resmlp.data.sources import open_eval, open_splits, other_counts
from resmlp.data.transforms import eval_transform, train_transform

__all__ = [
    "BatchAugment",
    "EvalBatches",
    "ImageSet",
    "Splits",
    "TrainBatches",
    "UnreadableImage",
    "eval_transform",
    "folder_train",
    "normalise",
    "open_eval",
    "open_splits",
    "other_counts",
    "train_transform",
]
