"""Published weights by their names, on the command line, from a hub of our own."""

import json
from typing import NamedTuple

import numpy as np
import processes
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save


class Ended(NamedTuple):
    """How a process ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def theirs():
    """timm's network with random weights whose logits differ from class to class."""
    torch.manual_seed(0)
    network = timm.create_model("resmlp_12_224").eval()
    torch.nn.init.normal_(network.head.weight)
    return network


@pytest.fixture(scope="module")
def content(theirs):
    return save({key: tensor.contiguous() for key, tensor in theirs.state_dict().items()})


@pytest.fixture
def run(hub, tmp_path, monkeypatch):
    """`resmlp ARGS` in a process with the hub of the test; returns its end."""

    def call(*args: str, **env: str) -> Ended:
        out, err = tmp_path / "out", tmp_path / "err"
        for file in (out, err):
            file.unlink(missing_ok=True)
        monkeypatch.chdir(tmp_path)
        environ = hub.env(tmp_path / "hf") | env
        process = processes.resmlp(*args, log=out, errors=err, env=environ, anew=["huggingface_hub"])
        return Ended(processes.end(process), out.read_text(), err.read_text())

    return call


@pytest.fixture
def image(tmp_path):
    """An image of 256 x 256, of which a crop ratio of 0.875 takes the center as it is."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((256, 256), Image.Resampling.BICUBIC)
    image.save(tmp_path / "image.png")
    return image


def one_line(ended) -> str:
    assert ended.returncode == 2, ended
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("error: ")
    return ended.stderr


def test_published_weights_predict_what_timm_does(run, hub, image, theirs, content):
    hub.add("timm/resmlp_12_224.fb_distilled_in1k", {"model.safetensors": content})
    for name, env in (
        ("resmlp_s12.fb_distilled_in1k", {}),
        ("resmlp_12_224.fb_distilled_in1k", {"HF_HUB_OFFLINE": "1"}),
    ):
        ended = run("predict", name, "image.png", "--json", "--top", "2", **env)
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr == ""
        (found,) = json.loads(ended.stdout)["predictions"]
        transform = timm.data.create_transform((3, 224, 224), crop_pct=0.9, interpolation="bicubic")
        with torch.inference_mode():
            best = theirs(transform(image)[None]).softmax(1)[0].topk(2)
        info = timm.data.ImageNetInfo("imagenet-1k")
        words = [info.index_to_description(int(i)).split(",")[0] for i in best.indices]
        numbers = [info.index_to_label_name(int(i)) for i in best.indices]
        assert list(found["probabilities"]) == [f"{w} ({n})" for w, n in zip(words, numbers)]
        assert list(found["probabilities"].values()) == pytest.approx(best.values.tolist(), rel=1e-3)


def test_predict_gives_features_where_there_is_no_classifier(run, hub, image, theirs, content):
    hub.add("timm/resmlp_12_224.fb_dino", {"model.safetensors": content})
    assert run("predict", "resmlp_s12.fb_dino", "image.png").stdout == "image.png: 384 features\n"


def test_what_the_hub_lacks_is_named_with_a_way_out(run, hub, image):
    for env in ({}, {"HF_HUB_OFFLINE": "1"}):
        said = one_line(run("predict", "resmlp_s24.fb_in1k", "image.png", **env))
        assert "timm/resmlp_24_224.fb_in1k" in said
        assert "model.safetensors" in said


def test_a_damaged_download_is_refused_and_the_next_is_whole(run, hub, image, content):
    hub.add("timm/resmlp_12_224.fb_in1k", {"model.safetensors": content})
    hub.fault = "wrong"
    assert "resmlp_12_224.fb_in1k" in one_line(run("predict", "resmlp_s12.fb_in1k", "image.png"))
    hub.fault = None
    assert run("predict", "resmlp_s12.fb_in1k", "image.png").returncode == 0


def test_weights_are_listed(run):
    rows = json.loads(run("list", "weights", "--json").stdout)["weights"]
    assert len(rows) == 17
    s12 = next(row for row in rows if row["name"] == "resmlp_s12.fb_in1k")
    assert (s12["parameters"], s12["top1"], s12["real"], s12["v2"]) == (15_350_872, 0.766, 0.833, 0.644)
    assert all(row["license"] and row["source"].startswith("https://") for row in rows)
