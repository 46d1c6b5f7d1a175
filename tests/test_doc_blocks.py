"""Every shell line and every Python block of the pages runs at tiny scale, or is listed with a reason why not.

The words of the pages that stand for something (PATH, MODEL, runs/x, image.jpg) are files and folders of these names,
with tiny images and networks; flags that make a run tiny are added.
"""

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from markdown_it import MarkdownIt
from PIL import Image

from resmlp.cli.main import main
from resmlp.recipes import RECIPES

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

SHELL_REASONS = {
    r"^(git|make|pip|source|RESMLP_TOKEN|echo)\b": "sets up or measures, as continuous integration does",
    r"^python benchmarks/": "measures for minutes or hours; tests/benchmarks run the scripts with small sizes",
    r"^curl ": "tests/serving/test_curl.py runs each of these lines",
    r"^resmlp serve\b": "does not end; tests/serving start servers",
    r"--run.log tensorboard wandb": "needs an account; tests/utils/test_trackers.py has trackers that stand in",
    r"^(sbatch|kubectl) ": "needs a cluster; tests/test_cluster.py reads the scripts",
    r"(https|s3)://(host|bucket)/": "needs a server; tests/data/shards/test_remote_folder.py has one",
    r"^torchrun |^accelerate launch ": "needs several processes; tests/faults start them",
    r"_in1k|imagenet|IMAGENET|timm:|resnet|--protocol top1 real": "needs published weights or ImageNet: the network",
    r"hf-hub:|^resmlp push ": "needs the hub; tests/hub run these commands against one of their own",
    r"^resmlp train (dino|distill|camvid|ade20k|multi30k|cifar10)": "needs a data set, or hours; see tests/tasks",
    r"^resmlp data (masks|pack)|--data.root DIR|runs/camvid|test_2016_flickr": "needs a data set that is not embedded",
    r"^resmlp train scenes|runs/scenes|^resmlp predict scenes": "trains for minutes; tests/test_examples.py is shorter",
    r"^resmlp profile |^resmlp reproduce ": "measures for minutes; tests/analysis and tests/reproduction are shorter",
    r"--to (int8|int4|2:4|torch)|--backend |--precision auto": "takes seconds; see each package's tests",
    r"--device cuda|--precision bf16": "needs other hardware",
    r"--protocol .*linear|--quant-noise|--train PATH": "takes long; tests/evaluation and tests/compression are shorter",
    r"--layers 0 5 11": "needs a deeper network",
    r"<export.md>|^resmlp (translate mt|export runs/mt)": "see tests/exporters and tests/inference",
    r"^resmlp eval RUN --data.split test|^resmlp eval .*<translation.md>": "needs a run with such data",
    r"RECIPE|finetune \.\.\.|--model runs/folder": "stands for several commands",
}
"""lines of shell blocks that are not run -> why; <PAGE> stands behind the line"""

PYTHON_REASONS = {
    r"img_size=288": "too large for the network of the tests; tests/cli/test_img_size.py",
    r"import tritonclient": "needs a server of Triton",
    r"import fiftyone": "tests/cli/test_mistakes.py reads the files as FiftyOne does; its package has a database",
    r"^class \w+\(|^def _v2|self\.steps\(\)": "an outline of code that is in the package",
    r"pretrained=True": "needs published weights, and so the network",
    r"onnxruntime\.InferenceSession": "tests/exporters/test_translator.py decodes so",
    r"teacher=lambda": "tests/tasks/test_distill.py passes a function",
    r"resmlp\.load\(\"s12\"\)|backend=\"auto\"": "tests/inference open exported networks and measure backends",
    r"from resmlp\.serving import Client": "tests/serving/test_curl.py runs it",
}
"""Python blocks that are not run -> why"""

TINY = {
    "train": "--data.workers 0 --run.epochs 1 --data.batch-size 8",
    "embed": "--workers 0",
    "predict": "--workers 0",
    "data": "--workers 1",
}
"""verb -> flags that are added where a line does not have them"""
TINY_IMAGES = "--model resmlp_digits --data.img-size 16"
"""and for recipes whose network is large"""
SMALLER = {
    "--run.epochs 60": "--run.epochs 2",
    "--img-size 288": "--img-size 12",
    "--img-size 160 224 320x224": "--img-size 8 12 8x12",
    "--data.img-size 288": "--data.img-size 12",
}
"""what is written -> what is run"""


class Block(NamedTuple):
    """A block of code of a page."""

    page: str
    line: int
    code: str


def blocks(kind: str) -> Iterator[Block]:
    """The fenced blocks of a kind, such as "sh"."""
    for page in PAGES:
        for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
            if token.type == "fence" and token.info == kind:
                yield Block(page.name, (token.map or [0])[0] + 1, token.content)


def reason(code: str, reasons: dict[str, str]) -> str:
    """Why a line or block is not run, or an empty text."""
    return next((why for pattern, why in reasons.items() if re.search(pattern, code, re.MULTILINE)), "")


def runnable(block: Block) -> list[str]:
    """The lines of a shell block that are run."""
    lines = [line for line in block.code.splitlines() if line.strip()]
    return [line for line in lines if not reason(f"{line} <{block.page}>", SHELL_REASONS)]


FIRST = "start.md"
"""the page whose blocks follow from one another"""
SHELL = [block for block in blocks("sh") if runnable(block) and block.page != FIRST]
PYTHON = [block for block in blocks("python") if not reason(block.code, PYTHON_REASONS) and block.page != FIRST]


@pytest.fixture(scope="module")
def made(tmp_path_factory, translator_run) -> Path:
    """A folder with what the pages name, made once."""
    place = tmp_path_factory.mktemp("pages")
    write_images(place)
    words = (
        "train folder --data.root PATH --out runs/x --data.workers 0 --run.epochs 1 --data.batch-size 8 --run.average 1"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert main(f"{words} {TINY_IMAGES}".split()) == 0
    for name in ("MODEL", "runs/dino"):
        shutil.copytree(place / "runs" / "x", place / name)
    shutil.copytree(translator_run, place / "runs" / "mt")
    for name in ("TEXT", "input.txt"):
        (place / name).write_text("seven\n")
    return place


def write_images(place: Path) -> None:
    """Folders of images of 16 x 16 pixels, and tables of labels."""
    rng = np.random.default_rng(0)

    def image(path: Path, shade: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (shade + rng.integers(-50, 50, (16, 16, 3))).astype(np.uint8)
        Image.fromarray(pixels).resize((48, 48)).save(path)

    rows = []
    for split, first, count in (("train", 0, 24), ("val", 30, 8), ("test", 40, 8)):
        for i in range(count):
            for name, shade in (("dark", 60), ("light", 190)):
                path = Path(split, name, f"video{first + i % 8}_{name}{i}.png")
                image(place / "PATH" / path, shade)
                rows.append((path, name, split))
    (place / "labels.csv").write_text("file,label,split\n" + "".join(f"{p},{n},{s}\n" for p, n, s in rows))
    flags = "".join(f"{p},{int(n == 'dark')},{int(n == 'light')},1\n" for p, n, _ in rows)
    (place / "train.csv").write_text("Image,rust,scab,healthy\n" + flags)
    for name, split in (("VAL", "val"), ("TRAIN", "train"), ("IMAGES", "val"), ("PHOTOS", "val")):
        shutil.copytree(place / "PATH" / split, place / name)
    for name in ("image.jpg", "photo.jpg", "another.png", "five.png"):
        image(place / name, 60)
    for name, shade in (("beetle/one.jpg", 60), ("moth/three.jpg", 190)):
        image(place / "photos" / name, shade)
        for i in range(20):
            image((place / "photos" / name).with_name(f"more{i}.jpg"), shade)


@pytest.fixture
def place(made, tmp_path, monkeypatch, draft_figures) -> Path:
    """A copy of that folder, as the current one; the recipe of the digits is short."""
    digits = RECIPES["digits"]
    monkeypatch.setitem(RECIPES, "digits", replace(digits, run=replace(digits.run, epochs=1)))
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def commands(line: str) -> Iterator[list[str]]:
    """The resmlp commands of a line, as words, without shell syntax."""
    for old, new in SMALLER.items():
        line = line.replace(old, new)
    for part in re.split(r"&&", line):
        words = shlex.split(part, comments=True)[1:]
        yield tiny([word for word in takewhile(lambda word: word != ">", words) if word != "<"])


def tiny(words: list[str]) -> list[str]:
    """A command with flags that make it short."""
    more = TINY.get(words[0], "")
    if words[:2] in (["train", "folder"], ["train", "multilabel"]):
        more += f" {TINY_IMAGES}"
    flags = more.split()
    for i in range(0, len(flags), 2):
        if flags[i] not in words:
            words = [*words, *flags[i : i + 2]]
    return words


def run_lines(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    """Run what can be run of a block."""
    for line in runnable(block):
        for words in commands(line):
            if words != ["--version"]:
                assert main(words) == 0, (words, capsys.readouterr().err)


def run_alternatives(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    """Run each line by itself: those that train write into the same folder by default."""
    for line in block.code.splitlines():
        for name in ("folder", "finetune", "multilabel"):
            shutil.rmtree(Path("runs", name), ignore_errors=True)
        run_lines(block._replace(code=line), capsys)


def as_translator(block: Block) -> Block:
    """On the page of translation the run is one of a translator."""
    return block._replace(code=block.code.replace("runs/x", "runs/mt")) if block.page == "translation.md" else block


@pytest.mark.slow
@pytest.mark.parametrize("block", SHELL, ids=lambda block: f"{block.page}:{block.line}")
def test_the_shell_block_runs(block, place, capsys):
    run_alternatives(as_translator(block), capsys)


@pytest.mark.slow
@pytest.mark.parametrize("block", PYTHON, ids=lambda block: f"{block.page}:{block.line}")
def test_the_python_block_runs(block, place):
    exec(as_translator(block).code, {})


@pytest.mark.slow
def test_the_first_ten_minutes(place, capsys):
    every = [("sh", block) for block in blocks("sh")] + [("python", block) for block in blocks("python")]
    for kind, block in sorted(every, key=lambda pair: pair[1].line):
        if block.page == FIRST and kind == "sh":
            run_lines(block, capsys)
        elif block.page == FIRST:
            capsys.readouterr()
            exec(block.code, {})
            assert len(capsys.readouterr().out.splitlines()) == 2  # a line for each image


@pytest.mark.parametrize(("kind", "reasons"), [("sh", SHELL_REASONS), ("python", PYTHON_REASONS)])
def test_each_reason_is_that_of_something(kind, reasons):
    code = "\n".join(f"{line} <{block.page}>" for block in blocks(kind) for line in block.code.splitlines())
    assert [pattern for pattern in reasons if not re.search(pattern, code, re.MULTILINE)] == []
