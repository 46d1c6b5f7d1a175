"""The report of `check_data`: counts and issues, as JSON and as text."""

from dataclasses import dataclass, field
from typing import Any

from resmlp.data.checking.issues import Issue
from resmlp.utils.errors import UserError, counted


@dataclass(frozen=True, kw_only=True)
class Report:
    """The issues of data, the most severe first."""

    issues: list[Issue] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def errors(self) -> list[Issue]:
        """The issues that break training or labels."""
        return [issue for issue in self.issues if issue.severity == "error"]

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON, with all names of all issues."""
        rest = {name: value for name, value in vars(self).items() if name not in ("issues", "seconds")}
        return rest | {"issues": [issue.to_dict() for issue in self.issues], "seconds": self.seconds}

    def raise_for_errors(self) -> None:
        """Raise `UserError` if an issue must be fixed before training."""
        if errors := self.errors:
            kinds = ", ".join(f"{issue.kind} {len(issue.names):,}" for issue in errors)
            what = f"{counted(len(errors), 'issue')} must be fixed before training: {kinds}"
            raise UserError(what, "the report lists a fix for each")

    def issue_lines(self) -> list[str]:
        """The issues for people, one a line."""
        return [f"{issue.severity:<8} {issue}" for issue in self.issues] or ["no issues"]


@dataclass(frozen=True, kw_only=True)
class DataReport(Report):
    """The contents of a tree of images and its issues, the most severe first. `str()` of it is a table for people."""

    path: str
    decoded: bool
    """whether every pixel was decoded, not only the headers"""
    images: int = 0
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    """the number of images of each class in each split: "train" and "val", or "all" without splits"""
    splits: dict[str, int] = field(default_factory=dict)
    """the number of images of each split; one with several labels counts once"""
    sizes: dict[str, dict[str, float]] = field(default_factory=dict)
    """min, median and max of "width" and "height", in pixels; empty if no image can be read"""
    modes: dict[str, int] = field(default_factory=dict)
    """the number of images of each of Pillow's modes"""

    def __str__(self) -> str:
        how = "every pixel decoded" if self.decoded else "headers read"
        lines = [f"{self.path}: {counted(self.images, 'image')}, {how} in {self.seconds:.1f} s"]
        for split, images in self.splits.items():
            counts = [count[split] for count in self.classes.values() if count[split]]
            spread = f"{min(counts):,} to {max(counts):,} per class" if counts else ""
            total, classes = counted(images, "image"), counted(len(counts), "class")
            lines.append(f"  {split:<8}{total:>19}  {classes:>14}  {spread}")
        for side, size in self.sizes.items():
            lines.append(f"  {side:<8}{size['min']:>10,} to {size['max']:,}, median {size['median']:g}")
        lines.append("  modes   " + ", ".join(f"{mode} {count:,}" for mode, count in self.modes.items()))
        return "\n".join(lines + self.issue_lines())
