"""Each verb prints what its Python function returns."""

import json

import numpy as np
import pytest

import resmlp as package
from resmlp.config.evaluation import EvalData


def test_eval_is_evaluate(resmlp, trained, tmp_path):
    printed = resmlp("eval", trained, "--device", "cpu", "--json", "--out", tmp_path / "a")
    text = resmlp("eval", trained, "--device", "cpu", "--out", tmp_path / "a")
    evaluation = package.evaluate(trained, out=tmp_path / "a", device="cpu")
    assert json.loads(printed.out) == json.loads(json.dumps(evaluation.to_dict()))
    assert text.out == f"{evaluation}\n"
    assert evaluation["top1"] == evaluation.to_dict()["top1"]


def test_eval_at_two_crops_is_evaluate(resmlp, trained, tree, tmp_path):
    flags = ["--data.root", tree, "--data.crop-ratio", "0.8", "1.0", "--out", tmp_path, "--device", "cpu"]
    printed = resmlp("eval", trained, *flags, "--json")
    evaluation = package.evaluate(trained, tree, data=EvalData(crop_ratio=(0.8, 1.0)), out=tmp_path, device="cpu")
    assert json.loads(printed.out) == json.loads(json.dumps(evaluation.to_dict()))
    assert set(evaluation.crops) == {"0.8", "1.0"}


def test_embed_is_embed(resmlp, trained, tree, tmp_path):
    printed = resmlp("embed", trained, tree, "--out", tmp_path / "a.npy", "--device", "cpu", "--json")
    embeddings = package.embed(trained, tree, tmp_path / "a.npy", device="cpu")
    assert json.loads(printed.out) == embeddings.to_dict()
    assert np.array_equal(np.load(tmp_path / "a.npy"), embeddings.features)
    assert package.embed(trained, tree, device="cpu").out is None


def test_predict_is_predict(resmlp, trained, tree):
    files = sorted(map(str, tree.glob("*/00.png")))
    printed = resmlp("predict", trained, *files, "--top", "2", "--device", "cpu", "--json")
    predictions = package.load(trained, "cpu").predict(files, top=2)
    expected = [{"file": file, **prediction.to_dict()} for file, prediction in zip(files, predictions)]
    assert json.loads(printed.out)["predictions"] == json.loads(json.dumps(expected))


def test_train_is_train(train, tmp_path):
    printed = train("--json")
    assert printed.code == 0, printed.err
    summary = package.train(str(tmp_path / "run" / "recipe.json"), tmp_path / "run")  # all steps are done
    assert json.loads(printed.out) == summary.to_dict() | {"seconds": json.loads(printed.out)["seconds"]} | {
        key: json.loads(printed.out)[key] for key in ("samples_per_s",)
    }
    assert summary["top1"] == summary.to_dict()["top1"]


@pytest.mark.parametrize("name", sorted(set(package.__all__) - {"__version__"}))
def test_every_function_is_documented(name):
    assert getattr(package, name).__doc__


def test_the_python_interface():
    expected = {"train", "load", "evaluate", "export", "compress", "profile", "inspect", "embed", "check_data"}
    assert expected | {"reproduce", "create_model", "list_models"} <= set(package.__all__)
