"""How `--help` shows the default of a field that takes several values."""

from tyro.conf import arg


def default_if_any(label: str) -> str:
    """The default as `--help` shows it; nothing for an empty one, whose meaning the text of the field says."""
    return f"(default: {label})" if label else ""


MANY = arg(help_behavior_hint=default_if_any)
"""of a field whose default is no value"""
