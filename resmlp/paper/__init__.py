"""What the paper reports, row by row, as printed. Values only.

Tables 4 and 5 have a row for each pair of a network and a set, so that each row is one number and one run.
"""

from resmlp.paper import table1, table2, table3, table4, table5, table6
from resmlp.paper.figures import FIGURE2, FIGURE3, FIGURE4, PEERS
from resmlp.paper.tables import Column, Row, Table

TABLES: dict[str, Table] = {
    "table1": table1.TABLE,
    "table2": table2.TABLE,
    "table3": table3.TABLE,
    "table4": table4.TABLE,
    "table5": table5.TABLE,
    "table6": table6.TABLE,
    "figure2": FIGURE2,
    "figure3": FIGURE3,
    "figure4": FIGURE4,
}

__all__ = ["PEERS", "TABLES", "Column", "Row", "Table"]
