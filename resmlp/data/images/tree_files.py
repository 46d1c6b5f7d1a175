"""An image tree: a flat list of images by their path; and that of archives."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from resmlp.data.images.split_names import split_role
from resmlp.imaging.archives import ARCHIVES, HardLink, archive_members, stem_of
from resmlp.imaging.image_file import ImageSource, has_same_bytes
from resmlp.imaging.passed_over import Skipped, is_passed_over
from resmlp.imaging.walk import OnSkip, path_in_set
from resmlp.utils.errors import UserError, brief, printable

NUMBER = re.compile(r"-\d+(-of-\d+)?$")
"""the end of the name of a shard, which is one of the archives of a split"""


class Tree(NamedTuple):
    """Images by their path in the tree; '/' separates the parts of a path."""

    root: str
    """the root, for messages"""
    images: Sequence[tuple[str, ImageSource]]
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


def list_archives(root: str, archives: list[Path], on_skip: OnSkip) -> Tree:
    """The union of the archives' trees; train.tar, or train-00000.tar and so on, is the folder of that name."""
    images: dict[str, ImageSource] = {}
    others: list[str] = []
    for archive in archives:
        tree = _list_archive(root, archive, on_skip)
        stem = NUMBER.sub("", stem_of(archive.name))
        inside = any(name.lower() == stem and tree.subtree(name).folders() for name in tree.folders())
        is_split = split_role(stem) and not inside
        prefix = f"{stem}/" if is_split else ""
        members = {prefix + path: image for path, image in tree.images}
        if repeated := members.keys() & images.keys():
            what = f"two archives in {root} contain {short_list(repeated)}"
            on_skip(Skipped("cannot-list", printable(archive.name), UserError(what, "keep one of them")))
        images.update(members)
        others += [prefix + path for path in tree.other_files]
    return Tree(root, [(path_in_set(path), image) for path, image in images.items()], list(map(path_in_set, others)))


def _list_archive(root: str, archive: Path, on_skip: OnSkip) -> Tree:
    """The tree in one archive; of two members with one path, the last counts, as when an archive is unpacked."""
    images: dict[str, ImageSource] = {}
    others: list[str] = []
    links: dict[str, str] = {}
    outside: list[str] = []
    try:
        for path, member in archive_members(archive, outside.append):
            if isinstance(member, HardLink):
                links[path] = member.target
            elif member is None:
                others.append(path)
            else:
                if path in images and not has_same_bytes(images[path], member):
                    on_skip(Skipped("repeated-member", f"{printable(archive.name)}:{path}"))
                images[path] = member
    except UserError as error:
        on_skip(Skipped("cannot-list", printable(archive.name), error))
    if outside and not images:
        what = f"{archive} has no images but for members outside it, such as {brief(outside[0])[:60]}"
        on_skip(Skipped("cannot-list", printable(archive.name), UserError(what, "pack it again without .. in paths")))
    for name in outside if images else ():
        on_skip(Skipped("outside-archive", f"{printable(archive.name)}:{brief(name)}"))
    packed = [path for path in others if path.lower().endswith(ARCHIVES)]
    if packed and not images:
        inner = UserError(f"{archive}:{packed[0]} is an archive in an archive", "unpack the outer one")
        on_skip(Skipped("cannot-list", printable(archive.name), inner))
    for path, target in links.items():
        if target in images:
            images[path] = images[target]
        else:
            others.append(path)
    passed_over = _passed_over([*images, *others])
    for folder in passed_over:
        on_skip(Skipped("passed-over", f"{folder}/"))
    kept = [(path, image) for path, image in images.items() if not _is_below(path, passed_over)]
    return Tree(root, kept, [path for path in others if not _is_below(path, passed_over)])


def _passed_over(paths: Iterable[str]) -> set[str]:
    """The folders of an archive that are not data."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    for path in paths:
        while path:
            folder, _, name = path.rpartition("/")
            if name in names[folder]:
                break
            names[folder].add(name)
            path = folder
    folders = {folder for folder in names if folder}
    with_slashes = (
        (folder, [name + "/" * (f"{folder}/{name}" in folders) for name in names[folder]]) for folder in folders
    )
    return {folder for folder, inner in with_slashes if is_passed_over(folder, inner)}


def _is_below(path: str, folders: set[str]) -> bool:
    """Whether a path is in one of the folders."""
    if not folders:
        return False
    parts = path.split("/")
    return any("/".join(parts[:depth]) in folders for depth in range(1, len(parts)))
