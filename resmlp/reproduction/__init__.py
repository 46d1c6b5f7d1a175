"""The paper's tables and figures beside ours, row by row.

`plan` says what a run for a row is; `smoke`, `small` and `full` plan every row at a scale (values only, no torch);
`runner` trains and measures what is missing; `record` and `pages` put the paper's numbers beside ours.
"""
