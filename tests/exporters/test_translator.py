"""Exported translators, run without torch, against the network in torch."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import resmlp
from resmlp.cli.main import main
from resmlp.config import Text
from resmlp.config.seq2seq import BOS, EOS
from resmlp.data import open_pairs
from resmlp.exporters import translator
from resmlp.exporters.formats import FORMATS
from resmlp.utils.errors import UserError

FLAGS = [
    *("--model.dim", "64", "--model.hidden", "128", "--model.heads", "2"),
    *("--model.encoder-depth", "1", "--model.decoder-depth", "1"),
    *("--data.batch-size", "256", "--run.epochs", "1", "--run.eval-every", "1", "--run.device", "cpu", "--run.log"),
]
WITHOUT_TORCH = (
    "import sys; from resmlp.cli.main import main; code = main(sys.argv[1:]); "
    "print('loaded', *{'torch', 'torchvision', 'timm'} & set(sys.modules), file=sys.stderr); sys.exit(code)"
)


def require(to: str) -> None:
    for package in FORMATS[to].packages:
        pytest.importorskip(package)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Callable[[str], Path]:
    """`trained(name)`: the run folder of a network that has learned half of the number words."""

    @cache
    def train(name: str) -> Path:
        folder = tmp_path_factory.mktemp("numbers") / "run"
        torch.manual_seed(0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("resmlp.data.text.numbers.TRAIN", (100, 850, 3000))
            patch.setattr("resmlp.data.text.numbers.VAL", (0, 10, 10))  # its evaluation is of no interest
            assert main(["train", "numbers", "--model", name, *FLAGS, "--out", str(folder)]) == 0
        return folder

    return train


@pytest.mark.slow
@pytest.mark.usefixtures("draft_figures")
@pytest.mark.parametrize(
    ("name", "counts"),
    [("resmlp_mt_tiny", {"onnx": 100, "openvino": 25}), ("transformer_mt_tiny", {"onnx": 50})],
)
def test_the_sentences_are_those_of_torch(trained, name, counts, tmp_path):
    run_folder = trained(name)
    run = resmlp.load(run_folder, "cpu")
    for to, count in counts.items():
        require(to)
        lines = open_pairs(Text(source="numbers"))[1].sources[: 500 : 500 // count]
        assert resmlp.export(run_folder, to=to, out=tmp_path / to).difference < 1e-4
        ours = resmlp.load(tmp_path / to)
        expected = run.translate(lines, 4)
        assert len(set(expected)) > 0.8 * count, "the network says the same of everything"
        assert ours.translate(lines, 4) == expected
        assert ours.translate(lines[:30], 1) == run.translate(lines[:30], 1)
        for mine, theirs in zip(ours.n_best(lines[:20], 4, 4), run.n_best(lines[:20], 4, 4)):
            assert [one.text for one in mine] == [one.text for one in theirs]
            assert [one.score for one in mine] == pytest.approx([one.score for one in theirs], abs=1e-4)


@pytest.fixture
def folder(translator_export) -> Path:
    """An export of a network with random weights. Not to be written to."""
    return translator_export


def test_the_files_of_an_export(folder, translator_run):
    assert {path.name for path in folder.iterdir()} == {"encoder.onnx", "step.onnx", "model.json", "tokenizer.json"}
    assert (folder / "tokenizer.json").read_bytes() == (translator_run / "tokenizer.json").read_bytes()
    config = json.loads((folder / "model.json").read_text())
    assert config["kind"] == "exported-translator"
    assert config["translator"] == json.loads((translator_run / "model.json").read_text())


def test_a_greedy_search_by_hand(folder, translator_run):
    """What docs/export.md shows: any program can run the two graphs."""
    onnxruntime = pytest.importorskip("onnxruntime")
    run = resmlp.load(translator_run, "cpu")
    encoder, step = (onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in ("encoder", "step"))
    source = np.array([[*run.tokenizer.encode(["twenty-one"])[0], EOS]])
    (memory,) = encoder.run(None, {"source": source})
    layers, width = step.get_inputs()[4].shape[0], step.get_inputs()[4].shape[4]
    states = np.zeros((layers, 1, 1, 24, width), np.float32)
    said = [BOS]
    for position in range(24):
        given = {"tokens": np.array([[said[-1]]]), "position": np.array([position]), "source": source}
        logits, states = step.run(None, given | {"memory": memory, "cache": states})
        said.append(int(logits[0, 0].argmax()))
        if said[-1] == EOS:
            break
    if said[-1] == EOS:  # the search ends a sentence at its longest, and this does not
        assert run.tokenizer.line(said[1:-1]) == run.translate(["twenty-one"], beam=1)[0]
    target = torch.tensor([said[:-1]])
    expected = run.saved.model(torch.from_numpy(source), target)[0].argmax(1)
    assert expected.tolist() == said[1:]


def test_translating_loads_no_torch(folder, translator_run, tmp_path):
    text = "seven\n\nnine hundred\ntwenty-one thousand\n" + "seven hundred thousand " * 20 + "\n"
    (tmp_path / "in.txt").write_text(text)
    flags = [str(tmp_path / "in.txt"), "--beam", "3", "--scores"]
    command = [sys.executable, "-c", WITHOUT_TORCH, "translate", str(folder), *flags]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines()[-1] == "loaded"
    assert "line 5: longer than the 23 tokens" in ended.stderr
    rows = [line.split("\t") for line in ended.stdout.splitlines()]
    found = resmlp.load(translator_run, "cpu").n_best(text.splitlines(), 1, 3)
    assert [row[1] for row in rows] == [best.text for best, *_ in found]
    assert [float(row[0]) for row in rows] == pytest.approx([best.score for best, *_ in found], abs=1e-3)


def test_the_result_does_not_depend_on_the_batch(folder):
    ours, lines = resmlp.load(folder), ["seven", "", "nine hundred thousand three hundred twelve", "ten"]
    expected = ours.translate(lines)
    ours.batch_size = 1
    assert ours.translate(lines) == expected


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--to", "torch"), "--to torch is not for translators"),
        (("--precision", "bf16"), "--precision bf16: a translator is exported in fp32, or to openvino in int8"),
        (("--precision", "int8"), "--precision int8: a translator is exported in fp32, or to openvino in int8"),
        (("--img-size", "32", "32"), "--img-size is for images"),
        (("--with-preprocessing",), "--with-preprocessing is for images"),
        (("--images", "."), "--images is for images"),
        (("--tolerance", "1e-12"), "nothing is written"),
    ],
)
def test_what_a_translator_has_no_use_for(translator_run, flags, words, tmp_path, capsys):
    require("onnx")
    assert main(["export", str(translator_run), "--out", str(tmp_path / "x"), *flags]) == 2
    assert words in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_matrices_of_8_bits(translator_run, folder, tmp_path, capsys):
    """The largest code of a matrix for channels is 127 or 128 in each row."""
    require("openvino")
    openvino = pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    result = resmlp.export(translator_run, to="openvino", out=tmp_path / "int8", precision="int8")
    assert result.precision == "int8"
    assert re.fullmatch(r"top-1 agrees on .* of \d+ tokens, .*", result.agreement)
    assert (tmp_path / "int8" / "step.bin").stat().st_size < 0.3 * (folder / "step.onnx").stat().st_size
    constants = openvino.Core().read_model(tmp_path / "int8" / "step.xml").get_ops()
    codes = [node.get_data() for node in constants if node.get_output_element_type(0) == openvino.Type.i8]
    matrices = [np.abs(each.astype(int)) for each in codes if each.shape == (32, 64)]
    assert matrices, [each.shape for each in codes]
    assert (matrices[0].max(1) >= 127).all()
    ours = resmlp.load(tmp_path / "int8")
    assert "int8" in str(ours.facts())
    source = np.array([[5, 6, 7, EOS]])
    small, whole = (model.encode({"source": source})[0] for model in (ours, resmlp.load(folder)))
    assert 0 < np.abs(small - whole).max() < 0.1 * np.abs(whole).max()
    (tmp_path / "in.txt").write_text("seven\n")
    assert main(["translate", str(tmp_path / "int8"), str(tmp_path / "in.txt"), "--precision", "fp32"]) == 2
    assert "was exported in int8" in capsys.readouterr().err
    assert main(["translate", str(tmp_path / "int8"), str(tmp_path / "in.txt")]) == 0


def test_graphs_that_differ_are_refused(translator_run, tmp_path, monkeypatch):
    require("onnx")
    right = translator.graphs_of

    def wrong(model):
        encoder, step = right(model)
        step.decoder[0].tokens.fn.bias[7] += 0.1  # of one position alone
        return encoder, step

    monkeypatch.setattr(translator, "graphs_of", wrong)
    with pytest.raises(UserError, match="nothing is written"):
        resmlp.export(translator_run, to="onnx", out=tmp_path / "x")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("step.onnx", b"broken", "cannot run"),
        ("step.onnx", None, "no step.onnx in"),
        ("tokenizer.json", None, "it is the network's vocabulary"),
        ("model.json", b'{"kind": "exported-translator", "format": 1}', "missing"),
    ],
)
def test_broken_files_are_one_line(folder, name, content, words, tmp_path, capsys):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / name).unlink() if content is None else (copy / name).write_bytes(content)
    (tmp_path / "in.txt").write_text("seven\n")
    assert main(["translate", str(copy), str(tmp_path / "in.txt")]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error
    assert error.count("\n") == 0


@pytest.mark.parametrize("flags", [("--device", "cuda"), ("--precision", "int8")])
def test_an_export_runs_on_the_cpu_in_fp32(folder, flags, capsys, tmp_path):
    (tmp_path / "in.txt").write_text("seven\n")
    assert main(["translate", str(folder), str(tmp_path / "in.txt"), *flags]) == 2
    assert flags[0] in capsys.readouterr().err


def test_eval_of_an_export_is_that_of_the_run(folder, translator_run, tmp_path, capsys):
    root = json.loads((translator_run / "recipe.json").read_text())["data"]["root"]
    found = []
    for model in (folder, translator_run):
        flags = ("--data.root", root, "--out", str(tmp_path), "--device", "cpu", "--json")
        assert main(["eval", str(model), *flags]) == 0
        found.append(json.loads(capsys.readouterr().out))
    ours, theirs = ({name: score for name, score in each.items() if name != "hypotheses"} for each in found)
    assert ours == theirs
    assert main(["eval", str(folder), "--data.root", root, "--weights", "raw"]) == 2
    assert "has no checkpoints" in capsys.readouterr().err
