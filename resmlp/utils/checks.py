"""Checks that a frozen dataclass makes of itself, in the words of the command line."""

import math
import sys
from typing import Any, Literal, get_args, get_origin, get_type_hints

from resmlp.utils.errors import UserError, did_you_mean

POSITIVE, BELOW_ONE, ANY = sys.float_info.min, math.nextafter(1, 0), sys.float_info.max
"""bounds that leave out 0, 1, and what is not finite"""


def demand(ok: bool, what: str, hint: str) -> None:
    """Raise `UserError(what, hint)` unless `ok`."""
    if not ok:
        raise UserError(what, hint)


def check_range(owner: str, value: Any, **bounds: tuple[float, float]) -> None:
    """Each named field of `value`, a number or several, lies within its (low, high), both included; None passes."""
    for name, (low, high) in bounds.items():
        given = getattr(value, name)
        numbers = given if isinstance(given, tuple) else (given,)
        if not all(number is None or low <= number <= high for number in numbers):
            words = "finite" if low == -ANY else f"above {low:.0f}" if low == POSITIVE else f"{low} or more"
            if high != ANY:
                words += f", below {high:.0f}" if high == math.nextafter(math.ceil(high), 0) else f", at most {high}"
            shown = " ".join(map(str, numbers))
            raise UserError(f"{owner}{name.replace('_', '-')} {shown}", words)


def check_choices(owner: str, value: Any) -> None:
    """Each field whose type lists its values has one of them."""
    for name, hint in get_type_hints(type(value)).items():
        options = [hint, *get_args(hint)]
        allowed = [choice for option in options if get_origin(option) is Literal for choice in get_args(option)]
        given = getattr(value, name)
        if allowed and given not in allowed and not (given is None and type(None) in options):
            what = f"{owner}{name.replace('_', '-')} {given!r} is not known"
            raise UserError(what, did_you_mean(str(given), map(str, allowed)))
