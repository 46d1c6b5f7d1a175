"""A tree of colored images, a network trained on it, and a way to call the command line."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from resmlp.cli.main import main

sys.path.insert(0, str(Path(__file__).parent))  # for `colored`
sys.path.insert(0, str(Path(__file__).parents[1] / "hub"))  # for `uploads`

FLAGS = [
    *("--model", "resmlp_digits", "--model.depth", "1", "--model.init", "fan-in", "--model.drop-path", "0"),
    *("--data.img-size", "8", "--data.batch-size", "8", "--data.workers", "0"),
    *("--augment.policy", "none", "--augment.mixup", "0", "--augment.cutmix", "0", "--augment.jitter", "0"),
    *("--optim.lr", "0.003", "--optim.warmup-epochs", "0", "--run.epochs", "1", "--run.device", "cpu"),
    "--run.log",
]
"""of `resmlp train folder`, to be done in a moment"""


@pytest.fixture(autouse=True)
def _draft_figures(request: pytest.FixtureRequest) -> None:
    if "whole_figures" not in request.fixturenames:
        request.getfixturevalue("draft_figures")


class Ended(NamedTuple):
    """What came of a command."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that says what is wrong."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert self.err.endswith(lines[0] + "\n"), "the error comes last"
        assert lines[0].endswith(")"), "it says what to do"
        return lines[0]


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Path:
    """Three classes of twelve images, undivided. Not to be written to."""
    from colored import plant

    return plant(tmp_path_factory.mktemp("tree") / "colors")


@pytest.fixture(scope="session")
def trained(tmp_path_factory, tree) -> Path:
    """The run folder of a network that tells the colors apart. Not to be written to, but by `eval`."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    assert main(["train", "folder", *FLAGS, "--data.root", str(tree), "--out", str(folder), "--run.epochs", "8"]) == 0
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def resmlp(capsys, monkeypatch, tmp_path) -> Callable[..., Ended]:
    """`resmlp("eval", folder, ...)` in this process, in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def run(*args: object) -> Ended:
        capsys.readouterr()
        try:
            code = main([str(arg) for arg in args])
        except SystemExit as stop:
            code = int(stop.code or 0)
        ended = Ended(code, *capsys.readouterr())
        assert "Traceback" not in ended.err
        return ended

    return run


@pytest.fixture
def train(resmlp, tree, tmp_path) -> Callable[..., Ended]:
    """`train("--run.epochs", 2, ...)`: a small `resmlp train folder` on `tree` into `tmp_path/run`."""

    def run(*flags: object) -> Ended:
        root = () if "--data.root" in flags else ("--data.root", tree)
        out = () if "--out" in flags else ("--out", tmp_path / "run")
        return resmlp("train", "folder", *FLAGS, *root, *out, *flags)

    return run


@pytest.fixture
def upload_hub(monkeypatch, tmp_path):
    """The hub of huggingface_hub in this process, with a token with write access and an empty cache."""
    from huggingface_hub import close_session, constants
    from uploads import UploadHub

    with UploadHub() as hub:
        for name, value in {
            "ENDPOINT": hub.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(tmp_path / "hf"),
            "HF_TOKEN_PATH": str(tmp_path / "no-token"),
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "hf_good")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        close_session()
        yield hub
    close_session()
