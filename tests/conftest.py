"""What all tests share: few threads, seeded generators, and the real data beside the repository."""

import gc
import os
import random
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from drafts import draw_drafts
from hubserver import Hub
from PIL import Image
from torch.onnx._internal._lazy_import import onnxscript_apis

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
# a shell's background jobs ignore Ctrl-C, and so would every program that a test starts and then interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)
# torch.onnx.export asks each time for the same list of operators, whose making is a third of a small export
onnxscript_apis.get_torchlib_ops = cache(
    lambda: type(onnxscript_apis).__getattr__(onnxscript_apis, "get_torchlib_ops")()
)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """The collector need not look through modules and tests again and again, which costs more than many a test."""
    gc.disable()
    result = yield
    gc.freeze()
    gc.enable()
    return result


def pytest_unconfigure() -> None:
    """Libraries complain of what is not collected in the end."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _seeded():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory) -> None:
    """The tests, and the processes that they start, leave the user's cache alone."""
    os.environ["RESMLP_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """`../shared/data` of the repository; without it a test is skipped, but fails where CI is set."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no real data at {path}")
    return path


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub of our own, empty. `hub.env(folder)` is the environment of a process that asks it."""
    with Hub() as hub:
        yield hub


@pytest.fixture(scope="session")
def translator_run(tmp_path_factory) -> Path:
    """The run folder of a network that translates number words into something, and its text. Not to be written to.

    Its weights are random and large, so that what it says depends on what it is told.
    """
    from resmlp.config import Text, TextRecipe
    from resmlp.config.model_json import Seq2SeqConfig, TranslatorModelConfig
    from resmlp.config.seq2seq import changed
    from resmlp.data import Tokenizer, open_pairs
    from resmlp.inference.translator import save_translator
    from resmlp.models import Seq2Seq
    from resmlp.utils.files import write_json
    from resmlp.utils.serialization import to_dict

    root, folder = tmp_path_factory.mktemp("text"), tmp_path_factory.mktemp("translator") / "run"
    _, numbers = open_pairs(Text(source="numbers"))
    for name, part in (("train", slice(200)), ("val", slice(200, 230)), ("test", slice(230, 240))):
        for end, lines in (("en", numbers.sources), ("de", numbers.targets)):
            (root / f"{name}.{end}").write_text("".join(f"{line}\n" for line in lines[part]), encoding="utf-8")
    tokenizer = Tokenizer.train([*numbers.sources[:200], *numbers.targets[:200]], 320)
    small = {"dim": 32, "hidden": 64, "heads": 2, "encoder_depth": 1, "decoder_depth": 1, "max_length": 24}
    config = Seq2SeqConfig("resmlp_mt_tiny", changed("resmlp_mt_tiny", **small), tokenizer.size)
    torch.manual_seed(0)
    model = Seq2Seq(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    save_translator(folder, model, tokenizer, TranslatorModelConfig(config, "en", "de"))
    write_json(folder / "recipe.json", to_dict(TextRecipe("text", data=Text(root=str(root)))))
    return folder


@pytest.fixture(scope="session")
def translator_export(translator_run, tmp_path_factory) -> Path:
    """`translator_run` exported to ONNX. Not to be written to."""
    import resmlp
    from resmlp.exporters.formats import FORMATS

    for package in FORMATS["onnx"].packages:
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("translator") / "export"
    resmlp.export(translator_run, to="onnx", out=folder)
    return folder


@pytest.fixture
def draft_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made of all their parts but saved as a white pixel: rendering would be most of a small run's time."""
    draw_drafts(monkeypatch)


@pytest.fixture
def whole_figures() -> None:
    """Asks for rendered figures in a room whose tests have `draft_figures`."""


@pytest.fixture
def photo() -> Image.Image:
    """An image of 61 x 47 with smooth and noisy parts."""
    rng = np.random.default_rng(0)
    ramp = np.add.outer(np.arange(47), np.arange(61))[..., None] * np.array([2, 1, 1.5])
    return Image.fromarray((ramp + rng.integers(0, 30, (47, 61, 3))).clip(0, 255).astype(np.uint8))
