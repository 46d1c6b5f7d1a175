"""The package's metadata agrees with its files."""

import ast
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from resmlp.utils.errors import install_hint

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
PINS = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)


def canonical(requirement: str) -> str:
    """The normalized name of a requirement (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


SHORT = """
from dataclasses import replace
from resmlp.recipes import RECIPES
RECIPES["digits"] = replace(RECIPES["digits"], run=replace(RECIPES["digits"].run, epochs=1))
from matplotlib.figure import Figure
Figure.savefig = lambda figure, path, format, metadata: path.write_text("<svg/>") if format == "svg" else (
    __import__("PIL.Image").Image.new("RGB", (1, 1)).save(path, format))
Figure.draw_without_rendering = lambda figure: None
"""
"""before the lines of the README: a minute of training, and the drawing of figures"""


class Newcomer:
    """An environment with the wheel, and an empty folder to work in."""

    def __init__(self, folder: Path, wheel: Path):
        self.env, self.place = folder / "env", folder / "empty"
        self.place.mkdir()
        venv.create(self.env, symlinks=True)
        self.packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(self.env)}))
        pip = [sys.executable, "-m", "pip", "--python", self.env / "bin" / "python", "install"]
        self.run([*pip, "--quiet", "--no-deps", "--no-index", "--no-compile", wheel])
        # the dependencies that are installed here; no .pth file among them is read, such as that of an editable install
        (self.packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def run(self, command: list, given: str = "") -> str:
        """What a command prints, which does not fail."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        ended = subprocess.run(command, input=given, cwd=self.place, env=clean, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def python(self, script: str) -> str:
        """The same of lines of Python."""
        return self.run([self.env / "bin" / "python", "-c", script])

    def resmlp(self, *words: str, given: str = "") -> str:
        """The same of the command."""
        return self.run([self.env / "bin" / "resmlp", *words], given)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The package as `pip install` builds it, from a copy of the tracked files."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("pyproject.toml", "README.md", "LICENSE", *(str(p.relative_to(ROOT)) for p in package_files())):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def package_files() -> list[Path]:
    return [path for path in sorted((ROOT / "resmlp").rglob("*")) if path.is_file() and "__pycache__" not in path.parts]


def test_the_wheel_holds_the_whole_package_with_its_type_marker_and_license(wheel):
    names = set(wheel.namelist())
    assert {"resmlp/py.typed", "resmlp/serving/page/index.html"} <= names
    assert {f"resmlp/packaged/numbers/{name}" for name in ("model.safetensors", "model.json", "README.md")} <= names
    assert {str(path.relative_to(ROOT)) for path in package_files()} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert all(name.startswith(("resmlp/", "resmlp-")) for name in names)


@pytest.fixture(scope="module")
def newcomer(wheel, tmp_path_factory) -> Newcomer:
    return Newcomer(tmp_path_factory.mktemp("newcomer"), Path(wheel.filename))


@pytest.mark.slow
def test_the_readme_is_enough(newcomer: Newcomer):
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).save(newcomer.place / "five.png")
    assert "usage: resmlp" in newcomer.resmlp("--help")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    five_lines = re.search(r"## Five lines of Python\s+```python\n(.*?)```", readme, re.DOTALL)[1]
    said = newcomer.python(f"{SHORT}{five_lines}\nprint(resmlp.__file__)").splitlines()
    assert said[-2] in set("0123456789")
    assert Path(said[-1]) == newcomer.packages / "resmlp" / "__init__.py"
    assert newcomer.resmlp("translate", given="seventy-two\n") == "zweiundsiebzig\n"
    assert re.match(
        r"five.png: (airplane|automobile|bird|cat|deer|dog|frog|horse|ship|truck) ",
        newcomer.resmlp("predict", "five.png"),
    )


def test_the_wheel_requires_no_development_tools(wheel):
    metadata = wheel.read(next(name for name in wheel.namelist() if name.endswith("METADATA"))).decode()
    required = {canonical(line.split(": ")[1]) for line in metadata.splitlines() if line.startswith("Requires-Dist")}
    assert "torch" in required
    assert not required & {"pytest", "ruff", "mypy", "codespell", "pre-commit"}


def test_the_extra_all_is_every_other_extra_but_the_large_one():
    (everything,) = EXTRAS["all"]
    assert set(re.match(r"resmlp\[(.*)\]", everything)[1].split(",")) == set(EXTRAS) - {"all", "executorch"}


def test_every_direct_dependency_is_pinned():
    groups = [PYPROJECT["project"]["dependencies"], *EXTRAS.values(), PYPROJECT["dependency-groups"]["dev"]]
    wanted = {canonical(requirement) for group in groups for requirement in group} - {"resmlp"}
    assert wanted <= {canonical(name) for name, _ in PINS}


def test_constraints_are_plain_pins_without_index_addresses():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(PINS)
    names = [canonical(name) for name, _ in PINS]
    assert len(set(names)) == len(names)


def test_pip_is_pinned_to_a_version_that_knows_dependency_groups():
    assert tuple(map(int, dict(PINS)["pip"].split("."))) >= (25, 1)


def test_every_install_hint_names_an_extra():
    """An extra that pyproject.toml does not have would be ignored by pip with a warning."""
    hinted = set()
    for path in package_files():
        if path.suffix != ".py":
            continue
        text = path.read_text(encoding="utf-8")
        assert "resmlp[" not in text, f"{path}: no public index has the package; use install_hint()"
        for call in ast.walk(ast.parse(text)):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "install_hint":
                hinted.add(ast.literal_eval(call.args[0]))
    assert hinted
    assert hinted <= set(EXTRAS)


def test_an_install_hint_is_a_command_for_a_clone():
    assert install_hint("export") == "run pip install '.[export]' in a clone of resmlp"


def test_the_citation_has_what_the_format_requires_and_the_package_says():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["title"]
    assert citation["message"]
    assert citation["authors"]
    project = PYPROJECT["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    papers = citation["references"]
    assert [paper["title"].split(":")[0] for paper in papers] == ["ResMLP", "MLP-Mixer"]
    assert papers[0]["doi"] == "10.1109/TPAMI.2022.3206148"


def test_continuous_integration_runs_the_gate_on_every_supported_python():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    gate = workflow["jobs"]["gate"]
    classifiers = PYPROJECT["project"]["classifiers"]
    supported = [c.rpartition(" ")[2] for c in classifiers if re.search(r":: 3\.\d+$", c)]
    assert gate["strategy"]["matrix"]["python"] == supported
    assert [step["run"] for step in gate["steps"] if "run" in step] == [".ci/run"]
    assert PYPROJECT["project"]["requires-python"] == f">={supported[0]}"


def test_issue_forms_are_valid():
    forms = [path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"]
    assert {path.stem for path in forms} == {"bug", "feature"}
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert form["name"]
        assert form["description"]
        assert all(part["type"] and part["attributes"]["label"] for part in form["body"])
