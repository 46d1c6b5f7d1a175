"""The kinds of issues in images and in parallel text, and the issues of a single image."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from PIL import Image

from resmlp.data.checking.headers import Header
from resmlp.data.images.trees import SUPPORTED
from resmlp.imaging.bit_depth import UNKNOWN_RANGE
from resmlp.imaging.file_types import EXTENSIONS

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

TINY = 32  # pixels
MAX_ASPECT = 5  # longer side / shorter side
SHOWN = 5  # names in the text of an issue


class Kind(NamedTuple):
    """A kind of issue. An error breaks training or labels, a warning costs accuracy or images, a note informs."""

    severity: Severity
    what: str
    fix: str


KINDS = {
    "cannot-list": Kind("error", "folders or archives that cannot be listed", "check permissions, or download again"),
    "unreadable": Kind("error", "images that cannot be read", "replace or delete them"),
    "damaged-shard": Kind("error", "shards that are not as they were packed", "restore them, or pack the data again"),
    "unknown-range": Kind("error", "images with values of unknown range", "give --data.value-range, here and to train"),
    "no-classes": Kind("error", "folders with images outside class folders", "make one folder for each class"),
    "no-label-column": Kind("error", "Parquet files without a column of labels", "add it, or rename it to label"),
    "extra-folder": Kind("error", "a folder that contains all classes", "give this folder as the path"),
    "single-class": Kind("error", "only one class", "training needs two; are the classes one folder level deeper?"),
    "empty-class": Kind("error", "class folders without images", f"add images or move them away; {SUPPORTED}"),
    "classes-differ": Kind("error", "classes missing in train or in val", "both need images of the same classes"),
    "label-conflict": Kind("error", "the same image in several classes", "keep it only in its correct class"),
    "no-train": Kind("error", "val without train", "add a train/ folder next to it; for evaluation no fix is needed"),
    "cannot-split": Kind("error", "classes with one image, which cannot be split", "add images, or a val/ folder"),
    "cannot-train": Kind("error", "tables with which training stops", "correct the table"),
    "missing-file": Kind("error", "rows of images that are not there", "correct the path, or remove the row"),
    "unclear-file": Kind("error", "rows that may mean several images", "write the path below PATH, with the extension"),
    "two-labels": Kind("error", "images with two rows that differ", "keep one row for each image"),
    "group-leak": Kind("error", "groups on two sides of a split", "keep each on one side, or the score is too high"),
    "val-only": Kind("error", "classes in no row to train on", "are they misspelled? add images to train on"),
    "leak": Kind("warning", "the same image in train and in val", "delete one copy, or the score will be too high"),
    "no-row": Kind("warning", "images without a row in the table", "add rows; without one an image is not used"),
    "few-images": Kind("warning", "classes with few images", "add images, or merge classes"),
    "near-leak": Kind(
        "warning",
        "validation images that are in train in another size or encoding",
        "look at them, and delete one of each pair, or the score will be too high",
    ),
    "one-image": Kind("warning", "training classes with one image", "add images"),
    "no-class-folder": Kind("warning", "unused images outside class folders", "move them into their class folders"),
    "unused-folder": Kind(
        "warning", "unused folders next to train/ and val/", "check such a folder separately with its own path"
    ),
    "unopened-archive": Kind(
        "warning", "unopened archives next to folders", "unpack them, or keep archives and folders apart"
    ),
    "archive-in-archive": Kind(
        "warning", "unopened archives within an archive", "unpack the outer one, and give its folder"
    ),
    "outside-archive": Kind(
        "warning", "unused members that lead out of their archive", "pack it again without .. in their paths"
    ),
    "repeated-member": Kind(
        "warning", "members of an archive with one name and different content", "rename one: only the last is used"
    ),
    "nested": Kind(
        "warning", "classes with folders inside", "all images below a top folder are one class; move other images up"
    ),
    "unsupported-extension": Kind(
        "warning", "unused images in formats that are not read", f"convert them; {SUPPORTED}"
    ),
    "similar-names": Kind(
        "warning", "class names that differ only in case or in outer spaces", "merge or rename the classes"
    ),
    "special-file": Kind("warning", "pipes, sockets and devices", "remove them; they are not opened"),
    "broken-link": Kind("warning", "links to missing files", "repair or delete them"),
    "tiny": Kind("warning", "images that will be enlarged", "choose a smaller --data.img-size, or remove them"),
    "huge": Kind("warning", "images with very many pixels", "reduce them: they are decoded each time they are used"),
    "extreme-aspect": Kind(
        "warning", f"images over {MAX_ASPECT} times as long as wide", "cut them up: a crop shows little of them"
    ),
    "duplicate": Kind("warning", "images more than once in a class", "delete all copies but one"),
    "near-duplicate": Kind(
        "note", "images like others, which a split may part", "delete copies; --data.group-by keeps a video together"
    ),
    "near-skipped": Kind("note", "near duplicates were not searched", "--near on searches any number of images"),
    "wrong-extension": Kind(
        "note", "images with the extension of another format", "they can be read; rename them for other programs"
    ),
    "grayscale": Kind("note", "grayscale images", "they are read as RGB"),
    "palette": Kind("note", "images with a palette", "they are read as RGB"),
    "cmyk": Kind("note", "CMYK images", "they are read as RGB, without a color profile"),
    "value-range": Kind(
        "warning", "images with over 8 bits whose values do not fit their range", "give --data.value-range"
    ),
    "16-bit": Kind("note", "16-bit images", "they are scaled to 8 bits"),
    "transparent": Kind("note", "images with transparency", "they are blended with white"),
    "exif-rotated": Kind("note", "images with an EXIF orientation", "they are read upright"),
    "repeated-row": Kind("note", "rows that only repeat another one", "each image counts once; no fix is needed"),
    "imbalance": Kind(
        "note", "classes of very different size", "look at the accuracy of each class, not only at top-1"
    ),
    "numeric-names": Kind("note", "numbers as class names", "resmlp sorts them as numbers, other programs as text"),
    "unprintable": Kind("note", "names with unprintable characters", "rename them"),
    "not-image": Kind("note", "files that are not images", "they are skipped"),
    "hidden": Kind(
        "note", "hidden files and system files", "they are skipped; delete them if another program reads them"
    ),
    "passed-over": Kind("note", "folders of runs and of other programs", "they are skipped; no fix is needed"),
    "link-loop": Kind("note", "links to a folder that contains them", "they are skipped; delete them"),
    # of parallel text
    "unreadable-text": Kind("error", "texts that cannot be read to their end", "is it text, a sentence a line?"),
    "encoding": Kind("error", "lines that are not UTF-8", "save the file as UTF-8, say with iconv -f latin1 -t utf-8"),
    "utf-16": Kind("error", "files in UTF-16 or UTF-32", "convert each to UTF-8 with its command"),
    "nul": Kind("error", "lines with a NUL byte", "is it text? UTF-16 must be saved as UTF-8"),
    "cr-line-ends": Kind("error", "files whose line ends are CR alone", "tr '\\r' '\\n' makes them LF"),
    "line-counts": Kind("error", "files of different numbers of lines", "line N of both must be one pair"),
    "columns": Kind("error", "lines with another number of columns", "remove tabs inside sentences, or other columns"),
    "no-pairs": Kind("error", "files without a pair", "a line is a sentence, and in a table a tab and its translation"),
    "one-side": Kind("error", "files without the other language", "put it beside them, as train.de beside train.en"),
    "unknown-split": Kind(
        "warning", "splits that are neither training nor validation", "--data.train and --data.val must name them"
    ),
    "header-row": Kind("warning", "headers that would be a pair", "delete the first line"),
    "pair-leak": Kind("warning", "the same pair in two parts", "delete it in one, or the score will be too high"),
    "pair-duplicate": Kind("warning", "pairs more than once in a part", "delete all copies but one"),
    "equal-sides": Kind("warning", "pairs whose sides are equal", "delete what is not translated"),
    "wrong-script": Kind("warning", "lines in the script of another language", "delete or exchange these lines"),
    "length-ratio": Kind(
        "warning", "pairs with one side much longer", "are the lines shifted? delete what is no translation"
    ),
    "empty-side": Kind("warning", "pairs with an empty side", "training leaves them out; evaluation counts them"),
    "carriage-return": Kind("warning", "lines with a carriage return inside", "remove it: it does not end a line"),
    "unpaired": Kind("note", "files without a translation next to them", "they are not used"),
    "source-leak": Kind("note", "the same source in two parts, translated otherwise", "the score may be too high"),
    "table-header": Kind("note", "tables with a header", "it names the columns; no fix is needed"),
}


@dataclass(frozen=True)
class Issue:
    """One kind of issue, with the names of all files, folders or classes that have it."""

    kind: str
    severity: Severity
    names: list[str]
    details: list[str]
    """a reason or a detail for each name; empty if the kind has no details"""
    fix: str

    @classmethod
    def of(
        cls, kind: str, names: Iterable[str] | dict[str, str], severity: Severity | None = None, fix: str = ""
    ) -> "Issue":
        """An issue of this kind; `names` may map each name to a detail. The defaults of the rest are in `KINDS`."""
        details = [names[name] for name in sorted(names)] if isinstance(names, dict) else []
        return cls(kind, severity or KINDS[kind].severity, sorted(names), details, fix or KINDS[kind].fix)

    def to_dict(self) -> dict[str, Any]:
        """The fields and the number of names, for JSON."""
        return {**vars(self), "count": len(self.names)}

    def __str__(self) -> str:
        details = self.details or [""] * SHOWN
        shown = [f"{name} ({detail})" if detail else name for name, detail in zip(self.names[:SHOWN], details)]
        more = f" and {len(self.names) - SHOWN:,} more" if len(self.names) > SHOWN else ""
        return f"{KINDS[self.kind].what} ({len(self.names):,}): {', '.join(shown)}{more} -> {self.fix}"


def image_issues(header: Header, path: str, min_size: tuple[int, int]) -> Iterator[tuple[str, str]]:
    """(kind, detail) of each issue of one image; a smaller (height, width) than `min_size` is tiny.

    `path` is empty for an image that is no file, and so has no extension.
    """
    if header.error:
        yield "unknown-range" if header.error.endswith(UNKNOWN_RANGE) else "unreadable", header.error
        return
    pixels = f"{header.width}x{header.height}"
    if path and not path.lower().endswith(EXTENSIONS.get(header.format, ())):
        yield "wrong-extension", header.format
    if header.height < min_size[0] or header.width < min_size[1]:
        yield "tiny", pixels
    if header.width * header.height > (Image.MAX_IMAGE_PIXELS or 2**63):
        yield "huge", pixels
    if max(header.width, header.height) > MAX_ASPECT * min(header.width, header.height):
        yield "extreme-aspect", pixels
    if header.mode in ("1", "L", "LA"):
        yield "grayscale", ""
    if header.mode in ("P", "PA"):
        yield "palette", ""
    if header.mode == "CMYK":
        yield "cmyk", ""
    if header.mode.startswith("I"):
        yield "16-bit", ""
    if header.transparent:
        yield "transparent", ""
    if header.rotated:
        yield "exif-rotated", ""
