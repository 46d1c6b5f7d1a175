"""The reliability diagram of a classifier: its accuracy by its top probability."""

from pathlib import Path

import numpy as np

from resmlp.analysis.style import BLUE, FAINT, INK, ORANGE, SMALL, new_figure
from resmlp.metrics.calibration import Reliability

HEIGHT, RATIOS = 6.4, (4.6, 1.2)  # inches; of the diagram and of the histogram
GAP = 0.012  # between two bars, in probability


def reliability_diagram(bins: Reliability, path: Path) -> None:
    """Draw the accuracy of each bin of top probabilities, and the images of each bin below, to `path` (PNG).

    A bar reaches to the accuracy of its bin. Its distance from the mean probability of the bin is orange where the
    network is surer than it is right.
    """
    count = len(bins.images)
    edges = np.arange(count) / count
    width = 1 / count - GAP
    with new_figure(path, HEIGHT) as figure:
        top, below = figure.subplots(2, sharex=True, height_ratios=RATIOS)
        images = int(bins.images.sum())
        top.set_title(f"Expected calibration error {bins.ece:.3f}, {images:,} images", pad=24)
        note = "blue: accuracy; orange: the mean probability exceeds it; line: both are equal"
        top.annotate(
            note, (0, 1), (0, 8), textcoords="offset points", xycoords="axes fraction", color=FAINT, size=SMALL
        )
        accuracy, probability = np.nan_to_num(bins.accuracy), np.nan_to_num(bins.probability)
        top.bar(edges + GAP / 2, accuracy, width, align="edge", color=BLUE)
        over = np.maximum(probability - accuracy, 0)
        top.bar(edges + GAP / 2, over, width, accuracy, align="edge", color=ORANGE, alpha=0.45)
        top.plot([0, 1], [0, 1], color=INK, linewidth=1)
        top.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
        below.bar(edges + GAP / 2, bins.images / max(images, 1), width, align="edge", color=FAINT)
        below.set(xlabel="probability of the predicted class", ylabel="share of images")
        below.yaxis.set_major_formatter("{x:.0%}")
        below.yaxis.get_major_locator().set_params(nbins=3)
