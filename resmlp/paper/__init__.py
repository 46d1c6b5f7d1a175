"""The numbers of the paper's tables and figures, as printed. Values only.

Tables 4 and 5 have a row for each pair of a network and a data set: a row is one number and one run.
"""

from resmlp.paper.figures import FIGURE2, FIGURE3, FIGURE4, PEERS
from resmlp.paper.tables import TABLE1, TABLE2, TABLE3, TABLE4, TABLE5, TABLE6, Column, Row, Table

TABLES: dict[str, Table] = {
    "table1": TABLE1,
    "table2": TABLE2,
    "table3": TABLE3,
    "table4": TABLE4,
    "table5": TABLE5,
    "table6": TABLE6,
    "figure2": FIGURE2,
    "figure3": FIGURE3,
    "figure4": FIGURE4,
}

__all__ = ["PEERS", "TABLES", "Column", "Row", "Table"]
