"""Pictures and parallel text, from files to batches.

`decode` reads one file, `pictures` finds files on disk and in archives, `trees` finds the classes and splits that their
folders spell, `images` makes labelled sets of them, `known` reads published sets, `sources` names both, `transforms`
changes one picture (`randaugment`, with the arithmetic of `colours` and `shifts`), `loader` makes batches, and `batch`
changes a batch on its device.

For a label in each pixel `maskfiles` reads one mask, `masktrees` finds them beside their pictures, `classnames` what
their numbers mean, `masksets` holds both, `masks` names the sources (`scenes` is embedded), and `joint` changes picture
and labels alike.

Of text, `pairs` reads files, `numbers` makes number words, `parallel` names both, `tokenizer` cuts text into tokens,
and `token_batches` makes batches.
"""

from resmlp.data.batch import BatchAugment, normalise
from resmlp.data.evalbatches import EvalBatches, EvalPairs
from resmlp.data.images import ImageSet, Splits, folder_train
from resmlp.data.joint import BaseSize, JointTransform
from resmlp.data.maskfiles import IGNORED
from resmlp.data.masks import MASKED, MaskSplits, label_shares, open_eval_masks, open_masks
from resmlp.data.masksets import MaskSet
from resmlp.data.parallel import Pairs, open_pairs, open_val, read_lines
from resmlp.data.sources import open_eval, open_splits, other_counts
from resmlp.data.token_batches import TokenBatches, padded
from resmlp.data.tokenizer import Tokenizer
from resmlp.data.trainbatches import TrainBatches
from resmlp.data.transforms import eval_transform, train_transform
from resmlp.imaging.decode import UnreadableImage

__all__ = [
    "IGNORED",
    "MASKED",
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
    "label_shares",
    "normalise",
    "open_eval",
    "open_eval_masks",
    "open_masks",
    "open_pairs",
    "open_splits",
    "open_val",
    "other_counts",
    "padded",
    "read_lines",
    "train_transform",
]
