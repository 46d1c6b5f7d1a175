"""The trainings of the benchmark of image sizes, what it records of them, and its processes."""

import os
import signal
import sys
import threading
import time
from dataclasses import replace

import pytest

APPEND = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"
SAVE = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: ((folder / "saved").touch(), sys.exit(1)))
(folder / "ready").touch()
time.sleep(60)
"""


@pytest.fixture
def run_all(benchmark_module):
    return benchmark_module("child_processes").run_all


def test_commands_run_in_their_order(run_all, tmp_path):
    run_all([[sys.executable, "-c", APPEND, str(tmp_path / "log"), letter] for letter in "abc"], 1)
    assert (tmp_path / "log").read_text() == "abc"


def test_a_failure_ends_the_others(run_all, tmp_path):
    commands = [[sys.executable, "-c", code, str(tmp_path)] for code in ("raise SystemExit(3)", SAVE)]
    with pytest.raises(SystemExit, match="raise SystemExit"):
        run_all(commands, 1)
    assert not (tmp_path / "ready").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_waits_for_the_checkpoint(run_all, tmp_path, number):
    def interrupt():
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_all([[sys.executable, "-c", SAVE, str(tmp_path)]], 2)
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize("setting", ["cifar10", "caltech20"])
def test_a_seed_trains_ten_networks_with_the_same_images_and_a_rising_one_with_more(
    benchmark_module, setting, tmp_path
):
    recipes = benchmark_module("resolution_recipes")
    base = recipes.SETTINGS[setting]
    found = recipes.variants(base, tmp_path, 1)
    assert len(found) == 10
    assert found["rising"].run.epochs == {"cifar10": 12, "caltech20": 72}[setting]
    found["rising"] = replace(found["rising"], run=replace(found["rising"].run, epochs=base.run.epochs))
    assert {(r.run.epochs, r.data.fraction, r.data.batch_size, r.run.seed) for r in found.values()} == {
        (base.run.epochs, base.data.fraction, base.data.batch_size, 1)
    }
    side = {"cifar10": 4, "caltech20": 16}[setting]
    assert found["6x10"].data.size == (6 * side, 10 * side)
    assert found["8"].data.size == found["rising"].data.size == (8 * side, 8 * side)
    assert found["many"].data.size == (16 * side, 16 * side)
    assert found["rising"].data.shapes == [(4, 4), (6, 6), (8, 8)]
    assert len(found["many"].data.shapes) == 8


@pytest.mark.slow  # imports all of the package
def test_what_is_recorded(benchmark_module):
    resolution = benchmark_module("resolution")
    table = {grid: dict.fromkeys(resolution.METHODS, 50.0) for grid in resolution.GRIDS}
    table["8"] |= {"rising": 49.0}
    one = {"table": table, "seconds": {"8": 100.0, "rising": 70.0}}
    other = {**one, "table": table | {"8": table["8"] | {"rising": 52.0, "ours": 52.0}}}
    found = resolution.result_of("cifar10", [one, other])
    assert found["table"]["8"]["ours"] == {"mean": 51, "std": 1.41}
    assert found["numbers"]["rising_time_share"] == 0.7
    assert found["numbers"]["rising_gain"] == 50.5 - 51
    assert set(found["target"]) < set(found["numbers"])


def test_the_goals(benchmark_module):
    resolution = benchmark_module("resolution")
    table = {grid: {"ours": 79, "interpolated": 76, "many": 80, "own": 80} for grid in resolution.GRIDS}
    table["8"] = {"ours": 80, "interpolated": 80, "many": 81, "own": 80}
    table["16"] = {"ours": 74, "interpolated": 70, "many": 79.5, "own": 81}
    assert resolution.goals(table) == {
        "own_size": 80,
        "ours_lost": 1,
        "ours_share_of_plain_loss": 0.6,
        "many_behind_own": 1.5,
        "many_gain_at_own_size": 1,
    }


def test_what_is_made_is_not_missing(benchmark_module, tmp_path):
    resolution = benchmark_module("resolution")
    seed = resolution.Seed(resolution.SETTINGS["cifar10"], tmp_path, tmp_path, 0)
    seed.folder.mkdir()
    for name in ("many", "at-16"):
        (seed.folder / f"{name}.json").write_text("1")
    assert set(seed.missing(0)) == {"rising", *resolution.GRIDS}
    assert seed.missing(1) == [f"tuned-{grid}" for grid in resolution.GRIDS if grid != "8"]
    assert seed.missing(2) == [f"at-{grid}" for grid in resolution.GRIDS if grid != "16"]
