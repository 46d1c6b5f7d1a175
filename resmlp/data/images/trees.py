"""Image trees: a folder, or archives of one, as a flat list of images, and what its folder names say."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from resmlp.imaging.image_file import ENDINGS, File, ImageSource, archive_members
from resmlp.utils.errors import UserError, did_you_mean, printable

ARCHIVES = (".tar", ".tar.gz", ".tgz")
TRAIN, VAL = ("train",), ("val", "validation", "valid", "test")


class Tree(NamedTuple):
    """Images by their path in the tree, its parts divided by '/'."""

    where: str
    """the root, for messages"""
    images: list[tuple[str, ImageSource]]
    others: list[str]
    """paths of the files that are no images, and of empty folders (which end in '/')"""

    def folders(self) -> list[str]:
        """Names of the top folders that hold images, at any depth."""
        return sorted({path.partition("/")[0] for path, _ in self.images if "/" in path})

    def inside(self, folder: str) -> "Tree":
        """The tree under one of the top folders."""
        start = len(folder) + 1
        return Tree(
            f"{self.where}/{folder}",
            [(path[start:], image) for path, image in self.images if path.startswith(folder + "/")],
            [path[start:] for path in self.others if path.startswith(folder + "/")],
        )


class Parts(NamedTuple):
    """A tree as it is divided: `train` and `val` where it has such folders, and all of it."""

    train: Tree | None
    val: Tree | None
    whole: Tree


class Stray(NamedTuple):
    """Something in a tree that is passed over."""

    kind: Literal["unlisted", "hidden", "loop"]
    path: str
    """its path in the tree; a folder's ends in '/'"""
    error: UserError | None = None
    """why a folder or an archive cannot be listed"""


Notice = Callable[[Stray], None]


def _stop(stray: Stray) -> None:
    if stray.error:
        raise stray.error


def open_tree(root: str, notice: Notice = _stop, flag: str = "--data.root") -> Parts:
    """The images under `root`: a folder, an archive, or a folder that holds archives and no folders.

    Raises `UserError` where there is no such thing, or where a folder or an archive in it cannot be read; a `notice`
    that does not raise is told of these, and the rest is listed. `flag` is what gave the root, for messages.
    """
    try:
        return _open_tree(f"{flag} {root}", Path(root).expanduser(), notice)
    except OSError as error:
        raise _unlisted(error) from error


def _open_tree(given: str, path: Path, notice: Notice) -> Parts:
    if not path.exists():
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        raise UserError(f"{given}: no such file or folder", did_you_mean(path.name, [near.name for near in beside]))
    if path.is_file():
        if not path.name.lower().endswith(ARCHIVES):
            raise UserError(f"{given} is a file", f"give a folder, or an archive: {' '.join(ARCHIVES)}")
        return _divide(_list_archives(str(path), [path], notice), archived=True)
    children = sorted(child for child in path.iterdir() if not child.name.startswith("."))
    archives = [child for child in children if child.is_file() and child.name.lower().endswith(ARCHIVES)]
    if archives and not any(child.is_dir() for child in children):
        return _divide(_list_archives(str(path), archives, notice), archived=True)
    return _divide(_list_folder(path, notice), archived=False)


def class_folders(tree: Tree) -> dict[str, list[ImageSource]]:
    """Images by class, that is by top folder: classes in order of name (of number, where all are numbers).

    Raises `UserError` for a tree without images, without folders, or with a class folder that has no image.
    """
    endings = "we read " + " ".join(ENDINGS)
    if not tree.images:
        seen = sum(not path.endswith("/") for path in tree.others)
        raise UserError(
            f"{tree.where} holds no images, {seen} other files were seen" if seen else f"{tree.where} is empty",
            endings,
        )
    names = tree.folders()
    if not names:
        raise UserError(
            f"{len(tree.images)} images lie directly in {tree.where}, and none in a class folder",
            "make one folder a class and put its images there",
        )
    if {name.lower() for name in names} <= {*TRAIN, *VAL}:
        class_folders(tree.inside(names[0]))  # images lie directly in train/ or val/: say that
    bare = {path.partition("/")[0] for path in tree.others if "/" in path}.difference(names)
    if bare:
        raise UserError(f"class folders of {tree.where} without images: {some(bare)}", f"move them away; {endings}")
    classes: dict[str, list[ImageSource]] = {name: [] for name in in_order(names)}
    for path, image in sorted(tree.images, key=lambda item: item[0]):
        folder, inner, _ = path.partition("/")
        if inner:
            classes[folder].append(image)
    return classes


def in_order(classes: Iterable[str]) -> list[str]:
    """Names of classes in the order of their labels: by name, or by number where all are numbers."""
    names = sorted(classes)
    if all(name.isdecimal() for name in names):  # as strings, 10 would come before 2 (ImageNetV2)
        names.sort(key=lambda name: (int(name), name))
    return names


def some(names: Iterable[str], most: int = 5) -> str:
    """At most five of the names in order, and how many more there are."""
    names = in_order(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _divide(tree: Tree, archived: bool) -> Parts:
    """Find train/ and val/, also one folder down where a single folder wraps everything."""
    parts = _parts(tree)
    folders = tree.folders()
    if parts.train or parts.val or len(folders) != 1:
        return parts
    inner = _parts(tree.inside(folders[0]))
    # Of an archive the wrapping folder cannot be given as --data.root; of a folder it can, and one class is an error.
    wraps_classes = archived and len(inner.whole.folders()) > 1
    return inner if inner.train or inner.val or wraps_classes else parts


def _parts(tree: Tree) -> Parts:
    return Parts(_part(tree, TRAIN), _part(tree, VAL), tree)


def _part(tree: Tree, names: tuple[str, ...]) -> Tree | None:
    """The first of the `names` that is a folder of class folders: `train/x.jpg` may be a class of vehicles."""
    found = {folder.lower(): folder for folder in tree.folders()}
    parts = (tree.inside(found[name]) for name in names if name in found)
    return next((part for part in parts if part.folders()), None)


def _list_folder(root: Path, notice: Notice) -> Tree:
    tree = Tree(str(root), [], [])

    def told(error: OSError) -> None:
        notice(Stray("unlisted", f"{printable(os.path.relpath(error.filename, root))}/", _unlisted(error)))

    for folder, folders, files in os.walk(root, onerror=told, followlinks=True):
        inner = Path(folder).relative_to(root).parts
        folders[:] = [name for name in folders if not _passed_over(Path(folder, name), inner, notice)]
        if not folders and not files:
            tree.others.append(printable("/".join(inner)) + "/")
        for file in files:
            path = printable("/".join((*inner, file)))
            if file.startswith("."):
                notice(Stray("hidden", path))
            elif file.lower().endswith(ENDINGS):
                tree.images.append((path, File(f"{folder}{os.sep}{file}")))
            else:
                tree.others.append(path)
    return tree


def _passed_over(folder: Path, inner: tuple[str, ...], notice: Notice) -> bool:
    """Whether a folder is not entered: it is hidden, or a link to a folder that it lies in."""
    hidden = folder.name.startswith(".")
    loop = not hidden and folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())
    if hidden or loop:
        notice(Stray("hidden" if hidden else "loop", printable("/".join((*inner, folder.name))) + "/"))
    return hidden or loop


def _unlisted(error: OSError) -> UserError:
    return UserError(f"cannot list {printable(str(error.filename))}: {error.strerror}", "see to its permissions")


def _list_archives(where: str, archives: list[Path], notice: Notice) -> Tree:
    """The union of the archives' trees; one named train.tar or val.tgz is the folder of that name."""
    images: dict[str, ImageSource] = {}
    others: list[str] = []
    for archive in archives:
        stem = archive.name.lower().partition(".tar")[0].removesuffix(".tgz")
        tree = Tree(where, [], [])
        try:
            for path, image in archive_members(archive):
                if image is None:
                    tree.others.append(path)
                else:
                    tree.images.append((path, image))
        except UserError as error:
            notice(Stray("unlisted", printable(archive.name), error))
        front = f"{stem}/" if stem in (*TRAIN, *VAL) and not _part(tree, (stem,)) else ""
        found = {front + path: image for path, image in tree.images}  # of two members of one name, the last holds
        if twice := found.keys() & images.keys():
            what = f"two archives of {where} hold {some(twice)}"
            notice(Stray("unlisted", printable(archive.name), UserError(what, "keep one of them")))
        images.update(found)
        others += [front + path for path in tree.others]
    return Tree(where, list(images.items()), others)
