"""The package's layout: short files, a root that holds folders, and imports without a cycle."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "resmlp"
LONGEST = 300
"""lines of a file"""
ROOT_FILES = {"__init__.py", "__main__.py", "timm.py", "py.typed"}


def long_files(root: Path) -> dict[str, int]:
    """Files above `LONGEST` lines, and how many each has."""
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in root.rglob("*.py")}
    return {str(path.relative_to(root)): count for path, count in lines.items() if count > LONGEST}


def stray_files(root: Path) -> set[str]:
    """Names in the package's root that are neither folders nor among `ROOT_FILES`."""
    return {path.name for path in root.iterdir() if not path.is_dir()} - ROOT_FILES


def modules(root: Path) -> dict[str, Path]:
    """The file of each module, by its dotted name."""
    paths = {".".join(path.relative_to(root.parent).with_suffix("").parts): path for path in root.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in paths.items()}


def imported(path: Path, known: set[str]) -> set[str]:
    """The known modules that a file imports, at its top or inside a function, but not under `if TYPE_CHECKING`.

    `from package import name` is an import of the module `package.name` where there is one, else of `package`. That
    Python runs the `__init__` of a module's packages as well does not count.
    """
    found = set()
    for node in reached(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & known or {node.module}
            found |= {node.module} if inner - known else set()
    return found & known


def reached(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all below it that run."""
    yield node
    checking = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    for child in node.orelse if checking else ast.iter_child_nodes(node):
        yield from reached(child)


def cycles(root: Path) -> list[list[str]]:
    """The strongly connected components of several modules (Tarjan 1972), and modules that import themselves."""
    files = modules(root)
    graph = {name: imported(path, set(files)) for name, path in files.items()}
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    components: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in graph[name]:
            if other not in order:
                visit(other)
            if other in stack:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == order[name]:
            component = stack[stack.index(name) :]
            del stack[-len(component) :]
            components.append(sorted(component))

    for name in graph:
        if name not in order:
            visit(name)
    return [component for component in components if len(component) > 1 or component[0] in graph[component[0]]]


def test_no_file_is_long():
    assert long_files(ROOT) == {}


def test_the_root_holds_folders():
    assert stray_files(ROOT) == set()


def test_imports_form_no_cycle():
    assert cycles(ROOT) == []


# the checks themselves, on small packages


@pytest.fixture
def package(tmp_path):
    """Writes the files of a package `p`, and returns its root."""

    def write(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / "p" / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "p"

    return write


def test_a_long_file_is_found(package):
    assert long_files(package(a="x = 1\n" * 301, b__c="x = 1\n" * 300)) == {"a.py": 301}


def test_a_stray_file_is_found(package):
    root = package(helpers="", timm="")
    (root / "inner").mkdir()
    assert stray_files(root) == {"helpers.py"}


@pytest.mark.parametrize(
    "files",
    [
        {"a": "import p.b", "b": "from p import a"},
        {"a": "from p.b import f", "b": "def f():\n    from p.a import g"},
        {"a": "from p.b import f", "b": "if not TYPE_CHECKING:\n    from p.c import f", "c": "import p.a"},
        {"a": "from p.b import f", "b": "if TYPE_CHECKING:\n    pass\nelse:\n    from p.a import f"},
    ],
)
def test_a_cycle_is_found(files, package):
    assert len(cycles(package(**files))) == 1


def test_what_is_no_cycle(package):
    root = package(a="from p import b, c", b="from p.c import f", c="if TYPE_CHECKING:\n    from p.a import g")
    assert cycles(root) == []
