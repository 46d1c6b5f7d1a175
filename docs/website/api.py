"""The page of the Python interface, made from signatures and docstrings."""

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any

MODULES = {
    "resmlp": "Functions",
    "resmlp.inference": "What load returns",
    "resmlp.serving": "The server",
}
"""modules whose `__all__` is described -> heading"""
WIDE = 88
HEAD = """# Python

Made from signatures and docstrings. Every command is a function here; each loads what it needs at its first use. An
error that a user can mend is a `resmlp.utils.errors.UserError`. Shapes follow the code: B images, 3 channels, H x W
pixels, N tokens, D features, K classes.
"""


def page() -> str:
    """The whole page in Markdown."""
    parts, done = [HEAD], set()
    for name, heading in MODULES.items():
        module = importlib.import_module(name)
        parts.append(f"## {heading}")
        for public, value in sorted(members(module), key=lambda pair: inspect.isclass(pair[1])):
            if id(value) not in done:
                done.add(id(value))
                parts += entry(f"{name}.{public}", value)
    parts.append("## Results")
    for result in results():
        if id(result) not in done:
            parts += entry(f"{result.__module__}.{result.__name__}", result)
    return "\n\n".join(parts) + "\n"


def members(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The public names of a module and their values."""
    for name in module.__all__:
        yield name, getattr(module, name)


def results() -> list[type]:
    """The classes that the functions of resmlp return, in the order of the functions."""
    found: dict[type, None] = {}
    for _, value in members(importlib.import_module("resmlp")):
        if callable(value):
            returned = inspect.signature(value).return_annotation
            for kind in (returned, *getattr(returned, "__args__", ())):
                if inspect.isclass(kind) and kind.__module__.startswith("resmlp."):
                    found[kind] = None
    return list(found)


def entry(name: str, value: Any) -> Iterator[str]:
    """The heading, the signature and the docstring of a name; of a class also its fields and methods, all of them."""
    module, _, short = name.rpartition(".")
    if module == "resmlp":
        yield f"### {name.replace('_', chr(92) + '_')}"
    else:
        yield f"### {short}\n\n`{name}`"
    if not callable(value):
        yield f"```python\n{name} = {value!r}\n```"
        return
    yield from described(parsed(value))
    if inspect.isclass(value):
        rows, methods = {}, {}
        for base in reversed([base for base in value.__mro__ if base.__module__.startswith("resmlp.")]):
            tree = parsed(base)
            rows |= {field: f"| `{field}` | `{kind}` | {about} |" for field, kind, about in fields(tree)}
            methods |= {inner.name: inner for inner in tree.body if isinstance(inner, ast.FunctionDef)}
        if rows:
            yield "\n".join(["| field | type | |", "| --- | --- | --- |", *rows.values()])
        for method, inner in methods.items():
            if not method.startswith("_"):
                yield from described(inner)


def parsed(value: Any) -> Any:
    """The syntax tree of a function or a class."""
    return ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]


def described(tree: ast.AST) -> Iterator[str]:
    """The signature as code, and the docstring."""
    yield f"```python\n{signature(tree)}\n```"
    yield inspect.cleandoc(ast.get_docstring(tree) or "")


def signature(tree: ast.AST) -> str:
    """`name(arguments) -> result` as it is written in the source, an argument per line if it is long."""
    if isinstance(tree, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in tree.bases)
        return f"class {tree.name}({bases})" if bases else f"class {tree.name}"
    returned = f" -> {ast.unparse(tree.returns).strip(chr(39))}" if tree.returns else ""
    words = [ast.unparse(decorator) for decorator in tree.decorator_list]
    if "property" in words or "cached_property" in words:
        return f"{tree.name}{returned.replace(' -> ', ': ')}"
    arguments = [argument for argument in parameters(tree.args) if argument != "self"]
    line = f"{tree.name}({', '.join(arguments)}){returned}"
    if len(line) <= WIDE:
        return line
    return "\n".join([f"{tree.name}(", *(f"    {argument}," for argument in arguments), f"){returned}"])


def parameters(given: ast.arguments) -> list[str]:
    """The text of each parameter, with its type and its default."""
    plain = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
    words = [parameter(arg, default) for arg, default in zip(plain, defaults)]
    if given.vararg:
        words.append(f"*{ast.unparse(given.vararg)}")
    elif given.kwonlyargs:
        words.append("*")
    words += [parameter(arg, default) for arg, default in zip(given.kwonlyargs, given.kw_defaults)]
    return words + ([f"**{ast.unparse(given.kwarg)}"] if given.kwarg else [])


def parameter(arg: ast.arg, default: ast.expr | None) -> str:
    """`name: type = default`."""
    equal = "" if default is None else f"{' = ' if arg.annotation else '='}{ast.unparse(default)}"
    return f"{ast.unparse(arg)}{equal}"


def fields(tree: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """The name, the type and the docstring of each public field of a class."""
    for field, after in zip(tree.body, [*tree.body[1:], ast.Pass()]):
        if isinstance(field, ast.AnnAssign) and not ast.unparse(field.target).startswith("_"):
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            about = " ".join(str(after.value.value).split()) if is_text else ""
            kind = ast.unparse(field.annotation).strip("'")
            yield ast.unparse(field.target), kind, about
