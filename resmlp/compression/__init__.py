"""Smaller networks: weights of 8 or 4 bits, or fewer weights."""

from typing import Literal

MethodName = Literal["int8", "int8-openvino", "int4", "pruned", "2:4"]
"""the values of `--to`"""

__all__ = ["MethodName"]
