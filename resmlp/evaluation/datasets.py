"""The data of an evaluation: what a run held out for validation, or what the user names."""

from dataclasses import replace
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from resmlp.config import Data, Text
from resmlp.config.evaluation import EvalData
from resmlp.hub.resolve import Source
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

if TYPE_CHECKING:
    from resmlp.data import ImageSet, Splits
    from resmlp.data.images.image_list import ImageList

D = TypeVar("D", Data, Text)


def open_eval_images(source: Source, data: EvalData) -> "ImageSet":
    """The images at `data.root`; without one, or at the root that a run was trained on, its validation set.

    With `data.labels` or `data.split` those of one split of a table of labels.
    """
    from resmlp.data import open_eval, open_splits
    from resmlp.data.images.table_sets import table_eval

    own = own_data(source)
    if table := named_table(own, data):
        return table_eval(table, data.split).decoded(table.decoding)
    if own and (splits := run_splits(source, own, data)):
        return splits.val
    if own and (data.root is None or same_root(own, data)):
        return open_splits(own).val
    if data.root is None:
        raise UserError(f"nothing to evaluate {source} on", "give --data.root, an ImageFolder tree")
    if own and own.source != "digits":
        return open_eval(replace(own, root=data.root, labels=None, columns=()))
    return open_eval(Data(root=data.root))


def open_training_images(source: Source, data: EvalData, train: str | Path | None) -> "ImageSet":
    """The images at `train`; without one, the training set of `data.root` or of the run's own data."""
    from resmlp.data import folder_train, open_splits
    from resmlp.data.images.table_sets import table_train

    if train is not None:
        return folder_train(Data(root=str(train)), "--train")
    own = own_data(source)
    if table := named_table(own, data):
        return table_train(table)
    if own and (splits := run_splits(source, own, data)):
        return splits.train
    if own and data.root is None:
        return open_splits(own).train
    if own and (same_root(own, data) or own.source not in ("folder", "digits")):
        return open_splits(replace(own, root=data.root)).train
    hint = "give --train PATH, or a --data.root with train/ and val/"
    demand(data.root is not None, f"nothing to evaluate {source} on", hint)
    return folder_train(Data(root=data.root))


def named_table(own: Data | None, data: EvalData) -> Data | None:
    """The table of labels that `data` names, by itself or by one of its splits; None for the data of a run as it was.

    The root and the table of the run stand in for those that are not named. Raises `UserError` for a missing one.
    """
    trained = own or Data()
    root = data.root or trained.root
    named = (root, data.labels or trained.labels)
    own_table = all(a and b and realpath(a) == realpath(b) for a, b in zip(named, (trained.root, trained.labels)))
    if data.split is None and (data.labels is None or own_table):
        return None
    unread = f"--data.split {data.split}: only resmlp eval --protocol miou reads it without --data.labels"
    demand(named[1] is not None, unread, "class folders have no further splits")
    demand(root is not None, f"--data.root is not given, and --data.labels {named[1]} needs it", "give the images")
    columns = data.columns if data.labels else trained.columns
    return replace(trained, source="folder", root=root, labels=named[1], columns=columns)


def run_splits(source: Source, own: Data, data: EvalData) -> "Splits | None":
    """The splits that a run keeps a list of, from its own root, or from `data.root` if most of its images are there.

    None for a run without a list, and for other images.
    """
    from resmlp.data.images.image_list import read_image_list, restore
    from resmlp.data.images.sources import open_images

    kept = read_image_list(source.folder)
    if kept is None:
        return None
    if kept.pinned:
        return pinned_splits(kept, own, data)
    if data.root is None or same_root(own, data):
        return restore(kept, open_images(own), own, training=False)
    moved = replace(own, root=data.root)
    try:
        images = open_images(moved)
    except UserError:  # it is another data set, with errors that its own reader reports
        return None
    if not set(images.classes) <= {name for entry in kept.entries for name in kept.class_names(entry)}:
        return None  # classes that the model does not know
    found = kept.compare([images.path(i) for i in range(len(images))], images.content)
    return restore(kept, images, moved, training=False) if kept.is_at(found) else None


def pinned_splits(kept: "ImageList", own: Data, data: EvalData) -> "Splits | None":
    """As `run_splits`, of a run that has no list, but is pinned to the index of a packed data set."""
    from resmlp.data import open_splits

    if data.root is None or same_root(own, data):
        return open_splits(own, kept)
    try:
        return open_splits(replace(own, root=data.root), kept)
    except UserError:  # it is another data set
        return None


def own_data(source: Source, kind: type[D] = Data) -> D | None:  # type: ignore[assignment]
    """The data that a run was trained on; None for any other model. Raises `UserError` for data of another kind."""
    if source.recipe is None:
        return None
    data = source.recipe.data
    trained = f"{source} was trained on {'text' if isinstance(data, Text) else 'images'}"
    demand(isinstance(data, kind), trained, "choose another --protocol")
    return data


def same_root(own: Data | Text, data: EvalData) -> bool:
    """Whether both name one folder or archive, however each spells it."""
    return bool(own.root and data.root) and realpath(str(own.root)) == realpath(str(data.root))
