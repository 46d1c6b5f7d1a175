"""The pages agree with results/ and with the package.

Tables come from results/, local links work, and every command, flag and import exists.
"""

import contextlib
import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

import resmlp
from resmlp.cli import VERBS
from resmlp.cli.main import parse
from resmlp.recipes import RECIPES
from resmlp.utils.files import write_json
from resmlp.utils.serialization import to_dict

ROOT = Path(__file__).parent.parent


@pytest.fixture
def pages(tmp_path) -> Path:
    """A copy of README.md, docs/ and results/ with its tables up to date."""
    shutil.copy(ROOT / "README.md", tmp_path)
    for name in ("docs", "results"):
        shutil.copytree(ROOT / name, tmp_path / name)
    assert build(tmp_path) == (0, "")
    return tmp_path


def build(root: Path, *flags: str) -> tuple[int, str]:
    return run(root / "docs" / "build.py", *flags)


def check_links(root: Path) -> tuple[int, str]:
    return run(root / "docs" / "links.py")


def run(*command: str | Path) -> tuple[int, str]:
    ended = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    return ended.returncode, ended.stderr


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_an_edited_number_is_reported(pages):
    assert build(pages, "--check") == (0, "")
    (name, number), *_ = json.loads((pages / "results" / "multi30k.json").read_text())["numbers"].items()
    places = [page for page in pages.rglob("*.md") if f"{name} {number:g}" in page.read_text()]
    edit(places[0], f"{name} {number:g}", f"{name} {number + 1:g}")
    code, error = build(pages, "--check")
    assert code == 1
    assert error == f"error: stale tables in {places[0].name} (run: make docs)\n"
    assert build(pages) == (0, "")
    assert build(pages, "--check") == (0, "")


def test_a_changed_result_is_reported(pages):
    path = pages / "results" / "digits.json"
    result = json.loads(path.read_text())
    result["numbers"] = {name: value + 1 for name, value in result["numbers"].items()}
    path.write_text(json.dumps(result))
    code, error = build(pages, "--check")
    assert (code, "stale tables" in error) == (1, True)


@pytest.mark.parametrize(
    ("old", "new"),
    [("<!-- /results -->", ""), ("<!-- results table -->\n", ""), ("<!-- results table -->", "<!-- results a-b -->")],
)
def test_a_marker_without_counterpart_names_the_page(old, new, pages):
    page = pages / "docs" / "reproduce.md"
    edit(page, old, new)
    before = page.read_text()
    for flags in ((), ("--check",)):
        code, error = build(pages, *flags)
        assert code == 2
        assert error.startswith("error: reproduce.md: ")
        assert error.count("\n") == 1
    assert page.read_text() == before


def test_a_table_without_end_marker_is_an_error(pages):
    page = pages / "docs" / "reproduce.md"
    page.write_text("<!-- results a -->\n\nwords\n\n<!-- results b -->\n<!-- /results -->\n")
    assert build(pages)[0] == 2
    assert "words" in page.read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("{", "is not valid JSON"),
        ("[]", "should be a JSON object"),
        ({"numbers": [1]}, "numbers should be of type dict"),
        ({"numbers": {"top1": "0.9"}}, "top1 should be a finite number"),
        ({"numbers": {"top1": float("nan")}}, "top1 should be a finite number"),
        ({"target": 0.9}, "target should be of type dict"),
        ({"what": None}, "what should be of type str"),
        ({"seconds": "long"}, "seconds should be a finite number"),
        ({"versions": "torch 2.15"}, "versions should be of type dict"),
        ({"machine": ["1 core"]}, "machine should be an object or text"),
        ({"machine": {"cpu": "X", "cores": 2, "threads": 2}}, "machine has no valid instruction_sets"),
        ({"machine": {"cpu": "X", "cores": "2", "threads": 2, "instruction_sets": []}}, "machine has no valid cores"),
        ({"machine": {"cpu": "X", "cores": 2, "instruction_sets": []}}, "machine has no valid threads"),
        ({"machine": {"cores": 2, "threads": 2, "instruction_sets": []}}, "machine has no valid cpu"),
    ],
)
def test_a_result_with_wrong_types_is_named(change, words, pages):
    path = pages / "results" / "digits.json"
    path.write_text(change if isinstance(change, str) else json.dumps(json.loads(path.read_text()) | change))
    code, error = build(pages, "--check")
    assert code == 2
    assert error.startswith("error: results/digits.json")
    assert words in error
    assert error.count("\n") == 1


XEON = {"cpu": "Xeon", "instruction_sets": ["amx_bf16", "avx2"], "cores": 2, "threads": 1}
MIXED = [
    {"networks": {"s12": {"machine": XEON | {"cpu": "EPYC"}}}},
    {"runs": [{"ours": {"machine": XEON}}, {"timm": {"machine": XEON | {"instruction_sets": ["avx2"]}}}]},
    {"times": {"timm": {"machine": XEON | {"threads": 2}}}},
    {"times": {"timm": {"machine": "1 core, EPYC"}}},
    {"times": {"timm": {"machine": {"cpu": "Xeon"}}}},
]


@pytest.mark.parametrize("change", MIXED, ids=["processor", "instruction sets", "threads", "words", "less"])
def test_a_result_of_several_machines_is_refused(change, pages):
    path, versions = pages / "results" / "digits.json", {"torch": "9.9"}
    result = json.loads(path.read_text()) | {"machine": XEON, "versions": versions}
    path.write_text(json.dumps(result | change))
    code, error = build(pages)
    assert code == 2
    assert error.startswith("error: results/digits.json mixes machines: " + json.dumps(XEON))
    assert error.count("\n") == 1
    path.write_text(json.dumps(result | {"networks": {"s12": {"machine": XEON}}}))
    assert build(pages) == (0, "")


def test_the_machine_is_below_a_table(pages):
    path = pages / "results" / "training_step.json"
    page = pages / "docs" / "performance.md"
    old = json.loads(path.read_text())
    for machine, words in (
        ("2 cores, EPYC", "2 cores, EPYC; torch 9.9"),
        (XEON, "2 cores, Xeon; 1 thread; `amx_bf16`, `avx2`; torch 9.9"),
        (XEON | {"instruction_sets": None, "threads": 2}, "2 cores, Xeon; 2 threads; torch 9.9"),
        (XEON | {"gpu": "H200", "cores": 1}, "H200, 1 core, Xeon; 1 thread; `amx_bf16`, `avx2`; torch 9.9"),
    ):
        path.write_text(json.dumps(old | {"machine": machine, "versions": {"torch": "9.9"}}))
        assert build(pages) == (0, "")
        assert f"\nMeasured on:\n\n- training_step: {words}\n<!-- /results -->" in page.read_text()
    path.write_text(json.dumps(old | {"machine": XEON, "versions": {}}))
    assert "versions should have that of torch" in build(pages)[1]


def test_the_table_of_one_result(pages):
    page, path = pages / "docs" / "reproduce.md", pages / "results" / "sizes.json"
    page.write_text("<!-- table sizes -->\nold\n<!-- /table -->\n<!-- results sizes -->\n<!-- /results -->\n")
    assert build(pages) == (0, "")
    empty = "<!-- table sizes -->\n<!-- /table -->\n<!-- results sizes -->\n<!-- /results -->\n"
    assert page.read_text() == empty, "no result, no table"
    result = json.loads((pages / "results" / "digits.json").read_text())
    cells = {"ours": {"mean": 71.26, "std": 0.04}, "own": {"mean": 80, "std": 1.5}, "speed": "27.1 (86 %)"}
    path.write_text(json.dumps(result | {"table": {"8": cells}}))
    assert build(pages) == (0, "")
    row = "| 8 | 71.3 ± 0.0 | 80.0 ± 1.5 | 27.1 (86 %) |"
    head = "\n|  | ours | own | speed |\n| --- | --- | --- | --- |\n"
    assert f"{head}{row}\n<!-- /table" in page.read_text()
    path.write_text(json.dumps(result | {"table": {"8": {"ours": 1}}}))
    assert build(pages) == (
        2,
        "error: results/sizes.json: table should have texts, or mean and std, by row and column\n",
    )


def test_every_link_between_the_pages_works():
    assert check_links(ROOT) == (0, "")


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("[x](nowhere.md)", "nowhere.md: no such file"),
        ("[x](page.md#nothing)", "page.md#nothing: no such heading"),
        ("[x](#nothing)", "#nothing: no such heading"),
        ("![x](../figure.png)", "../figure.png: no such file"),
        ("[x](../../outside.md)", "../../outside.md: no such file"),
        ("| a |\n| --- |\n| [x](nowhere.md) |", "nowhere.md: no such file"),
    ],
)
def test_a_broken_link_is_reported_with_its_page_and_line(link, problem, tmp_path):
    root = small_site(tmp_path, link)
    code, error = check_links(root)
    assert code == 1
    assert error.startswith("error: docs/index.md:3: ") or link.startswith("|")
    assert error.endswith(f"{problem}\n")


@pytest.mark.parametrize(
    "link",
    [
        "[x](page.md)",
        "[x](page.md#a-heading-of-code-its-own)",
        "[x](page.md#twice-1)",
        "[x](../docs/)",
        "[x](#index)",
        "[x](https://example.org/nowhere)",
        "`[x](nowhere.md)`",
    ],
)
def test_a_link_that_works_is_not_reported(link, tmp_path):
    assert check_links(small_site(tmp_path, link)) == (0, "")


def small_site(root: Path, line: str) -> Path:
    """Two pages, and the script that checks them."""
    docs = root / "site" / "docs"
    docs.mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "links.py", docs)
    (root / "outside.md").write_text("# Outside\n")
    (docs / "index.md").write_text(f"# Index\n\n{line}\n")
    (docs / "page.md").write_text("# Page\n\n## A *heading* of `code`: its own\n\n## Twice\n\n## Twice\n")
    return root / "site"


def pages_with(kind: str) -> Iterator[tuple[str, str]]:
    """The page and the text of each fenced block of a kind, such as "sh"."""
    for page in [ROOT / "README.md", *ROOT.glob("CONTRIBUTING.md"), *sorted((ROOT / "docs").glob("*.md"))]:
        for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
            if token.type == "fence" and token.info == kind:
                yield page.name, token.content


def commands() -> Iterator[tuple[str, list[str]]]:
    """Each resmlp command in the pages, as words; optional parts in brackets are included, shell syntax is not."""
    for page, block in pages_with("sh"):
        for line in block.splitlines():
            for part in re.split(r"&&|\|(?![a-z])", line):
                words = shlex.split(part.translate(str.maketrans("", "", "[]")), comments=True)
                if "resmlp" in words and "..." not in words and "pip" not in words:
                    words = words[words.index("resmlp") + 1 :]
                    yield page, list(takewhile(lambda word: word not in "<>", words))


@pytest.mark.parametrize(("page", "words"), list(commands()), ids=lambda value: " ".join(value) if value else "")
def test_every_command_in_the_pages_is_understood(page, words, capsys, tmp_path, monkeypatch):
    """The command line parses it: the verb, the recipe, every flag and every value. It is not run."""
    write_json(tmp_path / "runs/x/recipe.json", to_dict(RECIPES["digits"]))  # the run of which there is more
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(SystemExit):  # --help; an error is a UserError
        parse(words)


def test_every_flag_in_the_pages_exists(capsys):
    known = set()
    for words in ([verb] for verb in VERBS if verb not in ("train", "plan", "data")):
        known |= flags_of(words, capsys)
    for words in (
        ["train", name] for name in ("digits", "dino", "distill", "multilabel", "scenes", "numbers", "probe")
    ):
        known |= flags_of(words, capsys)
    known |= flags_of(["plan", "digits"], capsys)
    for verb in ("check", "masks", "pack"):
        known |= flags_of(["data", verb], capsys)
    known.add("--version")
    foreign = {
        "--nproc-per-node",
        "--standalone",
        "--max-restarts",
        "--nodes",
        "--array",
        *("--nnodes", "--rdzv-backend", "--rdzv-endpoint", "--multi_gpu", "--num_processes"),  # of other launchers
        "--shm-size",
        "--echo",
        "--depth",
        "--folder",
        "--names",
        "--peers",
        "--count",
        "--data",
        "--data-binary",
        "--runs",
        "--seeds",
        "--networks",
        "--group",
        *(
            "--rm",
            "--gpus",
            "--model-repository",
            "--config_path",
            "--rest_port",
            "--plugin_config",
        ),  # of other servers
    }
    unknown = {}
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for flag in re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", page.read_text(encoding="utf-8")):
            if flag not in known | foreign and not any(name.startswith(f"{flag}.") for name in known):
                unknown.setdefault(flag, set()).add(page.name)
    assert not unknown


def flags_of(words: list[str], capsys) -> set[str]:
    with pytest.raises(SystemExit):
        parse([*words, "--help"])
    return set(re.findall(r"--[a-z][\w.-]*\w", capsys.readouterr().out))


def test_every_import_in_the_pages_works():
    for page, block in pages_with("python"):
        for name, members in re.findall(r"^from (resmlp[\w.]*) import ([\w, ]+)$", block, re.MULTILINE):
            module = importlib.import_module(name)
            for member in members.split(", "):
                assert hasattr(module, member), f"{page}: from {name} import {member}"
        for name in re.findall(r"\bresmlp\.(\w+)\(", block):
            assert hasattr(resmlp, name), f"{page}: resmlp.{name}"


def test_the_tree_in_architecture_is_that_of_the_package():
    tree = next(block for page, block in pages_with("") if page == "architecture.md" and block.startswith("resmlp/"))
    floors = {name.rstrip("/"): int(floor) for name, floor in re.findall(r"^  ([\w/.]+) +(\d+) ", tree, re.MULTILINE)}
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = contracts[0]["layers"]
    names = {name: len(layers) - i for i, layer in enumerate(layers) for name in layer.split(" | ")}
    assert {name.removesuffix(".py"): floor for name, floor in floors.items()} == names
    for name in re.findall(r"^([\w/]+/) ", tree, re.MULTILINE):
        assert (ROOT / name).is_dir(), name
    room = ""
    for indent, name in re.findall(r"^( +)([\w/.]+)", tree, re.MULTILINE):
        room = name if len(indent) == 2 else room
        assert (ROOT / "resmlp" / (name if len(indent) == 2 else room + name)).exists(), name
