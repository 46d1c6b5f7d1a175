"""Frozen dataclasses to JSON and back. Values from a file are checked like those of a command line."""

import dataclasses
import types
import typing
from typing import Any, TypeVar

from resmlp.utils.errors import UserError, did_you_mean

T = TypeVar("T")

LONG = 100  # characters of a value in a message


def to_dict(value: Any) -> Any:
    """A dataclass as plain values for JSON. A subclass of a dataclass also has its name, under "kind"."""
    if dataclasses.is_dataclass(value):
        several = dataclasses.is_dataclass(type(value).__base__)
        kind = {"kind": type(value).__name__.lower()} if several else {}
        return kind | {f.name: to_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [to_dict(item) for item in value]
    return value


def from_dict(cls: type[T], values: Any, where: str = "") -> T:
    """The `cls` of the values that `to_dict` returned.

    Raises `UserError` for a field that is unknown, missing or of another type; `where` is the front of its name.
    """
    if not isinstance(values, dict):
        raise UserError(f"{where.rstrip('.') or cls.__name__} is {shown(values)}", "it should be a JSON object")
    values = dict(values)
    several = dataclasses.is_dataclass(cls.__base__)
    kinds = {kind.__name__.lower(): kind for kind in ([cls] if several else cls.__subclasses__())}
    if kinds:
        kind = values.pop("kind", next(iter(kinds)) if several else None)
        if not isinstance(kind, str) or kind not in kinds:
            raise UserError(f"unknown {cls.__name__.lower()} {shown(kind)}", did_you_mean(shown(kind), kinds))
        cls = kinds[kind]
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            raise UserError(f"unknown field {where}{key[:LONG]}", did_you_mean(key[:LONG], hints))
    if missing := [f"{where}{name}" for name in _needed(cls) if name not in values]:
        raise UserError(f"missing {' and '.join(missing)}", "each of them is needed")
    return cls(**{key: _convert(hints[key], value, f"{where}{key}") for key, value in values.items()})


def _needed(cls: type) -> list[str]:
    """The fields of a dataclass without a default."""
    absent = dataclasses.MISSING
    return [f.name for f in dataclasses.fields(cls) if f.init and f.default is absent and f.default_factory is absent]


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint`. Raises `UserError` if it is of another type."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, f"{where}.")
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, where)
    if origin is typing.Literal and value in args:
        return value
    if origin is tuple and isinstance(value, list):
        items = args[:1] * len(value) if args[-1] is Ellipsis else args
        if len(items) == len(value):
            return tuple(_convert(item, v, where) for item, v in zip(items, value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    if origin is typing.Literal:
        raise UserError(f"{where} is {shown(value)}", did_you_mean(shown(value), map(str, args)))
    raise UserError(f"{where} is {shown(value)}", f"it should be {getattr(hint, '__name__', hint)}")


def shown(value: Any) -> str:
    """The `repr` of `value` for a message, cut off if it is long."""
    text = repr(value)
    return text if len(text) <= LONG else f"{text[:LONG]} ..."


def difference(old: Any, new: Any, where: str = "") -> list[str]:
    """The fields in which two results of `to_dict` differ, as `data.batch_size: 64 -> 128`."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = list(old) + [key for key in new if key not in old]
        parts = [difference(old.get(k), new.get(k), f"{where}.{k}" if where else k) for k in keys]
        return [line for lines in parts for line in lines]
    return [] if old == new else [f"{where}: {old} -> {new}"]
