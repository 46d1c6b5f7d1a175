"""What a check finds, in the order in which it finds it."""

from resmlp.data.checking.issues import KINDS, SEVERITIES, Issue


class Findings:
    """The names of what has each kind of issue, and their details."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}
        self.details: dict[str, list[str]] = {}

    def add(self, kind: str, name: str, detail: str = "") -> None:
        """Add a name, such as a file and a line."""
        self.names.setdefault(kind, []).append(name)
        self.details.setdefault(kind, []).append(detail)

    def issues(self) -> list[Issue]:
        """One issue for each kind, the most severe first."""
        found = [
            Issue(
                kind,
                KINDS[kind].severity,
                names,
                self.details[kind] if any(self.details[kind]) else [],
                KINDS[kind].fix,
            )
            for kind, names in self.names.items()
        ]
        return sorted(found, key=lambda issue: SEVERITIES.index(issue.severity))
