"""Image trees: a folder, or archives of one, as a flat list of images, and the classes and splits its folders name."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from resmlp.imaging.image_file import ENDINGS, File, ImageSource, archive_members
from resmlp.utils.errors import UserError, counted, did_you_mean, printable

ARCHIVES = (".tar", ".tar.gz", ".tgz")
TRAIN_FOLDERS, VAL_FOLDERS = ("train",), ("val", "validation", "valid", "test")
"""names of the folders of a split, in lower case; the first one that exists is used"""
SUPPORTED = "supported extensions: " + " ".join(ENDINGS)


class Tree(NamedTuple):
    """Images by their path in the tree; '/' separates the parts of a path."""

    root: str
    """the root, for messages"""
    images: list[tuple[str, ImageSource]]
    other_files: list[str]
    """paths of the files that are not images, and of empty folders (these end in '/')"""

    def folders(self) -> list[str]:
        """Names of the top-level folders that contain images, at any depth."""
        return sorted({path.partition("/")[0] for path, _ in self.images if "/" in path})

    def subtree(self, folder: str) -> "Tree":
        """The tree below one of the top-level folders."""
        start = len(folder) + 1
        return Tree(
            f"{self.root}/{folder}",
            [(path[start:], image) for path, image in self.images if path.startswith(folder + "/")],
            [path[start:] for path in self.other_files if path.startswith(folder + "/")],
        )


class SplitTree(NamedTuple):
    """A tree and its splits: `train` and `val` are None if it has no such folder."""

    train: Tree | None
    val: Tree | None
    whole: Tree


class Skipped(NamedTuple):
    """A file, folder or archive that is not part of the tree."""

    kind: Literal["cannot-list", "hidden", "link-loop"]
    path: str
    """its path in the tree; that of a folder ends in '/'"""
    error: UserError | None = None
    """why a folder or an archive cannot be listed"""


OnSkip = Callable[[Skipped], None]


def _raise_error(skipped: Skipped) -> None:
    if skipped.error:
        raise skipped.error


def open_tree(root: str, on_skip: OnSkip = _raise_error, flag: str = "--data.root") -> SplitTree:
    """List the images under `root`: a folder, an archive, or a folder that contains archives and no folders.

    Calls `on_skip` for everything that is skipped. Raises `UserError` if the root does not exist; by default also if a
    folder or an archive below it cannot be read. `flag` is the option that names the root in messages.
    """
    try:
        return _open_tree(f"{flag} {root}", Path(root).expanduser(), on_skip)
    except OSError as error:
        raise _cannot_list(error) from error


def _open_tree(flag_and_root: str, path: Path, on_skip: OnSkip) -> SplitTree:
    if not path.exists():
        siblings = path.parent.iterdir() if path.parent.is_dir() else ()
        hint = did_you_mean(path.name, [sibling.name for sibling in siblings])
        raise UserError(f"{flag_and_root}: no such file or folder", hint)
    if path.is_file():
        if not path.name.lower().endswith(ARCHIVES):
            raise UserError(f"{flag_and_root} is a file", f"give a folder, or an archive: {' '.join(ARCHIVES)}")
        return _find_splits(_list_archives(str(path), [path], on_skip), archived=True)
    children = sorted(child for child in path.iterdir() if not child.name.startswith("."))
    archives = [child for child in children if child.is_file() and child.name.lower().endswith(ARCHIVES)]
    if archives and not any(child.is_dir() for child in children):
        return _find_splits(_list_archives(str(path), archives, on_skip), archived=True)
    return _find_splits(_list_folder(path, on_skip), archived=False)


def class_folders(tree: Tree) -> dict[str, list[ImageSource]]:
    """The images of each class, in the order of `sort_classes`; a class is a top-level folder.

    Raises `UserError` for a tree without images, without folders, or with a class folder that has no image.
    """
    if not tree.images:
        others = sum(not path.endswith("/") for path in tree.other_files)
        state = f"holds no images, only {counted(others, 'other file')}" if others else "is empty"
        raise UserError(f"{tree.root} {state}", SUPPORTED)
    names = tree.folders()
    if not names:
        raise UserError(
            f"{len(tree.images)} images lie directly in {tree.root}, not in class folders",
            "make one folder for each class and move its images there",
        )
    if {name.lower() for name in names} <= {*TRAIN_FOLDERS, *VAL_FOLDERS}:
        class_folders(tree.subtree(names[0]))  # raises if the images lie directly in train/ or val/
    empty = {path.partition("/")[0] for path in tree.other_files if "/" in path}.difference(names)
    if empty:
        hint = f"add images or move these folders away; {SUPPORTED}"
        raise UserError(f"{tree.root} has class folders without images: {short_list(empty)}", hint)
    classes: dict[str, list[ImageSource]] = {name: [] for name in sort_classes(names)}
    for path, image in sorted(tree.images, key=lambda item: item[0]):
        folder, rest, _ = path.partition("/")
        if rest:
            classes[folder].append(image)
    return classes


def sort_classes(classes: Iterable[str]) -> list[str]:
    """Class names in the order of their labels: by name, or by number if all names are numbers."""
    names = sorted(classes)
    if all(name.isdecimal() for name in names):  # as strings, 10 would come before 2 (ImageNetV2)
        names.sort(key=lambda name: (int(name), name))
    return names


def short_list(names: Iterable[str], limit: int = 5) -> str:
    """The first `limit` names in order, separated by commas, and the number of the others."""
    names = sort_classes(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _find_splits(tree: Tree, archived: bool) -> SplitTree:
    """Find train/ and val/, also one level down if a single folder contains everything."""
    splits = _split_tree(tree)
    folders = tree.folders()
    if splits.train or splits.val or len(folders) != 1:
        return splits
    inner = _split_tree(tree.subtree(folders[0]))
    # A folder inside an archive cannot be given as --data.root, so it is opened here. A folder on disk can be given,
    # so a single class folder there is an error.
    contains_classes = archived and len(inner.whole.folders()) > 1
    return inner if inner.train or inner.val or contains_classes else splits


def _split_tree(tree: Tree) -> SplitTree:
    return SplitTree(_split_folder(tree, TRAIN_FOLDERS), _split_folder(tree, VAL_FOLDERS), tree)


def _split_folder(tree: Tree, names: tuple[str, ...]) -> Tree | None:
    """The first folder of these names that contains class folders: with `train/x.jpg`, train may be a class."""
    folders = {folder.lower(): folder for folder in tree.folders()}
    candidates = (tree.subtree(folders[name]) for name in names if name in folders)
    return next((candidate for candidate in candidates if candidate.folders()), None)


def _list_folder(root: Path, on_skip: OnSkip) -> Tree:
    tree = Tree(str(root), [], [])

    def skip_folder(error: OSError) -> None:
        path = f"{printable(os.path.relpath(error.filename, root))}/"
        on_skip(Skipped("cannot-list", path, _cannot_list(error)))

    for folder, folders, files in os.walk(root, onerror=skip_folder, followlinks=True):
        parts = Path(folder).relative_to(root).parts
        folders[:] = [name for name in folders if not _is_skipped(Path(folder, name), parts, on_skip)]
        if not folders and not files:
            tree.other_files.append(printable("/".join(parts)) + "/")
        for file in files:
            path = printable("/".join((*parts, file)))
            if file.startswith("."):
                on_skip(Skipped("hidden", path))
            elif file.lower().endswith(ENDINGS):
                tree.images.append((path, File(f"{folder}{os.sep}{file}")))
            else:
                tree.other_files.append(path)
    return tree


def _is_skipped(folder: Path, parts: tuple[str, ...], on_skip: OnSkip) -> bool:
    """Whether a folder is skipped: it is hidden, or a link to a folder that contains it."""
    hidden = folder.name.startswith(".")
    loop = not hidden and folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())
    if hidden or loop:
        on_skip(Skipped("hidden" if hidden else "link-loop", printable("/".join((*parts, folder.name))) + "/"))
    return hidden or loop


def _cannot_list(error: OSError) -> UserError:
    return UserError(f"cannot list {printable(str(error.filename))}: {error.strerror}", "check its permissions")


def _list_archives(root: str, archives: list[Path], on_skip: OnSkip) -> Tree:
    """The union of the archives' trees; an archive named train.tar or val.tgz is the folder of that name."""
    images: dict[str, ImageSource] = {}
    others: list[str] = []
    for archive in archives:
        stem = archive.name.lower().partition(".tar")[0].removesuffix(".tgz")
        tree = Tree(root, [], [])
        try:
            for path, image in archive_members(archive):
                if image is None:
                    tree.other_files.append(path)
                else:
                    tree.images.append((path, image))
        except UserError as error:
            on_skip(Skipped("cannot-list", printable(archive.name), error))
        is_split = stem in (*TRAIN_FOLDERS, *VAL_FOLDERS) and not _split_folder(tree, (stem,))
        prefix = f"{stem}/" if is_split else ""
        members = {prefix + path: image for path, image in tree.images}  # of two members of one name, the last counts
        if repeated := members.keys() & images.keys():
            what = f"two archives in {root} contain {short_list(repeated)}"
            on_skip(Skipped("cannot-list", printable(archive.name), UserError(what, "keep one of them")))
        images.update(members)
        others += [prefix + path for path in tree.other_files]
    return Tree(root, list(images.items()), others)
