"""A map of features: each image a point, near those that the network finds alike."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resmlp.analysis.style import FAINT, SMALL, WIDTH, sheet, shorten
from resmlp.data.images.trees import in_order
from resmlp.utils.checks import demand
from resmlp.utils.errors import counted

FEWEST, MOST = 10, 5_000  # images on a map
NAMED = 20  # classes with a color of their own and a place in the legend
COLUMNS = 4  # of the legend
FLATTEST = 0.6  # height over width of a map
COMPONENTS = 50  # before t-SNE (van der Maaten and Hinton 2008, section 4.2, has 30)
COLORS = ("#0072b2", "#e69f00", "#00805c", "#cc3311", "#a4508b", "#56b4e9", "#8a6d1f", "#332288", "#88aa00", "#ee6fa8")
MARKS = ("o", "^")  # of the first ten classes, and of the next


def check_map(images: int) -> None:
    """Raises `UserError` for too few images to be mapped."""
    demand(images >= FEWEST, f"a map of {counted(images, 'image')}", f"at least {FEWEST}")


def feature_map(features: np.ndarray, labels: Sequence[str | None], path: Path, seed: int = 0) -> int:
    """Draw features N D to `path` (PNG), colored by label where there are at most 20, with a legend.

    Returns how many images are on it: all whose features are finite, but at most 5,000, drawn at random by `seed`.
    Raises `UserError` for fewer than 10.
    """
    usable = np.flatnonzero(np.isfinite(features).all(1))
    check_map(len(usable))
    if len(usable) > MOST:
        usable = np.sort(np.random.default_rng(seed).choice(usable, MOST, replace=False))
    places = in_plane(features[usable], seed)
    _draw(places, [labels[i] for i in usable.tolist()], len(features), path)
    return len(usable)


def in_plane(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """N D -> N 2: the 50 principal components, then t-SNE from the first two of them."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    images, dim = features.shape
    components = PCA(min(COMPONENTS, images, dim), random_state=seed).fit_transform(features.astype(np.float64))
    spread = components.std()
    if not spread:  # all alike: one point
        return np.zeros((images, 2))
    components = np.pad(components / spread, ((0, 0), (0, max(0, 2 - components.shape[1]))))
    perplexity = min(30.0, (images - 1) / 3)
    return TSNE(2, perplexity=perplexity, init=components[:, :2] * 1e-4, random_state=seed).fit_transform(components)


def _draw(places: np.ndarray, labels: Sequence[str | None], total: int, path: Path) -> None:
    """Points N 2 as one sheet; classes in the order of their labels, those without one before them."""
    names = in_order({label for label in labels if label is not None})
    named = 0 < len(names) <= NAMED
    rows = -(-(len(names) + 1) // COLUMNS) if named else 0
    wide, high = np.ptp(places, axis=0)
    share = min(1.0, max(FLATTEST, high / wide)) if wide else 1.0  # a flat map leaves no empty paper
    with sheet(path, WIDTH * 0.86 * share + 0.24 * rows) as figure:
        axes = figure.subplots()
        size = min(26.0, max(5.0, 9_000 / len(places)))
        for i, name in enumerate([None, *names] if named else [None]):
            own = [label == name or not named for label in labels]
            color, mark = FAINT if name is None else COLORS[(i - 1) % len(COLORS)], MARKS[i > len(COLORS)]
            x, y = places[own].T
            axes.scatter(x, y, s=size, c=color, marker=mark, linewidths=0, alpha=0.75)
        shown = f"{len(places):,} of {total:,}" if len(places) < total else f"{total:,}"
        axes.set_title(f"Features of {shown} images")
        unnamed = f", {len(names):,} classes without colors" if len(names) > NAMED else ""
        axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
        axes.grid(False)
        axes.set_xlabel(f"t-SNE: near is alike, far means little{unnamed}", color=FAINT, size=SMALL, loc="left")
        if named:
            start = 0 if None in labels else 1
            texts = ["in no class", *(shorten(name, 15) for name in names)][start:]
            style: dict[str, Any] = {"ncols": COLUMNS, "frameon": False, "fontsize": SMALL, "markerscale": 1.6}
            figure.legend(axes.collections[start:], texts, loc="outside lower left", **style)
