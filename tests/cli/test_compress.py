"""`resmlp compress` from the command line, and other verbs on its output."""

import json
import os
from pathlib import Path

import pytest
from colored import plant

import resmlp as library
from resmlp.config.evaluation import EvalData
from resmlp.exporters import formats


@pytest.fixture(scope="session")
def others(tmp_path_factory) -> Path:
    """Other images of the classes of `tree`. Not to be written to."""
    return plant(tmp_path_factory.mktemp("others") / "colors", count=4, seed=100)


def compress(resmlp, model, *args):
    return resmlp("compress", model, "--device", "cpu", "--data.workers", 0, "--images", 8, *args)


def test_a_run_folder(resmlp, trained, tree, others, tmp_path):
    ended = compress(resmlp, trained, "--to", "int4", "--json", "--out", "small")
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    assert json.loads((tmp_path / "small" / "compress.json").read_text()) == {
        k: result[k] for k in result if k != "out"
    }
    own = json.loads(resmlp("eval", trained, "--json", "--data.workers", 0).out)
    assert result["before"] == {"top1": own["top1"], "top5": own["top5"], "bytes": result["before"]["bytes"]}
    assert result["before"]["bytes"] == (trained / "model.safetensors").stat().st_size
    image = next(tree.rglob("*.png"))
    assert json.loads(resmlp("predict", "small", image, "--json").out)["predictions"][0]["label"]
    evaluated = resmlp("eval", "small", "--data.root", tree, "--json", "--data.workers", 0)
    assert evaluated.code == 0, evaluated.err
    assert resmlp("inspect", "small", "--layers", 0).code == 0
    on_its_own = json.loads(resmlp("eval", "small", "--json", "--data.workers", 0).out)
    assert (on_its_own["images"], on_its_own["top1"]) == (own["images"], result["after"]["top1"])
    again = compress(resmlp, "small", "--to", "pruned", "--data.root", tree, "--train", others, "--out", "smaller")
    assert again.code == 0, again.err
    lines = again.out.splitlines()
    assert lines[0].startswith("before top1 ")
    assert lines[2].startswith("smaller: ")
    assert lines[2].endswith(" 50.0 % of the weights are 0")


def test_the_python_function_gives_what_the_command_prints(resmlp, trained, tmp_path, capsys):
    flags = ("--to", "2:4", "--out", tmp_path / "out")
    printed = json.loads(compress(resmlp, trained, *flags, "--json").out)
    text = compress(resmlp, trained, *flags).out
    data = EvalData(workers=0)
    result = library.compress(trained, "2:4", tmp_path / "out", data=data, images=8, device="cpu")
    assert result.to_dict() == printed
    assert f"{result}\n" == text
    assert capsys.readouterr().out == ""


def test_the_bytes_before_are_those_of_the_file(resmlp, trained, tree, others, tmp_path):
    flags = ("--data.root", tree, "--train", others, "--json")
    assert compress(resmlp, trained, "--to", "int4", *flags, "--out", "small").code == 0
    size = (tmp_path / "small" / "model.safetensors").stat().st_size
    assert size < (trained / "model.safetensors").stat().st_size
    for model in ("small", "small/model.safetensors"):
        ended = compress(resmlp, model, "--to", "pruned", *flags, "--out", "pruned")
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["before"]["bytes"] == size
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    ended = compress(resmlp, "small", "--to", "int8", *flags, "--out", "eight")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["before"]["bytes"] == size


def test_calibration_images_are_not_evaluated(resmlp, trained, tree, tmp_path):
    file = trained / "model.safetensors"
    for args in ((file,), (file, "--train", tree), (file, "--train", os.path.relpath(tree))):
        ended = compress(resmlp, *args, "--to", "int4", "--data.root", tree)
        assert ended.code == 2
        assert "8 of the 8 calibration images are evaluated as well" in ended.error
        assert "--train" in ended.error
    assert not any(tmp_path.iterdir())


def test_the_default_folder(resmlp, trained, tree, others, tmp_path):
    ended = compress(resmlp, trained / "model.safetensors", "--to", "2:4", "--data.root", tree, "--train", others)
    assert ended.code == 0, ended.err
    assert (tmp_path / "2of4" / "model" / "model.safetensors").is_file()


def test_training_goes_on_with_noise(resmlp, train, trained, tree):
    flags = ("--data.root", tree, "--run.epochs", 1, "--run.log", "--data.batch-size", 8, "--out", "noisy")
    flags = (*flags, "--data.workers", 0, "--run.device", "cpu", "--run.quant-noise")
    ended = resmlp("train", "finetune", "--model.checkpoint", trained, *flags, 0.5)
    assert ended.code == 0, ended.err
    assert json.loads(Path("noisy/recipe.json").read_text())["run"]["quant_noise"] == 0.5
    assert (
        "run.quant_noise: 0.5 -> 0.25" in resmlp("train", "finetune", "--model.checkpoint", trained, *flags, 0.25).error
    )
    assert "--run.quant-noise 2" in resmlp("train", "finetune", "--model.checkpoint", trained, *flags, 2).error


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("mixer_s32", "--to", "int5"), "int5"),
        (("mixer_s32",), "missing --to"),
        (("mixer_s32", "--to", "pruned", "--share", 1), "--share 1"),
        (("mixer_s32", "--to", "int4", "--images", 0), "--images 0"),
        (("mixer_s32", "--to", "int4", "--data.split", "val"), "--data.split"),
        (("mixer_s32", "--to", "int4", "--out", "file"), "--out file is a file"),
        (("resmlp_mt_tiny", "--to", "int4"), "is the name of a translation model"),
        (("timm:resnet10t", "--to", "int4", "--data.root", "."), "is not a resmlp network"),
        (("nowhere/at/all", "--to", "int4"), "no model at nowhere/at/all"),
    ],
)
def test_mistakes(args, words, resmlp, tmp_path):
    (tmp_path / "file").write_text("nothing")
    ended = resmlp("compress", *args)
    assert ended.code == 2
    assert words in ended.error
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


def test_missing_images(resmlp, trained):
    file = trained / "model.safetensors"
    assert f"nothing to evaluate {file} on" in compress(resmlp, file, "--to", "int4").error
    assert "nowhere: no such file or folder" in compress(resmlp, file, "--to", "int4", "--data.root", "nowhere").error


def test_a_run_folder_is_not_overwritten(resmlp, trained, tree):
    before = (trained / "model.safetensors").read_bytes()
    assert "did not write" in compress(resmlp, trained, "--to", "int4", "--out", trained).error
    assert (trained / "model.safetensors").read_bytes() == before


def test_a_translator_is_refused(resmlp, translator_run):
    assert "is a translator (a classifier is expected here" in compress(resmlp, translator_run, "--to", "int4").error


def test_a_missing_package(resmlp, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    assert "which are not installed" in compress(resmlp, "mixer_s32", "--to", "int8").error
