"""Bad inputs of every command end with exit code 2 and one line, or with a right answer; never with a traceback.

A seeded part runs with the suite. `make soak` runs all of them, and many more damaged files.
"""

import io
import json
import os
import random
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resmlp.cli.main import main

sys.path.insert(0, str(Path(__file__).parent))
from bad_inputs import Case, Good, cases

PART = 40
"""cases of the suite"""
MEMORY = 2**30
"""bytes that a command may take at most beyond what the commands before it took"""
ROUNDS = int(os.environ.get("SOAK_ROUNDS", 100_000))
"""damaged files for each reader of `make soak`"""


@pytest.fixture(scope="module")
def good(tmp_path_factory, translator_run, translator_export) -> Good:
    pytest.importorskip("onnxruntime")
    import resmlp
    from resmlp.config.model_json import SegmenterConfig, SegmenterModelConfig, TrunkConfig
    from resmlp.config.preprocessing import Preprocessing
    from resmlp.config.vision import architecture
    from resmlp.models import Segmenter, create_model, save_model
    from resmlp.models.segmenter_files import save_segmenter

    root = tmp_path_factory.mktemp("good")
    torch.manual_seed(0)
    look, classes, small = Preprocessing((8, 8)), ("ant", "bee"), {"dim": 8, "depth": 1, "patch_size": 4, "img_size": 8}
    save_model(root / "classifier", create_model("resmlp_s12", num_classes=2, **small), classes, look)
    trunk = TrunkConfig("resmlp_s12", architecture("resmlp_s12", dim=8, depth=4, patch_size=4), (8, 8), 0)
    config = SegmenterConfig((8, 8), 2, trunk, width=8, auxiliary=0)
    save_segmenter(root / "segmenter", Segmenter(config).eval(), SegmenterModelConfig(config, look, classes))
    for model, out in (("classifier", "exported"), ("segmenter", "exported_segmenter")):
        resmlp.export(str(root / model), to="onnx", out=root / out)
    rng = np.random.default_rng(0)
    for name in classes:
        (root / "tree" / name).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(root / "tree" / name / f"{i}.png")
    (root / "text.txt").write_text("seven\nten\n")
    exports = (root / "exported", root / "exported_segmenter", translator_export)
    models = (root / "classifier", root / "segmenter", translator_run, *exports)
    return Good(*models, root / "tree" / "ant" / "0.png", root / "tree", root / "text.txt")


def check(case: Case, folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a case: exit code 2 and one line of it, or 0; nothing of the terminal's, and a bounded memory."""
    folder.mkdir()
    arguments = case.make(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    capsys.readouterr()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    what = f"{case.name}: {code} {err}"
    assert code in (0, 2), what
    assert "Traceback" not in err, what
    assert all(line.isprintable() for line in err.split("\n")), what
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == (code == 2), what
    assert all(line.startswith(("error: ", "note: ")) or "weights are random" in line for line in err.splitlines()), (
        what
    )
    assert all(len(line.replace(str(folder), "").replace("a" * 5000, "")) < 700 for line in errors), what
    assert "nan" not in out.split(), what
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY / 1024, what


def test_bad_inputs(good, tmp_path, capsys, monkeypatch):
    everything = cases(good)
    assert len(everything) > 300
    for number, case in enumerate(random.Random(0).sample(everything, PART)):
        check(case, tmp_path / str(number), capsys, monkeypatch)


@pytest.mark.soak
def test_all_bad_inputs(good, tmp_path, capsys, monkeypatch):
    failures = list[str]()
    for number, case in enumerate(cases(good)):
        try:
            check(case, tmp_path / str(number), capsys, monkeypatch)
        except Exception as error:
            failures.append(f"{case.name}: {type(error).__name__}: {str(error)[:300]}")
        except AssertionError as error:
            failures.append(str(error)[:400])
    assert not failures, "\n".join(failures)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, cut off or repeated."""
    result = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        result[rng.randrange(len(result))] = rng.choice([0, 255, 128, rng.randrange(256)])
    if rng.random() < 0.2:
        start, end = sorted(rng.randrange(len(result)) for _ in range(2))
        result[start:end] = result[start:end] * rng.choice([0, 2])
    return bytes(result)


@pytest.mark.soak
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_damaged_images_are_one_line(form, capfd):
    from resmlp.imaging.decode import UnreadableImage, decode

    rng, buffer = random.Random(0), io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(buffer, form)
    for _ in range(ROUNDS):
        data = damaged(buffer.getvalue(), rng)
        try:
            decode("x", lambda data=data: io.BytesIO(data))
        except UnreadableImage as error:
            if "\n" in str(error):
                raise
    assert capfd.readouterr().err == ""


@pytest.mark.soak
@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_damaged_model_files_are_one_line(good, tmp_path, name):
    from resmlp.models import open_model
    from resmlp.utils.errors import UserError

    folder, rng = tmp_path / "model", random.Random(0)
    folder.mkdir()
    for file in good.classifier.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    whole = (folder / name).read_bytes()
    for _ in range(ROUNDS // 10):
        (folder / name).write_bytes(damaged(whole, rng))
        try:
            open_model(folder)
        except UserError as error:
            assert str(error).isprintable(), json.dumps(str(error))  # noqa: PT017 (most are no errors at all)
