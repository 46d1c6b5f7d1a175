"""Each curl line of docs/serve.md, run against a server."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PAGE = Path(__file__).parents[2] / "docs" / "serve.md"
LINES = re.findall(r"^curl .*", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
ADDRESS = "http://127.0.0.1:8000"


def with_names_of(server, text: str) -> str:
    """The lines of the page for the networks of the tests."""
    return text.replace(ADDRESS, server.url).replace("flowers", "plain").replace("336x336", "24x36")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with the files of the page."""
    folder = tmp_path_factory.mktemp("curl")
    noise = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "photo.jpg")
    Image.fromarray(255 - noise).save(folder / "other.png")
    (folder / "sentences.txt").write_text("one\ntwo\n")
    return folder


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
@pytest.mark.parametrize("line", LINES)
def test_the_line_is_answered(line, server, place):
    assert line.count(ADDRESS) == 1
    line = with_names_of(server, line).replace("curl", "curl --fail-with-body -sS", 1)
    ended = subprocess.run(["bash", "-c", line], cwd=place, capture_output=True)
    assert (ended.returncode, ended.stderr) == (0, b""), ended.stdout
    if "-o mask.png" in line:
        with Image.open(place / "mask.png") as mask:
            assert mask.size == (90, 60)
    else:
        answer = json.loads(ended.stdout)
        assert any(isinstance(value, list) and value for value in answer.values())


def test_each_endpoint_has_a_line(server):
    assert {
        path for path in server.ask("GET", "/openapi.json").json["paths"] if any(path in line for line in LINES)
    } == {f"/v1/{name}" for name in ("predict", "segment", "translate", "embed", "look", "models")}


def test_the_python_lines_are_answered(server, place, monkeypatch):
    monkeypatch.chdir(place)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(with_names_of(server, block), {"image_bytes": (place / "other.png").read_bytes()})
