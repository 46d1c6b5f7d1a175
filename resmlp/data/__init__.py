"""Images, masks and parallel text, from files to batches.

`images` lists the files of class folders, archives and published data sets, splits them into a training set and a
validation set, and transforms one image or one batch. `masks` does the same for images with a label for each pixel.
`text` reads parallel text and turns it into batches of tokens. `shards` has the index of a packed data set, and
`packing` makes one. `loading` makes batches of images, for training and for evaluation. `checking` reports the issues
of a tree of images before training.

The imports inside this package point down: packing, checking, loading, masks and text, images, shards. This module
exports the names that other packages use most.
"""

from typing import TYPE_CHECKING

from resmlp.imaging.decode import UnreadableImage
from resmlp.utils.lazy import lazily

__all__ = [
    "IGNORED",
    "BaseSize",
    "BatchAugment",
    "EvalBatches",
    "EvalPairs",
    "ImageSet",
    "JointTransform",
    "MaskSet",
    "MaskSplits",
    "Pairs",
    "Splits",
    "TokenBatches",
    "Tokenizer",
    "TrainBatches",
    "UnreadableImage",
    "eval_transform",
    "folder_train",
    "label_frequencies",
    "normalize",
    "open_eval",
    "open_eval_masks",
    "open_masks",
    "open_pairs",
    "open_splits",
    "open_val",
    "count_mismatch",
    "padded",
    "read_lines",
    "train_transform",
]

if TYPE_CHECKING:
    from resmlp.data.images.imageset import ImageSet, Splits, folder_train
    from resmlp.data.images.mixup import BatchAugment, normalize
    from resmlp.data.images.sources import count_mismatch, open_eval, open_splits
    from resmlp.data.images.transforms import eval_transform, train_transform
    from resmlp.data.loading.eval import EvalBatches, EvalPairs
    from resmlp.data.loading.train import TrainBatches
    from resmlp.data.masks.files import IGNORED
    from resmlp.data.masks.joint_transforms import BaseSize, JointTransform
    from resmlp.data.masks.maskset import MaskSet
    from resmlp.data.masks.sources import MaskSplits, label_frequencies, open_eval_masks, open_masks
    from resmlp.data.text.sources import Pairs, open_pairs, open_val, read_lines
    from resmlp.data.text.token_batches import TokenBatches, padded
    from resmlp.data.text.tokenizer import Tokenizer

__getattr__ = lazily(
    __name__,
    {
        "ImageSet": "images.imageset",
        "Splits": "images.imageset",
        "folder_train": "images.imageset",
        "BatchAugment": "images.mixup",
        "normalize": "images.mixup",
        "count_mismatch": "images.sources",
        "open_eval": "images.sources",
        "open_splits": "images.sources",
        "eval_transform": "images.transforms",
        "train_transform": "images.transforms",
        "EvalBatches": "loading.eval",
        "EvalPairs": "loading.eval",
        "TrainBatches": "loading.train",
        "IGNORED": "masks.files",
        "BaseSize": "masks.joint_transforms",
        "JointTransform": "masks.joint_transforms",
        "MaskSet": "masks.maskset",
        "MaskSplits": "masks.sources",
        "label_frequencies": "masks.sources",
        "open_eval_masks": "masks.sources",
        "open_masks": "masks.sources",
        "Pairs": "text.sources",
        "open_pairs": "text.sources",
        "open_val": "text.sources",
        "read_lines": "text.sources",
        "TokenBatches": "text.token_batches",
        "padded": "text.token_batches",
        "Tokenizer": "text.tokenizer",
    },
)
