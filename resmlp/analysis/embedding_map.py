"""A 2-D map of embeddings (t-SNE): each image is a point, similar images are near."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resmlp.analysis.fonts import class_labels
from resmlp.analysis.style import FAINT, SMALL, WIDTH, new_figure, shorten
from resmlp.data.images.tree_files import sort_classes
from resmlp.utils.checks import demand
from resmlp.utils.errors import counted

FEWEST, MOST = 10, 5_000  # images on a map
NAMED = 20  # most classes with a color and an entry in the legend
COLUMNS = 4  # of the legend
FLATTEST = 0.6  # least height over width of a map
COMPONENTS = 50  # principal components before t-SNE (30 in van der Maaten and Hinton 2008, section 4.2)
COLORS = ("#0072b2", "#e69f00", "#00805c", "#cc3311", "#a4508b", "#56b4e9", "#8a6d1f", "#332288", "#88aa00", "#ee6fa8")
MARKS = ("o", "^")  # of classes 0 to 9 and of classes 10 to 19


def check_image_count(images: int) -> None:
    """Raise `UserError` if there are fewer than 10 images."""
    demand(images >= FEWEST, f"{counted(images, 'image')}: too few for a map", f"at least {FEWEST}")


def draw_embedding_map(features: np.ndarray, labels: Sequence[str | None], path: Path, seed: int = 0) -> int:
    """Draw features N D to `path` (PNG); with at most 20 different labels, colors and a legend show them.

    The map has the images with finite features, at most 5,000 of them, chosen at random by `seed`. Returns their
    number. Raises `UserError` if there are fewer than 10.
    """
    usable = np.flatnonzero(np.isfinite(features).all(1))
    check_image_count(len(usable))
    if len(usable) > MOST:
        usable = np.sort(np.random.default_rng(seed).choice(usable, MOST, replace=False))
    points = to_plane(features[usable], seed)
    _draw(points, [labels[i] for i in usable.tolist()], len(features), path)
    return len(usable)


def to_plane(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """N D -> N 2: the 50 principal components, then t-SNE, initialized with the first two."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    images, dim = features.shape
    components = PCA(min(COMPONENTS, images, dim), random_state=seed).fit_transform(features.astype(np.float64))
    spread = components.std()
    if not spread:  # all features are equal
        return np.zeros((images, 2))
    components = np.pad(components / spread, ((0, 0), (0, max(0, 2 - components.shape[1]))))
    perplexity = min(30.0, (images - 1) / 3)
    return TSNE(2, perplexity=perplexity, init=components[:, :2] * 1e-4, random_state=seed).fit_transform(components)


def _draw(points: np.ndarray, labels: Sequence[str | None], total: int, path: Path) -> None:
    """Draw points N 2: images without a label first, then the classes in the order of their labels."""
    names = sort_classes({label for label in labels if label is not None})
    named = 0 < len(names) <= NAMED
    rows = -(-(len(names) + 1) // COLUMNS) if named else 0
    wide, high = np.ptp(points, axis=0)
    share = min(1.0, max(FLATTEST, high / wide)) if wide else 1.0  # a flat map has a low figure
    with new_figure(path, WIDTH * 0.86 * share + 0.24 * rows) as figure:
        axes = figure.subplots()
        size = min(26.0, max(5.0, 9_000 / len(points)))
        for i, name in enumerate([None, *names] if named else [None]):
            chosen = [label == name or not named for label in labels]
            color, mark = FAINT if name is None else COLORS[(i - 1) % len(COLORS)], MARKS[i > len(COLORS)]
            x, y = points[chosen].T
            axes.scatter(x, y, s=size, c=color, marker=mark, linewidths=0, alpha=0.75)
        shown = f"{len(points):,} of {total:,}" if len(points) < total else f"{total:,}"
        axes.set_title(f"Features of {shown} images")
        unnamed = f", {len(names):,} classes without colors" if len(names) > NAMED else ""
        axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
        axes.grid(False)
        axes.set_xlabel(
            f"t-SNE: near points are similar; large distances mean little{unnamed}", color=FAINT, size=SMALL, loc="left"
        )
        if named:
            start = 0 if None in labels else 1
            texts = ["in no class", *(shorten(name, 15) for name in class_labels(names))][start:]
            style: dict[str, Any] = {"ncols": COLUMNS, "frameon": False, "fontsize": SMALL, "markerscale": 1.6}
            figure.legend(axes.collections[start:], texts, loc="outside lower left", **style)
