"""The page of `resmlp mistakes`: thumbnails of the images with the network's and the data's classes."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from resmlp.analysis.page import details, element, page, section, table, text
from resmlp.imaging.decode import UnreadableImage
from resmlp.utils.errors import counted

if TYPE_CHECKING:
    from resmlp.data import ImageSet

SIDE, QUALITY = 112, 80
"""of a thumbnail, in pixels, and of its JPEG"""
PAIRS = 12
STYLE = """.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: 1.25rem 1rem;
  margin-top: 1rem; }
.grid figure { margin: 0; font-size: .85rem; line-height: 1.35; }
.grid img { width: 100%; aspect-ratio: 1; object-fit: contain; background: var(--panel); }
.grid figcaption b { display: block; color: var(--ink); font-weight: 600; margin-top: .35rem; }
.grid figcaption small { display: block; font-size: .75rem; }
main { max-width: 64rem; }
"""


@dataclass(frozen=True)
class Mistake:
    """One image whose label and prediction differ; with several labels for each image, those of one class."""

    path: str
    label: str
    """the name of the class that the data gives it; with several labels for each image, NAME or `not NAME`"""
    predicted: str
    probability: float
    """of the predicted class"""
    label_probability: float
    loss: float
    """-log of the probability of the label, in nats"""
    wrong_label: bool
    """whether the label is probably wrong, by confident learning"""
    suggested: str
    """what the label should then be; empty otherwise"""
    margin: float
    """probability of the label minus that of the likeliest other class"""
    index: int
    """the place of the image in the data"""
    class_name: str = ""
    """with several labels for each image, the class that the row is about; empty otherwise"""


@dataclass(frozen=True)
class Mistakes:
    """What `mistakes` found."""

    model: str
    images: int
    errors: tuple[Mistake, ...]
    """wrong predictions, the largest loss first"""
    wrong_labels: tuple[Mistake, ...]
    """labels that are probably wrong, the lowest margin first"""
    wrong: int
    """wrong predictions in all"""
    suspicious: int
    """labels in all that are probably wrong"""
    unreadable: tuple[str, ...]
    page: Path
    labels: int
    """labels that were judged: one for each image, or one for each image and class"""

    def to_dict(self) -> dict[str, Any]:
        """What `--json` prints, and what mistakes.json holds."""
        lists = {
            name: [dict(vars(one)) for one in found]  # asdict copies deeply: seconds for thousands
            for name, found in (("errors", self.errors), ("wrong_labels", self.wrong_labels))
        }
        counts = {"images": self.images, "labels": self.labels, "wrong": self.wrong, "suspicious": self.suspicious}
        return {"model": self.model, **counts, "unreadable": list(self.unreadable), "page": str(self.page), **lists}

    def summary(self) -> str:
        """How many predictions are wrong, in words."""
        images, share = counted(self.images, "image"), 100 * self.wrong / max(self.labels, 1)
        of = images if self.labels == self.images else f"{counted(self.labels, 'label')} of {images}"
        return f"{self.wrong:,} of {of} are predicted wrong ({share:.1f} %)"

    def __str__(self) -> str:
        lines = [self.summary()]
        lines.append(f"{counted(self.suspicious, 'label')} probably wrong, by confident learning")
        lines += [f"  {one.path}: {one.label}, probably {one.suggested}" for one in self.wrong_labels[:10]]
        if self.suspicious > 10:
            lines.append(f"  ... and {self.suspicious - 10:,} more")
        lines += [f"left out, cannot be read: {name}" for name in self.unreadable]
        return "\n".join([*lines, f"written: {self.page}, with .json and .csv beside it"])


def render(found: Mistakes, shown: Mistakes, images: "ImageSet") -> str:
    """The page: labels that are probably wrong, the worst errors, and the classes taken for each other most often."""
    doubts = "By confident learning: the network, which was not trained on these images, is sure of another class."
    return page(
        f"Mistakes of {found.model}",
        [
            element("h1", "Mistakes"),
            element("p", f"{found.summary()}.", "faint"),
            element("p", found.model, "faint"),
            section(
                f"{counted(found.suspicious, 'label')} probably wrong",
                element("p", doubts if found.suspicious else "None.", "faint"),
                _grid(shown.wrong_labels, images, "probably {0.suggested}", "labeled {0.label}"),
            ),
            section(
                "The worst errors",
                element("p", "Wrong predictions, the least probable label first.", "faint"),
                _grid(shown.errors, images, "labeled {0.label}", "predicted {0.predicted}, {0.probability:.0%}"),
            ),
            section("Taken for each other", _pairs(found.errors)),
        ],
        STYLE,
    )


def _grid(mistakes: Sequence[Mistake], images: "ImageSet", first: str, second: str) -> str:
    """Thumbnails, each with two lines and its path; folded after the first two dozen."""
    cells = list(_cells(mistakes, images, first, second))
    head, rest = cells[:24], cells[24:]
    more = details(f"{len(rest)} more", '<div class="grid">' + "\n".join(rest) + "</div>") if rest else ""
    return '<div class="grid">' + "\n".join(head) + "</div>\n" + more if head else ""


def _cells(mistakes: Sequence[Mistake], images: "ImageSet", first: str, second: str) -> Iterator[str]:
    for one in mistakes:
        source = thumbnail(images, one.index)
        if source:
            lines = f"<b>{text(first.format(one))}</b>{text(second.format(one))}<small>{text(one.path)}</small>"
            alt = text(f"labeled {one.label}, predicted {one.predicted}")
            yield f'<figure><img alt="{alt}" src="{source}"><figcaption>{lines}</figcaption></figure>'


def thumbnail(images: "ImageSet", index: int) -> str:
    """An image as a data URI; empty for one that is gone."""
    try:
        image = images.read(index)
    except UnreadableImage:
        return ""
    if max(image.size) > SIDE:
        image.thumbnail((SIDE, SIDE))
    elif max(image.size) < SIDE // 2:  # pixels stay squares
        factor = SIDE // max(image.size)
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"


def _pairs(errors: Sequence[Mistake]) -> str:
    """A table of the pairs of classes with most errors."""
    counts: dict[tuple[str, str], int] = {}
    for one in errors:
        pair = (one.label, one.predicted)
        counts[pair] = counts.get(pair, 0) + 1
    rows = sorted(counts.items(), key=lambda item: -item[1])[:PAIRS]
    return table(["label", "taken for", "images"], [(*pair, count) for pair, count in rows])
