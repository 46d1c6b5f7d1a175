"""Images and parallel text, from files to batches.

`decode` reads one file, `images` finds files on disk and in archives, `trees` finds the classes and splits that their
folders spell, `images` makes labeled sets of them, `known` reads published sets, `sources` names both, `transforms`
changes one image (`randaugment`, with the arithmetic of `colors` and `shifts`), `loader` makes batches, and `batch`
changes a batch on its device.

For a label in each pixel `maskfiles` reads one mask, `masktrees` finds them beside their images, `classnames` what
their numbers mean, `masksets` holds both, `masks` names the sources (`scenes` is embedded), and `joint` changes image
and labels alike.

Of text, `pairs` reads files, `numbers` makes number words, `parallel` names both, `tokenizer` cuts text into tokens,
and `token_batches` makes batches.
"""

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
from resmlp.imaging.decode import UnreadableImage

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
