"""`resmlp plan`: against published counts, a measurement of ours, and arithmetic by hand."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmlp.analysis.planning.figures import GPUS, measured_figure
from resmlp.analysis.planning.plan import plan_run
from resmlp.analysis.planning.work import count_work
from resmlp.cli.main import main
from resmlp.config.place import Place
from resmlp.recipes import RECIPES
from resmlp.utils.errors import UserError

ROOT = Path(__file__).parents[3]
S12 = RECIPES["imagenet-s12"]


def test_the_work_of_an_image_is_that_of_the_paper():
    work = count_work(S12)
    assert work.parameters / 1e6 == pytest.approx(15.351, abs=0.001)
    assert work.macs / 1e9 == pytest.approx(3.01, abs=0.01)
    assert work.operations == 6 * work.macs


def test_activations_are_those_that_were_measured():
    measured = measured_figure("activation_bytes_resmlp_s12").value
    image = 4 * 3 * 224 * 224  # is kept as well, and counted with the images
    assert count_work(S12).kept + image == pytest.approx(measured, rel=0.001)
    compiled = replace(S12, run=replace(S12.run, compile=True))
    plain = json.loads((ROOT / "results" / "training_step.json").read_text())["kept_bytes"]["autograd"] / 8
    assert count_work(compiled).kept + image == pytest.approx(plain, rel=0.001)


def test_dino_counts_every_view():
    """Two large views by student and teacher, eight small ones of the same size by the student (resize)."""
    dino = RECIPES["dino"]
    work, trunk = count_work(dino), count_work(S12)
    head = 384 * 2048 + 2048 * 2048 + 2048 * 256 + 256 * 65536
    trunk_macs = trunk.macs - 384 * 1000
    assert work.macs == pytest.approx(10 * (trunk_macs + head), rel=1e-3)
    assert work.frozen_macs == pytest.approx(2 * (trunk_macs + head), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar10", "ade20k"])
def test_other_recipes_are_planned(name):
    plan = plan_run(RECIPES[name], Place(2, images=10_000, image_kb=50))
    assert plan.hours > 0
    assert plan.memory.total > 0


def test_a_plan_by_hand():
    """With everything given: 2 GPUs at half of the peak, 1,000 images of 100 KB, two links of 10 Gbit/s."""
    recipe = replace(S12, run=replace(S12.run, epochs=3))
    place = Place(2, "h100", mfu=0.5, images=1_000_000, image_kb=100, storage=1e6, network=1e6)
    plan, work = plan_run(replace(recipe, data=replace(recipe.data, workers=1000)), place), count_work(recipe)
    speed = 0.5 * 989e12 / (6 * work.macs)
    assert plan.bottleneck == "computing"
    assert plan.images_per_s == pytest.approx(2 * speed)
    assert plan.hours == pytest.approx(3 * 1_000_000 / (2 * speed) / 3600)
    assert plan.step_s == pytest.approx(1024 / speed)
    assert plan.step_bytes == 4 * work.parameters, "2 (N - 1) / N is 1 for two GPUs"
    assert plan.network_bits_per_s == pytest.approx(32 * work.parameters / plan.step_s)
    assert plan.storage_bytes_per_s == pytest.approx(2 * speed * 100_000)
    weights = 4 * work.parameters
    assert plan.memory.weights + plan.memory.gradients + plan.memory.optimizer + plan.memory.averages == weights * (
        1 + 2 + 2 + 1  # gradients with the buckets for their sums, two moments of LAMB, the average of the weights
    )
    assert plan.memory.activations == 1024 * work.kept


def test_a_published_speed_is_that_of_its_own_gpu():
    plan = plan_run(S12, Place(1, "rtx3090"))
    assert plan.speeds["computing"] == pytest.approx(1577.31), "timm's measurement"
    fp32 = replace(S12, run=replace(S12.run, precision="fp32"))
    forward = 3 * plan_run(fp32, Place(1, "v100")).speeds["computing"]
    assert forward == pytest.approx(1415, rel=1e-3), "Table 1"
    assert plan_run(S12, Place(1, "h100")).speeds["computing"] / 1577.31 == pytest.approx(3.35 / 0.936), "its memory"


@pytest.mark.parametrize(
    ("place", "workers", "expected"),
    [
        ({}, 1, "decoding"),
        ({"storage": 10}, 100, "storage"),
        ({"gpus": 64, "network": 1}, 100, "network"),
        ({"gpus": 64}, 100, "computing"),
    ],
)
def test_the_bottleneck_is_named_with_what_to_do(place, workers, expected):
    recipe = replace(S12, data=replace(S12.data, workers=workers))
    plan = plan_run(recipe, Place(**place))
    assert plan.bottleneck == expected
    line = next(line for line in str(plan).splitlines() if line.startswith("bottleneck"))
    assert expected in line
    assert (expected == "computing") or "(" in line


def test_a_network_that_does_not_fit_is_said():
    assert "memory: the GPU has less, counted in fp32 (--run.accumulate" in str(
        plan_run(RECIPES["imagenet-s12"], Place(1, "l4"))
    )


def test_images_are_counted_in_the_data(tmp_path, capsys):
    for name in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / name).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(tmp_path / name / f"{i}.png")
    sizes = [path.stat().st_size for path in tmp_path.glob("train/*/*.png")]
    assert main(["plan", "folder", "--data.root", str(tmp_path), "--data.batch-size", "8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["images"], found["image_bytes"]) == (8, pytest.approx(np.mean(sizes)))


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["folder"], "the number of images of folder is not known (give --images N and --image-kb KB"),
        (["numbers"], "numbers translates text"),
        (["imagenet-s12", "--gpus", "0"], "--gpus 0"),
        (["imagenet-s12", "--gpus", "4096"], "--data.batch-size 2048 over 4096 parts"),
        (["imagenet-s12", "--gpu", "h300"], "unknown GPU 'h300'"),
        (["imagenet-s12", "--gpu", "v100"], "V100 SXM2 has no units for bf16 (add --run.precision fp32)"),
        (["imagenet-s12", "--mfu", "1.5"], "--mfu 1.5"),
        (["distill-cifar10"], "no model at runs/cifar10-teacher"),
        ([], "plan needs a recipe before its flags"),
    ],
)
def test_what_cannot_be_planned(args, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["plan", *args]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert says in error


def test_the_help_names_all_gpus(capsys):
    with pytest.raises(SystemExit):
        main(["plan", "imagenet-s12", "--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name in GPUS:
        assert name in text


def test_too_large_networks_are_refused_without_a_plan():
    with pytest.raises(UserError, match="timm"):
        count_work(RECIPES["ade20k-deit-s"])


@pytest.mark.slow
def test_the_figures_and_tables_are_those_of_the_results():
    ended = subprocess.run([sys.executable, ROOT / "docs" / "plan.py", "--check"], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    for figure in json.loads((ROOT / "resmlp" / "analysis" / "planning" / "measured.json").read_text()).values():
        assert re.match(r"results/\w+\.json \([\w ]+; \d+ threads?\)", figure["source"])
