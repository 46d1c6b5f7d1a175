"""Checks of a frozen dataclass by itself; messages name the flags of the command line."""

import math
import sys
from typing import Any, Literal, get_args, get_origin, get_type_hints

from resmlp.utils.errors import UserError, did_you_mean

POSITIVE, BELOW_ONE, ANY = sys.float_info.min, math.nextafter(1, 0), sys.float_info.max
"""bounds that exclude 0, 1 and infinity"""


def demand(ok: bool, what: str, hint: str) -> None:
    """Raise `UserError(what, hint)` unless `ok`."""
    if not ok:
        raise UserError(what, hint)


def demand_finite(ok: Any) -> None:
    """Raise `UserError` unless `ok`: the outputs of a network are finite."""
    what = "the network gives values that are not finite: its weights overflow for these inputs"
    demand(bool(ok), what, "take an earlier checkpoint, or train with a smaller --optim.lr")


def check_range(owner: str, value: Any, **bounds: tuple[float, float]) -> None:
    """Raise `UserError` unless each named field of `value` lies within (low, high), both included.

    A field is a number, a tuple of numbers, or None, which passes. `owner` is the front of its flag.
    """
    for name, (low, high) in bounds.items():
        field = getattr(value, name)
        numbers = field if isinstance(field, tuple) else (field,)
        if not all(number is None or low <= number <= high for number in numbers):
            words = "finite" if low == -ANY else f"above {low:.0f}" if low == POSITIVE else f"{low} or more"
            if high != ANY:
                words += f", below {high:.0f}" if high == math.nextafter(math.ceil(high), 0) else f", at most {high}"
            shown = " ".join(map(str, numbers))
            raise UserError(f"{owner}{name.replace('_', '-')} {shown}", words)


def check_choices(owner: str, value: Any) -> None:
    """Raise `UserError` unless each field of a `Literal` type has one of its values, or is a tuple of them.

    `owner` as in `check_range`.
    """
    for name, hint in get_type_hints(type(value)).items():
        options = [hint, *get_args(hint)]
        allowed = [choice for option in options if get_origin(option) is Literal for choice in get_args(option)]
        field = getattr(value, name)
        if not allowed or (field is None and type(None) in options):
            continue
        for chosen in field if isinstance(field, tuple) else (field,):
            if chosen not in allowed:
                what = f"{owner}{name.replace('_', '-')} {chosen!r} is not known"
                raise UserError(what, did_you_mean(str(chosen), map(str, allowed)))
