"""Labeled images by a table: the files below `data.root`, with the labels and the splits of `data.labels`."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from resmlp.config import Data
from resmlp.data.images.imageset import SEPARATOR, ImageSet, Splits, split
from resmlp.data.images.label_table import Record, read_records, sort_labels
from resmlp.data.images.path_index import PathIndex
from resmlp.data.images.split_names import split_role
from resmlp.data.images.tables import row_error
from resmlp.data.images.tree_files import Tree, short_list
from resmlp.data.images.trees import SUPPORTED, list_tree
from resmlp.imaging.passed_over import IN_ARCHIVES, Skipped, passed_over_texts
from resmlp.utils.checks import demand
from resmlp.utils.errors import counted


class Fault(NamedTuple):
    """What is wrong with a row of a table."""

    kind: str
    """missing-file, unclear-file, two-labels, group-leak or val-only"""
    record: Record
    what: str
    hint: str


@dataclass(frozen=True)
class TableSet:
    """A table of labels and the images that its rows mean."""

    path: Path
    records: dict[str, Record]
    """the row of each image, by its path below the root, in order of path"""
    tree: Tree
    unlisted: tuple[str, ...]
    """paths of images without a row"""
    faults: tuple[Fault, ...]
    repeated: int
    """rows that say of an image what another row has said"""
    skipped: tuple[Skipped, ...] = ()
    """members of archives that are not used"""

    def splits(self, role: str = "") -> list[str]:
        """The names of the splits of this role, train or val, or of all; the preferred one first."""
        found = {record.split for record in self.records.values()} - {""}
        ranked = sorted((split_role(name) or ("", 0, 0), name) for name in found)
        return [name for rank, name in ranked if role in ("", rank[0])]

    def raise_for_faults(self, *ignored: str) -> None:
        """Raise `UserError` for the first fault of a kind that is not `ignored`."""
        for kind, record, what, hint in self.faults:
            if kind not in ignored:
                raise row_error(self.path, record.line, what, hint)

    def notes(self) -> Iterator[str]:
        """What of the images and of the rows is not used."""
        for text in passed_over_texts(self.skipped):
            yield f"left out of {self.tree.root}: {text}"
        if self.unlisted:
            yield f"left out of {self.tree.root}: {_images_without_row(self.unlisted, self.path)}"
        if self.repeated:
            yield f"{self.path} has {counted(self.repeated, 'row')} that only repeat another one"

    def images(self, kept: Callable[[Record], bool] = lambda record: True) -> ImageSet:
        """The images of the rows that are `kept`, with all classes of the table."""
        classes = sort_labels({name for record in self.records.values() for name in record.classes})
        numbers = {name: label for label, name in enumerate(classes)}
        sources = dict(self.tree.images)
        chosen = {path: record for path, record in self.records.items() if kept(record)}
        rows = list(chosen.values())
        sets = [tuple(sorted(numbers[name] for name in row.classes)) for row in rows]
        several = any(len(row.classes) != 1 for row in self.records.values())
        return ImageSet(
            classes,
            [labels[0] if labels else 0 for labels in sets],
            [sources[path] for path in chosen],
            tuple(chosen),
            tuple(self.notes()),
            groups=tuple(row.group for row in rows) if any(row.group for row in rows) else (),
            weights=tuple(row.weight for row in rows if row.weight is not None),
            label_sets=tuple(sets) if several else (),
        )


def _images_without_row(paths: tuple[str, ...], table: Path) -> str:
    return f"{counted(len(paths), 'image')} without a row in {table} ({min(paths)})"


def read_table_set(root: str, labels: str, columns: tuple[str, ...], flag: str = "--data.root") -> TableSet:
    """The table `labels` and the images below `root` that it names, with all faults of its rows.

    Raises `UserError` if one of them cannot be read, or if there are no images.
    """
    path = Path(labels).expanduser()
    records = read_records(path, columns)
    skipped: list[Skipped] = []

    def on_skip(item: Skipped) -> None:
        _raise_damage(item)
        skipped.append(item)

    tree = list_tree(root, on_skip, flag)
    demand(bool(tree.images), f"no images in {tree.root}", SUPPORTED)
    index = PathIndex(tree.root, [name for name, _ in tree.images])
    rows, faults, repeated = dict[str, Record](), list[Fault](), 0
    for record in records:
        fault = _file_fault(record, tree, places := index.find(record.file))
        if not fault:
            name = tree.images[places[0]][0]
            first = rows.setdefault(name, record)
            repeated += first is not record and first[2:] == record[2:]
            fault = _two_rows(first, record) if first[2:] != record[2:] else None
        faults += [fault] * bool(fault)  # type: ignore[list-item]
    faults += _group_faults(rows.values())
    listed = dict(sorted(rows.items()))
    unlisted = tuple(name for name, _ in tree.images if name not in listed)
    found = TableSet(path, listed, tree, unlisted, (), repeated, tuple(i for i in skipped if i.kind in IN_ARCHIVES))
    return replace(found, faults=(*faults, *_class_faults(found)))


def _raise_damage(skipped: Skipped) -> None:
    if skipped.error:
        raise skipped.error


def _file_fault(record: Record, tree: Tree, places: list[int]) -> Fault | None:
    if not places:
        hint = f"{tree.root} has {counted(len(tree.images), 'image')}, such as {tree.images[0][0]}"
        return Fault("missing-file", record, f"no image {record.file} below --data.root", hint)
    if len(places) > 1:
        names = short_list(tree.images[i][0] for i in places)
        hint = "write its path below --data.root, with the extension"
        return Fault("unclear-file", record, f"{record.file} may be {names}", hint)
    return None


def _two_rows(first: Record, record: Record) -> Fault:
    """Two rows of one image that differ."""
    shown = [SEPARATOR.join(row.classes) or "no class" for row in (first, record)]
    if first.classes == record.classes:
        what = f"{record.file} has another split, group or weight in line {first.line}"
        return Fault("two-labels", record, what, "keep one of the rows")
    what = f"{record.file} is {shown[1]}, and {shown[0]} in line {first.line}"
    return Fault("two-labels", record, what, f"keep one row for each image; several classes are A{SEPARATOR}B")


def _group_faults(records: Iterable[Record]) -> Iterator[Fault]:
    """The groups that are on two sides of a split."""
    first = dict[str, Record]()
    told = set[str]()
    for record in sorted(records):
        other = first.setdefault(record.group, record) if record.group else record
        if other.split != record.split and record.group not in told:
            told.add(record.group)
            what = f"the group {record.group} is in {record.split}, and in {other.split} in line {other.line}"
            yield Fault("group-leak", record, what, "keep a group on one side of the split")


def _class_faults(found: TableSet) -> Iterator[Fault]:
    """The classes that occur, but in no row to train on."""
    train = found.splits("train")
    if not train or len(found.splits()) == 1:
        return
    known = {name for record in found.records.values() if record.split in train for name in record.classes}
    for record in sorted(found.records.values()):
        for name in record.classes:
            if name not in known:
                known.add(name)
                yield Fault(
                    "val-only",
                    record,
                    f"the class {name} is in {record.split}, and in no row of {train[0]}",
                    "is it misspelled? training needs images of each class",
                )


def _open(data: Data) -> TableSet:
    """The table and its images. Raises `UserError` for a row that is wrong."""
    found = read_table_set(str(data.root), str(data.labels), data.columns)
    found.raise_for_faults()
    return found


def table_splits(data: Data) -> Splits:
    """The splits that the table names; rows without splits are divided by `val_fraction` and `split_seed`.

    Of several splits to validate on, such as val and test, the first of the usual names is used. Raises `UserError`.
    """
    return divide(_open(data), data)


def divide(found: TableSet, data: Data) -> Splits:
    """The splits of an open table as `table_splits` returns them. Raises `UserError`."""
    train, val = found.splits("train"), found.splits("val")
    demand(bool(train or not val), f"{found.path} has no row to train on", "name the split train in some rows")
    images = found.images(lambda record: record.split in train if train else True)
    shown = short_list(images.classes) or "none"
    demand(len(images.classes) > 1, f"training needs two classes, and {found.path} has {shown}", "is it whole?")
    if not val:
        splits = split(images, data)
    else:
        splits = Splits(images, replace(found.images(lambda record: record.split == val[0]), notes=()))
        further = tuple(path for path, record in found.records.items() if record.split in val[1:])
        splits = splits._replace(train=replace(images, unused=further))
    notes = () if data.folds else _class_notes(splits)
    return Splits(replace(splits.train, notes=(*images.notes, *notes)), splits.val)


def _class_notes(splits: Splits) -> Iterator[str]:
    """The classes without images to validate on."""
    held_out = {label for i in range(len(splits.val)) for label in splits.val.labels_of(i)}
    absent = [name for label, name in enumerate(splits.train.classes) if label not in held_out]
    if absent:
        yield f"no image for validation is of {counted(len(absent), 'class')}: {short_list(absent)}"


def table_eval(data: Data, split: str | None = None) -> ImageSet:
    """The rows of one split: the named one, or val (or test); all rows of a table without splits."""
    found = read_table_set(str(data.root), str(data.labels), data.columns)
    found.raise_for_faults("val-only")
    names = found.splits("" if split else "val")
    if split is None:
        demand(bool(names) or not found.splits(), f"{found.path} has no row of val or test", "--data.split train?")
        chosen = names[:1]
    else:
        role = (split_role(split) or (split,))[:2]
        chosen = [name for name in names if name == split or (split_role(name) or ("",))[:2] == role]
        demand(
            bool(chosen),
            f"--data.split {split}: no row of {found.path} has it",
            f"it has {short_list(names) or 'no splits'}",
        )
    images = found.images(lambda record: not chosen or record.split in chosen)
    return only_present(images)


def only_present(images: ImageSet) -> ImageSet:
    """The same images with the classes that occur."""
    present = sorted({label for i in range(len(images)) for label in images.labels_of(i)})
    number = {label: i for i, label in enumerate(present)}
    return replace(
        images,
        classes=tuple(images.classes[label] for label in present),
        labels=[number.get(label, 0) for label in images.labels],
        label_sets=tuple(tuple(number[label] for label in labels) for labels in images.label_sets),
    )


def table_train(data: Data) -> ImageSet:
    """The rows to train on, or all rows of a table without splits."""
    found = _open(data)
    train = found.splits("train")
    demand(bool(train) or not found.splits(), f"{found.path} has no row to train on", "name the split train in some")
    return found.images(lambda record: record.split in train if train else True)


def table_images(data: Data) -> ImageSet:
    """The images of all rows; rows that are wrong are left out."""
    return read_table_set(str(data.root), str(data.labels), data.columns).images()
