"""Figures and reports: what a network learned, how fast it runs, how a run went.

`layers` inspects weights and receptive fields, and `profiling` measures speed and memory. `figures` draws curves,
confusion matrices and predictions, and `overlay` draws segmentations; `style` is the style of every figure. `report`
collects the files of a run folder and `page` renders them as HTML. Matplotlib is imported when the first figure is
drawn.
"""

from typing import TYPE_CHECKING

from resmlp.analysis.figures import confusion, curves, predictions
from resmlp.utils.lazy import lazily

__all__ = ["confusion", "curves", "predictions", "write_report"]

if TYPE_CHECKING:
    from resmlp.analysis.report import write_report

__getattr__ = lazily(__name__, {"write_report": "report"})
