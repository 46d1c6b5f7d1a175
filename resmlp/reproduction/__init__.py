"""The paper's tables and figures, row by row, with our numbers next to the paper's.

`plan` defines the plan of a row. `smoke`, `small` and `full` hold the plans of a scale (values only, without torch).
`runner` trains and measures the rows, `record` combines the paper's numbers with ours, and `pages` writes them.
"""
