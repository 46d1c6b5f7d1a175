"""Optional copies of the fields of a dataclass: the parts of a named network that a recipe changes."""

import ast
import inspect
import textwrap
from dataclasses import fields, make_dataclass
from typing import Annotated, Any, get_type_hints

from tyro.conf import arg


def overrides_of(cls: type) -> Any:
    """A frozen dataclass with the fields of the dataclass `cls`, keyword-only and None by default.

    The help of each field is the text under it in `cls`, so each part of a network is declared in one place.
    """
    hints, docs = get_type_hints(cls), field_docs(cls)
    optional = [
        (field.name, Annotated[hints[field.name] | None, arg(help=docs.get(field.name, ""))], None)
        for field in fields(cls)
    ]
    return make_dataclass(f"{cls.__name__}Overrides", optional, frozen=True, kw_only=True)


def overridden(value: Any, cls: type) -> dict[str, Any]:
    """The fields of `cls` that are not None in `value`, an instance of a subclass of `overrides_of(cls)`."""
    names = (field.name for field in fields(cls))
    return {name: part for name in names if (part := getattr(value, name)) is not None}


def field_docs(cls: type) -> dict[str, str]:
    """The text under each field in the source code of a dataclass."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body  # type: ignore[attr-defined]
    docs = {}
    for field, text in zip(body, body[1:]):
        is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if is_text and isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            docs[field.target.id] = " ".join(text.value.value.split())
    return docs
