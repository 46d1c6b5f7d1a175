"""The folders of a split, by their names: train/ and val/, and what others call them."""

import re
from collections.abc import Iterable
from typing import Literal

Role = Literal["train", "val"]
TRAIN = ("train", "training", "trainset", "trn", "trainval")
VAL = (
    *("val", "validation", "valid", "valset", "dev", "devset", "eval", "evaluation", "holdout"),
    *("test", "testing", "testset", "tst"),
)
"""words for a split, in lower case; of several folders, the one with the first word is used"""
FILLERS = {
    *("set", "sets", "seg", "data", "dataset", "split", "folder", "dir", "samples", "v"),
    *("image", "images", "img", "imgs", "jpg", "png", "photos", "pictures"),
}
"""words that a name of a split may have as well"""


def split_role(name: str) -> tuple[Role, int, int] | None:
    """The role of a folder and its preference (lower is better); None if its name is not that of a split.

    `Training`, `seg_train`, `train_set` and `train2017` are names of a training set, `train station` is not.
    """
    words = re.findall("[^\\W\\d_]+", name.lower())
    roles = [word for word in words if word not in FILLERS]
    if len(roles) != 1:
        return None
    (word,) = roles
    if word in TRAIN:
        return "train", TRAIN.index(word), len(words)
    return ("val", VAL.index(word), len(words)) if word in VAL else None


def folders_of(role: Role, names: Iterable[str]) -> list[str]:
    """Those of the folders `names` that have this role, the preferred one first."""
    ranked = [(found[1:], name) for name in names if (found := split_role(name)) and found[0] == role]
    return [name for _, name in sorted(ranked)]


def is_inside_split(name: str) -> bool:
    """Whether a single folder in a split's folder may hold the classes: seg_train/seg_train/, train/images/."""
    return split_role(name) is not None or set(re.findall("[^\\W\\d_]+", name.lower())) <= FILLERS
