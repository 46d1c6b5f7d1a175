"""Folders of images and masks: images/ next to labels/, annotations/ or masks/, and the splits in them."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from resmlp.data.images.image_list import some
from resmlp.data.images.packed_tree import is_packed
from resmlp.data.images.split_names import Role, folders_of, split_role
from resmlp.data.images.tree_files import short_list
from resmlp.data.images.trees import SUPPORTED
from resmlp.data.masks.classnames import ListFiles, find_lists
from resmlp.data.masks.maskset import UNKNOWN, FilePair
from resmlp.data.masks.packed import PackedSplit, open_packed_masks
from resmlp.imaging.image_file import File
from resmlp.imaging.passed_over import is_passed_over
from resmlp.imaging.walk import is_image_file, is_special, path_in_set
from resmlp.utils.address import is_address
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, did_you_mean

IMAGES, MASKS = "images", ("labels", "annotations", "masks")
LAYOUT = "images/{train,val}/NAME.jpg and labels/{train,val}/NAME.png, or images/ and labels/ without splits"


class PairedFiles(NamedTuple):
    """Paths of images with their masks, in order of name, and what is left out."""

    pairs: list[tuple[str, str]]
    unpaired_masks: list[str]
    """names of masks without an image"""
    others: list[str] = []
    """names of files that are not images, and of pipes, sockets and devices"""


class SplitFolders(NamedTuple):
    """The folder of the images and the folder of the masks of a split."""

    images: Path
    masks: Path

    def files(self) -> PairedFiles:
        """The files in the two folders, paired by name.

        Raises `UserError` for an image without a mask, for two files with the same name, and if there are no images.
        """
        (images, others), (masks, other_masks) = _files_by_stem(self.images), _files_by_stem(self.masks)
        if not images:
            raise UserError(f"{self.images} holds no images", SUPPORTED)
        unpaired = [masks[stem] for stem in sorted(masks.keys() - images.keys())]
        if missing := sorted(images.keys() - masks.keys()):
            names = short_list(images[stem] for stem in missing)
            what = f"{len(missing)} of {len(images)} images in {self.images} have no mask: {names}"
            other = f"; {unpaired[0]} there has no image" if unpaired else ""
            raise UserError(what, f"the mask of {images[missing[0]]} is {self.masks / missing[0]}.png{other}")
        pairs = [(str(self.images / name), str(self.masks / masks[stem])) for stem, name in sorted(images.items())]
        return PairedFiles(pairs, unpaired, [*others, *other_masks])

    def pairs(self, root: str) -> tuple[list[FilePair], list[str]]:
        """The pairs in a data set, whose masks are not read yet, and notes for the user. Raises as `files` does."""
        files, start = self.files(), f"{root}/"
        pairs = [
            FilePair(File(image), File(mask), UNKNOWN, path=path_in_set(image.removeprefix(start)))
            for image, mask in files.pairs
        ]
        notes = [f"skipped masks without an image: {short_list(files.unpaired_masks)}"] if files.unpaired_masks else []
        if files.others:
            others = f"{len(files.others)} files that are not images or masks that are read"
            notes.append(f"left out of {self.images} and its masks: {others} ({some(sorted(files.others))})")
        return pairs, notes


class MaskTree(NamedTuple):
    """The splits below a root by name, such as train and val; without splits, one entry with an empty name."""

    root: str
    splits: Mapping[str, SplitFolders | PackedSplit]
    lists: ListFiles
    notes: tuple[str, ...] = ()

    @property
    def train(self) -> SplitFolders | PackedSplit | None:
        """The training split; None if there is none."""
        return self._first("train")

    @property
    def val(self) -> SplitFolders | PackedSplit | None:
        """The validation split; None if there is none."""
        return self._first("val")

    @property
    def whole(self) -> SplitFolders | PackedSplit | None:
        """All pairs of a tree without splits; None if there are splits."""
        return self.splits.get("")

    def split(self, name: str) -> SplitFolders | PackedSplit:
        """The split of this name; raises `UserError`."""
        if name in self.splits:
            return self.splits[name]
        names = sorted(filter(None, self.splits))
        hint = did_you_mean(name, names) if names else "the data set has no splits: do not name one"
        raise UserError(f"{self.root}/{IMAGES} has no split {name!r}", hint)

    def _first(self, role: Role) -> SplitFolders | PackedSplit | None:
        return next((self.splits[name] for name in folders_of(role, self.splits)), None)


def open_mask_tree(root: str, flag: str = "--data.root") -> MaskTree:
    """The folders below `root`, or a packed data set; opens no image.

    Raises `UserError`, with `flag` as the name of the option, if they are not as in `LAYOUT`, and for a packed data set
    without masks or with damaged shards.
    """
    if is_address(root) or is_packed(Path(root)):
        packed = open_packed_masks(root)
        return MaskTree(root, packed.splits, packed.lists, packed.notes)
    top = Path(root)
    return MaskTree(str(top), _find_splits(top, f"{flag} {root}"), find_lists(top))


def _find_splits(top: Path, flag_and_root: str) -> dict[str, SplitFolders]:
    if not top.exists():
        siblings = [path.name for path in _list_folder(top.parent)] if top.parent.is_dir() else []
        raise UserError(f"{flag_and_root}: no such folder", did_you_mean(top.name, siblings))
    if not top.is_dir():
        raise UserError(f"{flag_and_root} is a file", f"unpack it, and give its folder: {LAYOUT}")
    images, mask_folders = top / IMAGES, _mask_folders(top)
    if not images.is_dir() and (splits := _split_first(top)):
        return splits
    if not images.is_dir() or not mask_folders:
        state = f"no folder {IMAGES}/" if not images.is_dir() else f"{IMAGES}/, but no folder {', '.join(MASKS)}"
        raise UserError(f"{flag_and_root} has {state}", LAYOUT)
    if len(mask_folders) > 1:
        names = " and ".join(f"{folder.name}/" for folder in mask_folders)
        raise UserError(f"{flag_and_root} has several folders of masks, {names}", "keep only one of them")
    return _splits(images, mask_folders[0])


def is_mask_tree(root: str) -> bool:
    """Whether there are a folder of images and a folder of masks below `root`."""
    top = Path(root).expanduser()
    if (top / IMAGES).is_dir():
        return bool(_mask_folders(top))
    with suppress(UserError):  # a folder that cannot be listed
        return top.is_dir() and bool(_split_first(top))
    return False


def _mask_folders(folder: Path) -> list[Path]:
    return [folder / name for name in MASKS if (folder / name).is_dir()]


def _split_first(top: Path) -> dict[str, SplitFolders]:
    """The splits of a data set with the splits at the top: train/images/ and train/labels/."""
    folders = (path for path in _list_folder(top) if split_role(path.name) and (path / IMAGES).is_dir())
    masks = {folder: _mask_folders(folder) for folder in folders}
    return {folder.name: SplitFolders(folder / IMAGES, found[0]) for folder, found in masks.items() if len(found) == 1}


def _splits(images: Path, masks: Path) -> dict[str, SplitFolders]:
    folders = sorted(path.name for path in _list_folder(images) if path.is_dir() and not _is_passed_over(path))
    if not folders:
        return {"": SplitFolders(images, masks)}
    if not any((masks / name).is_dir() for name in folders):
        raise UserError(f"{images} has the splits {short_list(folders)}, but {masks} has none of them", LAYOUT)
    return {name: SplitFolders(images / name, masks / name) for name in folders}


def _is_passed_over(folder: Path) -> bool:
    return is_passed_over(folder.name, [path.name for path in folder.iterdir()])


def _files_by_stem(folder: Path) -> tuple[dict[str, str], list[str]]:
    """The names of the image files directly in a folder, by their name without the extension; and the other files."""
    files: dict[str, str] = {}
    others: list[str] = []
    for path in _list_folder(folder):
        if is_special(path) or not is_image_file(str(path)):
            others += [path.name] * (not path.is_dir())
            continue
        demand(path.is_file(), f"{path} is not a file", "it is a folder or a broken link: move it away")
        stem = normalize("NFC", path.stem)  # macOS stores accents separately from their letters
        if stem in files:
            what = f"{folder} has both {files[stem]} and {path.name}"
            raise UserError(what, "masks belong to images by name: keep one of them")
        files[stem] = path.name
    return files, others


def _list_folder(folder: Path) -> Iterator[Path]:
    """The files and folders in a folder that are not hidden, in order of name."""
    try:
        yield from sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"cannot list {folder}: {error.strerror}", f"it must be a folder; {LAYOUT}") from error
