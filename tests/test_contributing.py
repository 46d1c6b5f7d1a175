"""The diffs of CONTRIBUTING.md apply to the package, and what they add works."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
DIFFS = re.findall(
    r"^```diff\n(.*?)^```$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)
SMALL = ("--model", "resmlp_digits", "--model.dim", "16", "--model.depth", "1", "--data.img-size", "8")
SHORT = ("--data.workers", "0", "--run.epochs", "1", "--run.device", "cpu")


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the package with all diffs applied in order."""
    root = tmp_path_factory.mktemp("contributing")
    shutil.copytree(ROOT / "resmlp", root / "resmlp", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    assert len(DIFFS) == 4
    for diff in DIFFS:
        title = diff.splitlines()[0]
        ended = subprocess.run(["git", "apply", "-"], input=diff, cwd=root, capture_output=True, text=True)
        assert ended.returncode == 0, f"{title}: the diff in CONTRIBUTING.md no longer applies: {ended.stderr}"
    return root


def python(copy: Path, *args: str) -> str:
    """Standard output of Python with the changed package."""
    env = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, *args], cwd=copy, env=env, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


COMMANDS = """
import contextlib, io, json, sys
from resmlp.cli.main import main

results = []
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main([*words, "--json"])
    if code:
        sys.exit(code)
    results.append(json.loads(out.getvalue()))
print(json.dumps(results))
"""


CHECKS = """
import torch, torch.nn.functional as F
import resmlp
from resmlp.nn.mixers import MIXERS
from resmlp.tasks import Focal

assert resmlp.__file__.startswith(ROOT)
x = torch.randn(2, 9, 4)
assert torch.equal(MIXERS["shift"]()(x)[:, 1:], x[:, :-1])
model = resmlp.create_model("resmlp_s12_shift", depth=2, dim=32, img_size=32, num_classes=5)
assert model(torch.randn(3, 3, 32, 32)).shape == (3, 5)

logits, targets = torch.randn(5, 3), torch.eye(3)[[0, 1, 2, 0, 1]]
focal = object.__new__(Focal)
focal.gamma = 0.0
torch.testing.assert_close(focal.cross_entropy(logits, targets), F.cross_entropy(logits, targets))
"""


def write_csv_set(folder: Path) -> None:
    """Dark and light images, and the tables that the new data set reads."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 4)):
        rows = []
        for i in range(count):
            label = ("dark", "light")[i % 2]
            pixels = rng.integers(0, 100, (8, 8, 3)) + 150 * (i % 2)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{part}{i}.png")
            rows.append(f"{part}{i}.png,{label}\n")
        (folder / f"{part}.csv").write_text("".join(rows))


@pytest.fixture(scope="module")
def printed(copy) -> dict[str, dict]:
    """What each command prints: all in one process, which imports torch once, and then runs `CHECKS`."""
    data = copy / "data"
    data.mkdir()
    write_csv_set(data)
    (data / "summary.json").write_text('{"best": {"top1": 0.5, "step": 3}}')
    shift, focal, csv = (str(copy / name) for name in ("shift", "focal", "csv"))
    source = ("--data.source", "csv", "--data.root", str(data))
    commands = {
        "models": ["list", "models"],
        "recipes": ["list", "recipes"],
        "best": ["best", str(data)],
        "train shift": ["train", "digits", "--model.mixer", "shift", *SMALL, *SHORT, "--out", shift],
        "eval shift": ["eval", shift],
        "train focal": ["train", "digits-focal", "--task.gamma", "1", *SMALL, *SHORT, "--out", focal],
        "train csv": ["train", "folder", *source, *SMALL, *SHORT, "--data.batch-size", "4", "--out", csv],
        "eval csv": ["eval", csv],
    }
    code = COMMANDS + CHECKS.replace("ROOT", repr(str(copy)))
    return dict(zip(commands, json.loads(python(copy, "-c", code, json.dumps([*commands.values()])))))


def test_the_changed_files_pass_the_linter_and_the_import_layers(copy):
    tools, env = Path(sys.executable).parent, {**os.environ, "PYTHONPATH": str(copy)}
    files = sorted(set(re.findall(r"^\+\+\+ b/(.*)$", "".join(DIFFS), re.MULTILINE)))
    for command in (["ruff", "check", *files], ["ruff", "format", "--check", *files], ["lint-imports", "--no-cache"]):
        ended = subprocess.run([tools / command[0], *command[1:]], cwd=copy, env=env, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_new_mixer_is_listed_trained_and_saved(printed):
    assert "resmlp_s12_shift" in [model["name"] for model in printed["models"]["models"]]
    assert 0 <= printed["eval shift"]["top1"] <= 1


def test_the_new_task_is_trained_by_its_recipe(copy, printed):
    assert "digits-focal" in [recipe["name"] for recipe in printed["recipes"]["recipes"]]
    assert 0 <= printed["train focal"]["top1"] <= 1
    assert json.loads((copy / "focal" / "recipe.json").read_text())["task"]["gamma"] == 1


def test_the_new_data_set_is_read_and_trained_on(printed):
    assert printed["eval csv"]["images"] == 4
    assert set(printed["eval csv"]["per_class"]) == {"dark", "light"}


def test_the_new_command_prints_the_best_evaluation(copy, printed):
    assert printed["best"] == {"top1": 0.5, "step": 3}
    assert python(copy, "-m", "resmlp", "best", str(copy / "data")) == "top1 0.5, step 3\n"
    assert "best" in python(copy, "-m", "resmlp", "--help")
