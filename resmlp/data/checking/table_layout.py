"""The classes and splits of images by a table of labels, and the issues of its rows."""

from collections import Counter
from collections.abc import Iterator

from resmlp.config import Data
from resmlp.data.checking.issues import Issue
from resmlp.data.checking.layout import Layout, class_issues
from resmlp.data.images.imageset import SEPARATOR
from resmlp.data.images.label_table import Record, check_weights
from resmlp.data.images.split_names import split_role
from resmlp.data.images.table_sets import TableSet, divide
from resmlp.utils.errors import UserError

FEW = 10
"""images of a class that are few to learn from"""
ELSEWHERE = ("classes-differ", "cannot-split")
"""issues of folders that are none of a table, or are told by its rows"""


def table_layout(found: TableSet) -> Layout:
    """The images of the tree by split and labels; an image with several labels is of one group, and counts for each."""
    roles = {record.split: _role(record) for record in found.records.values()}
    layout = Layout({role: f"{role}: " if role != "all" else "" for role in sorted(set(roles.values()))})
    layout.counts = {role: Counter[str]() for role in layout.prefixes}
    indices = dict[tuple[str, str], int]()
    for path, _ in found.tree.images:
        record = found.records.get(path)
        if record is None:
            layout.group.append(-1)
            continue
        role = roles[record.split]
        layout.counts[role].update(record.classes)
        layout.images[role] += 1
        group = (role, SEPARATOR.join(record.classes))
        layout.group.append(indices.setdefault(group, len(indices)))
    layout.groups = list(indices)
    return layout


def _role(record: Record) -> str:
    """The key of a split in a layout; test counts as val, as it does for folders."""
    found = split_role(record.split)
    return found[0] if found else "all"


def table_issues(found: TableSet, layout: Layout) -> list[Issue]:
    """The issues of the rows, of the other files and of the classes; without an error, why training would stop."""
    issues = list(_row_and_class_issues(found, layout))
    told = any(issue.severity == "error" for issue in issues)
    return issues if told else [*issues, *_training_issues(found)]


def _training_issues(found: TableSet) -> Iterator[Issue]:
    """The error with which training would stop, with default settings, before its first step."""
    try:
        check_weights(divide(found, Data()).train.weights)
    except UserError as error:
        yield Issue.of("cannot-train", {str(found.path): error.what}, fix=error.hint)


def _row_and_class_issues(found: TableSet, layout: Layout) -> Iterator[Issue]:
    kinds = dict[str, dict[str, str]]()
    for kind, record, what, _ in found.faults:
        kinds.setdefault(kind, {})[f"line {record.line}"] = what
    for kind, lines in kinds.items():
        yield Issue.of(kind, lines)
    for kind in dict.fromkeys(item.kind for item in found.skipped):
        yield Issue.of(kind, [item.path for item in found.skipped if item.kind == kind])
    if found.unlisted:
        yield Issue.of("no-row", found.unlisted)
    if found.repeated:
        yield Issue.of("repeated-row", {str(found.path): f"{found.repeated:,} rows"})
    if "val" in layout.prefixes and "train" not in layout.prefixes:
        yield Issue.of("no-train", [str(found.path)])
    if any(layout.counts.values()):
        yield from (issue for issue in class_issues(layout, set()) if issue.kind not in ELSEWHERE)
    counts = layout.counts.get("train") or next(iter(layout.counts.values()), Counter[str]())
    if few := {name: f"{count} images" for name, count in counts.items() if count < FEW}:
        yield Issue.of("few-images", few)
