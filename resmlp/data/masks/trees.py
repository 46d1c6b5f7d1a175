"""Folders of images and masks: images/ next to labels/, annotations/ or masks/, and the splits in them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from resmlp.data.images.trees import SUPPORTED, TRAIN_FOLDERS, VAL_FOLDERS, short_list
from resmlp.imaging.image_file import ENDINGS
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, did_you_mean

IMAGES, MASKS = "images", ("labels", "annotations", "masks")
TRAINING, VALIDATION = (*TRAIN_FOLDERS, "training"), VAL_FOLDERS
LAYOUT = "images/{train,val}/NAME.jpg and labels/{train,val}/NAME.png, or images/ and labels/ without splits"


class PairedFiles(NamedTuple):
    """Paths of images with their masks, in order of name, and the names of masks without an image."""

    pairs: list[tuple[str, str]]
    unpaired_masks: list[str]


class SplitFolders(NamedTuple):
    """The folder of the images and the folder of the masks of a split."""

    images: Path
    masks: Path

    def files(self) -> PairedFiles:
        """The files in the two folders, paired by name.

        Raises `UserError` for an image without a mask, for two files with the same name, and if there are no images.
        """
        images, masks = _files_by_stem(self.images), _files_by_stem(self.masks)
        if not images:
            raise UserError(f"{self.images} holds no images", SUPPORTED)
        unpaired = [masks[stem] for stem in sorted(masks.keys() - images.keys())]
        if missing := sorted(images.keys() - masks.keys()):
            names = short_list(images[stem] for stem in missing)
            what = f"{len(missing)} of {len(images)} images in {self.images} have no mask: {names}"
            other = f"; {unpaired[0]} there has no image" if unpaired else ""
            raise UserError(what, f"the mask of {images[missing[0]]} is {self.masks / missing[0]}.png{other}")
        pairs = [(str(self.images / name), str(self.masks / masks[stem])) for stem, name in sorted(images.items())]
        return PairedFiles(pairs, unpaired)


class MaskTree(NamedTuple):
    """The splits below a root by name, such as train and val; without splits, one entry with an empty name."""

    root: Path
    splits: dict[str, SplitFolders]

    @property
    def train(self) -> SplitFolders | None:
        """The training split; None if there is none."""
        return self._first(TRAINING)

    @property
    def val(self) -> SplitFolders | None:
        """The validation split; None if there is none."""
        return self._first(VALIDATION)

    @property
    def whole(self) -> SplitFolders | None:
        """All pairs of a tree without splits; None if there are splits."""
        return self.splits.get("")

    def split(self, name: str) -> SplitFolders:
        """The split of this name; raises `UserError`."""
        if name in self.splits:
            return self.splits[name]
        names = sorted(filter(None, self.splits))
        hint = did_you_mean(name, names) if names else "the data set has no splits: do not name one"
        raise UserError(f"{self.root / IMAGES} has no split {name!r}", hint)

    def _first(self, names: Iterable[str]) -> SplitFolders | None:
        by_name = {name.lower(): split for name, split in self.splits.items()}
        return next((by_name[name] for name in names if name in by_name), None)


def open_mask_tree(root: str) -> MaskTree:
    """The folders below `root`; opens no file. Raises `UserError` if they are not as in `LAYOUT`."""
    top = Path(root)
    if not top.exists():
        siblings = [path.name for path in _list_folder(top.parent)] if top.parent.is_dir() else []
        raise UserError(f"--data.root {root}: no such folder", did_you_mean(top.name, siblings))
    if not top.is_dir():
        raise UserError(f"--data.root {root} is a file", f"unpack it, and give its folder: {LAYOUT}")
    images = top / IMAGES
    mask_folders = [top / name for name in MASKS if (top / name).is_dir()]
    if not images.is_dir() or not mask_folders:
        state = f"no folder {IMAGES}/" if not images.is_dir() else f"{IMAGES}/, but no folder {', '.join(MASKS)}"
        raise UserError(f"--data.root {root} has {state}", LAYOUT)
    if len(mask_folders) > 1:
        names = " and ".join(f"{folder.name}/" for folder in mask_folders)
        raise UserError(f"--data.root {root} has several folders of masks, {names}", "keep only one of them")
    return MaskTree(top, _splits(images, mask_folders[0]))


def is_mask_tree(root: str) -> bool:
    """Whether there are a folder of images and a folder of masks below `root`."""
    top = Path(root).expanduser()
    return (top / IMAGES).is_dir() and any((top / name).is_dir() for name in MASKS)


def _splits(images: Path, masks: Path) -> dict[str, SplitFolders]:
    folders = sorted(path.name for path in _list_folder(images) if path.is_dir())
    if not folders:
        return {"": SplitFolders(images, masks)}
    if not any((masks / name).is_dir() for name in folders):
        raise UserError(f"{images} has the splits {short_list(folders)}, but {masks} has none of them", LAYOUT)
    return {name: SplitFolders(images / name, masks / name) for name in folders}


def _files_by_stem(folder: Path) -> dict[str, str]:
    """The names of the image files directly in a folder, by their name without the extension."""
    files: dict[str, str] = {}
    for path in _list_folder(folder):
        if path.suffix.lower() not in ENDINGS:
            continue
        demand(path.is_file(), f"{path} is not a file", "it is a folder or a broken link: move it away")
        stem = normalize("NFC", path.stem)  # macOS stores accents separately from their letters
        if stem in files:
            what = f"{folder} has both {files[stem]} and {path.name}"
            raise UserError(what, "masks belong to images by name: keep one of them")
        files[stem] = path.name
    return files


def _list_folder(folder: Path) -> Iterator[Path]:
    """The files and folders in a folder that are not hidden, in order of name."""
    try:
        yield from sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"cannot list {folder}: {error.strerror}", f"it must be a folder; {LAYOUT}") from error
