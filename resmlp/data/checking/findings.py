"""What may be amiss with a tree of images: the kinds of findings, and those of a single image."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from PIL import Image

from resmlp.data.checking.headers import ENDINGS_OF, Look
from resmlp.imaging.image_file import ENDINGS

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

TINY = 32  # pixels
STRETCHED = 5  # longer side over shorter

_READ = "we read " + " ".join(ENDINGS)


class Kind(NamedTuple):
    """A kind of finding. An error makes training fail or labels wrong, a warning costs accuracy or images."""

    severity: Severity
    what: str
    fix: str


KINDS = {
    "unlisted": Kind("error", "folders or archives that cannot be listed", "see to permissions, or fetch them again"),
    "unreadable": Kind("error", "images that cannot be read", "replace or delete them"),
    "no-classes": Kind("error", "folders whose images lie in no class folder", "make a folder for each class in it"),
    "wrapped": Kind("error", "a folder around all classes", "give this folder as the path"),
    "single-class": Kind("error", "a single class", "training needs two; is the tree one folder further down?"),
    "empty-class": Kind("error", "class folders without images", "fill them or move them away; " + _READ),
    "classes-differ": Kind("error", "classes that train and val do not share", "both must hold the same classes"),
    "label-conflict": Kind("error", "images that lie in several classes", "keep each in its right class alone"),
    "no-train": Kind("error", "val without train", "add train/ beside it; to evaluate on, it is fine"),
    "unsplit": Kind("error", "classes of one image, of which none can be held out", "add images, or a val/"),
    "leak": Kind("warning", "images in train and in val", "delete one of each, else the score is too good"),
    "one-image": Kind("warning", "training classes of one image", "add images"),
    "loose": Kind("warning", "images in no class folder, which are not used", "move them into their class folders"),
    "unused": Kind(
        "warning", "folders beside train/ and val/ that are not used", "give this folder as a path by itself"
    ),
    "archives": Kind(
        "warning", "archives beside folders, which are not opened", "unpack them, or keep folders elsewhere"
    ),
    "nested": Kind(
        "warning", "classes with folders inside", "all under a top folder is one class: move up what is not"
    ),
    "ignored": Kind("warning", "images left out for their ending", "convert or rename them; " + _READ),
    "similar-names": Kind(
        "warning", "class names that differ in case alone, or with outer spaces", "merge or rename them"
    ),
    "broken-link": Kind("warning", "links that lead nowhere", "mend or delete them"),
    "tiny": Kind("warning", "images that will be enlarged", "choose a smaller --data.img-size, or leave them out"),
    "huge": Kind("warning", "images of very many pixels", "shrink them: each is decoded whole, every time"),
    "stretched": Kind("warning", f"images over {STRETCHED} times as long as wide", "crops show little: cut them up"),
    "duplicate": Kind("warning", "images more than once in a class", "delete all but one"),
    "wrong-ending": Kind("note", "images whose ending is not their format's", "read all the same; rename for others"),
    "grayscale": Kind("note", "grayscale images", "they are read as RGB"),
    "palette": Kind("note", "images with a palette", "they are read as RGB"),
    "cmyk": Kind("note", "CMYK images", "they are read as RGB, without a color profile"),
    "16-bit": Kind("note", "16-bit images", "they are scaled to 8 bits"),
    "alpha": Kind("note", "images with transparency", "they are laid on white"),
    "turned": Kind("note", "images that EXIF turns", "they are read upright"),
    "imbalance": Kind("note", "classes of very different size", "look at each class's accuracy, not at top-1 alone"),
    "numbered": Kind("note", "numbers as class names", "they are ordered as numbers here, by others often as text"),
    "unprintable": Kind("note", "names with characters that cannot be shown", "rename them"),
    "not-images": Kind("note", "files that are no images", "they are passed over"),
    "hidden": Kind(
        "note", "hidden files, or the system's", "they are passed over; delete them if others read the tree"
    ),
    "loop": Kind("note", "links to a folder that they lie in", "they are not followed; delete them"),
}


@dataclass
class Finding:
    """Something of a kind, with the names of all it concerns."""

    kind: str
    severity: Severity
    names: list[str]
    why: list[str]
    """for each name a reason or a detail, or nothing for any"""
    fix: str

    @classmethod
    def of(
        cls, kind: str, named: Iterable[str] | dict[str, str], severity: Severity | None = None, fix: str = ""
    ) -> "Finding":
        """A finding in the words of its kind, or with others; `named` may give a detail with each name."""
        why = [named[name] for name in sorted(named)] if isinstance(named, dict) else []
        return cls(kind, severity or KINDS[kind].severity, sorted(named), why, fix or KINDS[kind].fix)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "count": len(self.names)}

    def __str__(self) -> str:
        shown = [f"{name} ({why})" if why else name for name, why in zip(self.names, self.why or [""] * 5)][:5]
        more = f" and {len(self.names) - 5:,} more" if len(self.names) > 5 else ""
        return f"{KINDS[self.kind].what} ({len(self.names):,}): {', '.join(shown)}{more} -> {self.fix}"


def judge(seen: Look, path: str, size: tuple[int, int]) -> Iterator[tuple[str, str]]:
    """(kind, detail) of each finding about one image; `size` is the least height and width that are not tiny."""
    if seen.unreadable:
        yield "unreadable", seen.unreadable
        return
    pixels = f"{seen.width}x{seen.height}"
    if not path.lower().endswith(ENDINGS_OF.get(seen.format, ())):
        yield "wrong-ending", seen.format
    if seen.height < size[0] or seen.width < size[1]:
        yield "tiny", pixels
    if seen.width * seen.height > (Image.MAX_IMAGE_PIXELS or 2**63):
        yield "huge", pixels
    if max(seen.width, seen.height) > STRETCHED * min(seen.width, seen.height):
        yield "stretched", pixels
    if seen.mode in ("1", "L", "LA"):
        yield "grayscale", ""
    if seen.mode in ("P", "PA"):
        yield "palette", ""
    if seen.mode == "CMYK":
        yield "cmyk", ""
    if seen.mode.startswith("I"):
        yield "16-bit", ""
    if seen.alpha:
        yield "alpha", ""
    if seen.turned:
        yield "turned", ""
