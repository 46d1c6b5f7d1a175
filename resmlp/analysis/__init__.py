"""Looking at what was learned: figures, and the report of a run.

`figures` draws, `overlay` colors the classes of pixels, `sheet` is the look that all figures share, `report` gathers
what a run folder says, and `page` turns that into HTML. Matplotlib is imported when the first figure is drawn, not
before.
"""

from resmlp.analysis.figures import confusion, curves, predictions
from resmlp.analysis.report import write_report

__all__ = ["confusion", "curves", "predictions", "write_report"]
