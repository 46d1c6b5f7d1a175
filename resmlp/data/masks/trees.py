"""Folders of images and of their masks: images/ beside labels/, annotations/ or masks/, and what is in each part."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from resmlp.data.images.trees import TRAIN_FOLDERS, VAL_FOLDERS, short_list
from resmlp.imaging.image_file import ENDINGS
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, did_you_mean

IMAGES, MASKS = "images", ("labels", "annotations", "masks")
TRAINING, VALIDATION = (*TRAIN_FOLDERS, "training"), VAL_FOLDERS
LAYOUT = "images/{train,val}/NAME.jpg and labels/{train,val}/NAME.png, or images/ and labels/ without parts"


class Files(NamedTuple):
    """Images and their masks, as paths in order of name, and the names of masks without an image."""

    both: list[tuple[str, str]]
    alone: list[str]


class Part(NamedTuple):
    """Images and their masks, in two folders."""

    images: Path
    masks: Path

    def files(self) -> Files:
        """What is in the two folders.

        Raises `UserError` for an image without a mask, two files of one name, and where there are no images.
        """
        images, masks = _by_stem(self.images), _by_stem(self.masks)
        if not images:
            raise UserError(f"{self.images} holds no images", "we read " + " ".join(ENDINGS))
        alone = [masks[stem] for stem in sorted(masks.keys() - images.keys())]
        if missing := sorted(images.keys() - masks.keys()):
            what = f"{len(missing)} of {len(images)} images of {self.images} have no mask"
            seen = f"; {alone[0]} there has no image" if alone else ""
            hint = f"that of {images[missing[0]]} is {self.masks / missing[0]}.png{seen}"
            raise UserError(f"{what}: {short_list(images[stem] for stem in missing)}", hint)
        both = [(str(self.images / name), str(self.masks / masks[stem])) for stem, name in sorted(images.items())]
        return Files(both, alone)


class MaskTree(NamedTuple):
    """The parts below a root by name, such as train and val; or, where it has none, a single part without a name."""

    root: Path
    parts: dict[str, Part]

    @property
    def train(self) -> Part | None:
        """What is learned from; None where there is no such part, or there are none."""
        return self._first(TRAINING)

    @property
    def val(self) -> Part | None:
        """What is held out."""
        return self._first(VALIDATION)

    @property
    def whole(self) -> Part | None:
        """All pairs, where there are no parts."""
        return self.parts.get("")

    def part(self, name: str) -> Part:
        """The part of this name; raises `UserError`."""
        if name in self.parts:
            return self.parts[name]
        names = sorted(filter(None, self.parts))
        hint = did_you_mean(name, names) if names else "there are no parts: leave it out"
        raise UserError(f"{self.root / IMAGES} has no part {name!r}", hint)

    def _first(self, names: Iterable[str]) -> Part | None:
        known = {name.lower(): part for name, part in self.parts.items()}
        return next((known[name] for name in names if name in known), None)


def open_mask_tree(root: str) -> MaskTree:
    """The folders below `root`; no file is opened. Raises `UserError` where they are not laid out as `LAYOUT` says."""
    top = Path(root)
    if not top.exists():
        beside = [near.name for near in _listed(top.parent)] if top.parent.is_dir() else []
        raise UserError(f"--data.root {root}: no such folder", did_you_mean(top.name, beside))
    if not top.is_dir():
        raise UserError(f"--data.root {root} is a file", f"unpack it, and give its folder: {LAYOUT}")
    images = top / IMAGES
    beside_it = [top / name for name in MASKS if (top / name).is_dir()]
    if not images.is_dir() or not beside_it:
        lacking = f"no folder {IMAGES}/" if not images.is_dir() else f"{IMAGES}/, but none of {', '.join(MASKS)}"
        raise UserError(f"--data.root {root} holds {lacking}", LAYOUT)
    if len(beside_it) > 1:
        names = " and ".join(f"{folder.name}/" for folder in beside_it)
        raise UserError(f"--data.root {root} holds {names}: which are the masks?", "move one of them away")
    return MaskTree(top, _parts(images, beside_it[0]))


def is_mask_tree(root: str) -> bool:
    """Whether there are a folder of images and one of masks below `root`."""
    top = Path(root)
    return (top / IMAGES).is_dir() and any((top / name).is_dir() for name in MASKS)


def _parts(images: Path, masks: Path) -> dict[str, Part]:
    folders = sorted(path.name for path in _listed(images) if path.is_dir())
    if not folders:
        return {"": Part(images, masks)}
    if not any((masks / name).is_dir() for name in folders):
        raise UserError(f"{images} has the parts {short_list(folders)}, and {masks} none of them", LAYOUT)
    return {name: Part(images / name, masks / name) for name in folders}


def _by_stem(folder: Path) -> dict[str, str]:
    """Names of the image files directly in a folder, by what stands before their ending."""
    found: dict[str, str] = {}
    for path in _listed(folder):
        if path.suffix.lower() not in ENDINGS:
            continue
        demand(path.is_file(), f"{path} is no file", "it is a folder, or a link that leads to none: take it away")
        stem = normalize("NFC", path.stem)  # a Mac writes accents apart from their letters
        if stem in found:
            what = f"{folder} holds both {found[stem]} and {path.name}"
            raise UserError(what, "a mask belongs to an image by its name: keep one of them")
        found[stem] = path.name
    return found


def _listed(folder: Path) -> Iterator[Path]:
    """What is in a folder and not hidden, in order of name."""
    try:
        yield from sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"cannot list {folder}: {error.strerror}", f"it should be a folder; {LAYOUT}") from error
