"""Evaluation protocols; each yields (name, value)."""

from resmlp.evaluate.classify import Tally, classify

__all__ = ["Tally", "classify"]
