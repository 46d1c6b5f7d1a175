"""Image trees: a folder, archives or Parquet files, as a flat list of images, with the classes and splits they name."""

from pathlib import Path
from typing import NamedTuple

from resmlp.data.images.indexed_tree import list_folder
from resmlp.data.images.packed_tree import is_packed, open_packed, packed_split
from resmlp.data.images.parquet import ENDING, is_parquet, list_parquet, missing_labels
from resmlp.data.images.split_names import Role, folders_of, is_inside_split, split_role
from resmlp.data.images.tree_files import Tree, list_archives, short_list, sort_classes
from resmlp.data.shards.rows import Entries
from resmlp.imaging.archives import ARCHIVES
from resmlp.imaging.file_types import ENDINGS
from resmlp.imaging.image_file import ImageSource
from resmlp.imaging.parquet_file import ParquetImage
from resmlp.imaging.passed_over import Skipped, is_passed_over
from resmlp.imaging.walk import OnSkip, cannot_list
from resmlp.utils.address import is_address
from resmlp.utils.errors import UserError, counted, did_you_mean

SUPPORTED = "supported extensions: " + " ".join(ENDINGS)
TABLES = (".csv", ".tsv", ".jsonl")
MAX_WRAPPERS = 4  # folders around the splits


class SplitTree(NamedTuple):
    """A tree and its splits: `train` and `val` are None if it has no such folder."""

    train: Tree | None
    val: Tree | None
    whole: Tree

    def prefix(self, split: Tree) -> str:
        """The path of `train` or `val` in the whole tree, with '/' at its end; empty for the whole tree."""
        inner = split.root[len(self.whole.root) + 1 :]
        return f"{inner}/" if inner else ""


def _raise_error(skipped: Skipped) -> None:
    if skipped.error:
        raise skipped.error


def open_tree(root: str, on_skip: OnSkip = _raise_error, flag: str = "--data.root") -> SplitTree:
    """List the images under `root`: a folder, an archive, a Parquet file, a folder of these, or a packed data set.

    A packed data set may also be on a server or in object storage (https://, s3://).

    Calls `on_skip` for everything that is skipped. Raises `UserError` if the root does not exist; by default also if a
    folder or an archive below it cannot be read. `flag` is the option that names the root in messages.
    """
    return _find_splits(*_list_tree(f"{flag} {root}", root, on_skip))


def list_tree(root: str, on_skip: OnSkip = _raise_error, flag: str = "--data.root") -> Tree:
    """The same without a search for splits: the paths are those below `root`."""
    return _list_tree(f"{flag} {root}", root, on_skip)[0]


def _list_tree(flag_and_root: str, root: str, on_skip: OnSkip) -> tuple[Tree, bool]:
    """The tree, and whether it is in archives."""
    if is_address(root):
        return open_packed(root), False
    try:
        return _list_any(flag_and_root, Path(root).expanduser(), on_skip)
    except OSError as error:
        raise cannot_list(error) from error


def _list_any(flag_and_root: str, path: Path, on_skip: OnSkip) -> tuple[Tree, bool]:
    if not path.exists():
        siblings = path.parent.iterdir() if path.parent.is_dir() else ()
        hint = did_you_mean(path.name, [sibling.name for sibling in siblings])
        raise UserError(f"{flag_and_root}: no such file or folder", hint)
    if path.is_file():
        if is_parquet(path):
            return list_parquet(str(path), [(path.name, path)]), True
        if not path.name.lower().endswith(ARCHIVES):
            hint = f"give a folder, a .parquet, or an archive: {' '.join(ARCHIVES)}"
            if path.name.lower().endswith(TABLES):
                hint = "--data.labels takes a table of the images of a folder; parallel text must be .tsv or .parquet"
            raise UserError(f"{flag_and_root} is a file", hint)
        return list_archives(str(path), [path], on_skip), True
    if is_packed(path):
        return open_packed(path), False
    children = sorted(child for child in path.iterdir() if not child.name.startswith("."))
    archives = [child for child in children if child.is_file() and child.name.lower().endswith(ARCHIVES)]
    if archives and not any(child.is_dir() and not _is_passed_over(child) for child in children):
        return list_archives(str(path), archives, on_skip), True
    tree = list_folder(path, on_skip)
    if not tree.images and (tables := [name for name in tree.other_files if name.lower().endswith(ENDING)]):
        return list_parquet(str(path), [(name, path / name) for name in tables]), True
    return tree, False


def _is_passed_over(folder: Path) -> bool:
    return is_passed_over(folder.name, [child.name + "/" * child.is_dir() for child in folder.iterdir()])


def class_folders(tree: Tree) -> dict[str, list[tuple[str, ImageSource]]]:
    """The images of each class with their paths, in the order of `class_names`, which it raises the errors of."""
    classes: dict[str, list[tuple[str, ImageSource]]] = {name: [] for name in class_names(tree)}
    for path, image in sorted(tree.images, key=lambda item: item[0]):
        folder, rest, _ = path.partition("/")
        if rest:
            classes[folder].append((path, image))
    return classes


def class_names(tree: Tree) -> list[str]:
    """The classes of a tree, which are its top-level folders, in the order of `sort_classes`.

    Raises `UserError` for a tree without images, without folders, or with a class folder that has no image.
    """
    if not tree.images:
        others = sum(not path.endswith("/") for path in tree.other_files)
        state = f"holds no images, only {counted(others, 'other file')}" if others else "is empty"
        raise UserError(f"{tree.root} {state}", SUPPORTED)
    names = tree.folders()
    if not names:
        if isinstance(tree.images[0][1], ParquetImage):
            raise missing_labels(tree.images[0][1])
        raise UserError(
            f"{len(tree.images)} images lie directly in {tree.root}, not in class folders",
            "make one folder for each class and move its images there",
        )
    if all(map(split_role, names)):
        class_names(tree.subtree(names[0]))  # raises if the images lie directly in train/ or val/
    empty = {path.partition("/")[0] for path in tree.other_files if "/" in path}.difference(names)
    if empty:
        hint = f"add images or move these folders away; {SUPPORTED}"
        raise UserError(f"{tree.root} has class folders without images: {short_list(empty)}", hint)
    return sort_classes(names)


def _find_splits(tree: Tree, archived: bool) -> SplitTree:
    """Find train/ and val/, also below if single folders contain everything."""
    if isinstance(tree.images, Entries):
        return SplitTree(packed_split(tree, "train"), packed_split(tree, "val"), tree)
    outer = splits = _split_tree(tree)
    for _ in range(MAX_WRAPPERS):
        folders = splits.whole.folders()
        if splits.train or splits.val or len(folders) != 1:
            break
        splits = _split_tree(splits.whole.subtree(folders[0]))
    # A folder inside an archive cannot be given as --data.root, so it is opened here. A folder on disk can be given,
    # so a single class folder there is an error.
    if splits.train or splits.val:
        return splits
    folders = tree.folders()
    inner = _split_tree(tree.subtree(folders[0])) if archived and len(folders) == 1 else None
    return inner if inner and len(inner.whole.folders()) > 1 else outer


def _split_tree(tree: Tree) -> SplitTree:
    train, val = _split_folder(tree, "train"), _split_folder(tree, "val")
    if (train is None) != (val is None) and _is_class(tree, train or val):
        train = val = None
    return SplitTree(train, val, tree)


def _split_folder(tree: Tree, role: Role) -> Tree | None:
    """The first folder of this role that contains class folders: with `train/x.jpg`, train may be a class."""
    candidates = (_without_wrapper(tree.subtree(name)) for name in folders_of(role, tree.folders()))
    return next((candidate for candidate in candidates if candidate.folders()), None)


def _without_wrapper(tree: Tree) -> Tree:
    """The classes of a split: those of seg_train/seg_train/ are one folder deeper."""
    folders = tree.folders()
    if len(folders) == 1 and is_inside_split(folders[0]):
        inner = tree.subtree(folders[0])
        return inner if inner.folders() else tree
    return tree


def _is_class(tree: Tree, split: Tree | None) -> bool:
    """Whether the only folder with the name of a split is a class, because the folders next to it are built alike.

    Raises `UserError` if the one folder next to it has the same folders: it is a split with an unknown name.
    """
    assert split
    name = split.root[len(tree.root) + 1 :].partition("/")[0]
    others = [tree.subtree(other) for other in tree.folders() if not split_role(other)]
    inner = [set(other.folders()) for other in others]
    if len(others) == 1 and len(inner[0] & set(split.folders())) > 1:
        what = f"{others[0].root} has the same folders as {split.root}, but its name is not that of a split"
        other_role = "val" if folders_of("train", [name]) else "train"
        raise UserError(what, f"rename it to {other_role}/, or move it away")
    return bool(inner) and all(inner)
