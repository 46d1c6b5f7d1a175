"""A run that is killed at any instant goes on to end, on the CPU, in the same bits as one that never was."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import processes
import pytest

from resmlp.utils.files import read_json
from resmlp.utils.logger import read_metrics

STEPS_AN_EPOCH, STEPS = 8, 24
EVERYTHING = [
    *("--model.depth", "2", "--model.drop-path", "0.2", "--data.batch-size", "160", "--data.workers", "2"),
    *("--augment.policy", "rand", "--augment.mixup", "0.8", "--augment.cutmix", "1.0", "--augment.erasing", "0.25"),
    *("--run.epochs", "3", "--run.eval-every", "1", "--run.ema", "0.9", "--run.accumulate", "2", "--run.device", "cpu"),
    *("--run.quant-noise", "0.3"),
    *("--run.save-minutes", "0.0005", "--run.log-every", "1", "--run.log"),
]
TIMING = {"samples_per_s", "seconds"}


def start(folder: Path) -> BaseProcess:
    return processes.resmlp("train", "digits", "--out", folder, *EVERYTHING, log=folder.with_suffix(".log"))


def kill_when(process: BaseProcess, instant: Callable[[], bool], alone: bool = False, seconds: float = 90) -> None:
    """SIGKILL the process as soon as `instant()` holds, with its loader's workers or alone."""
    end = time.monotonic() + seconds
    while not instant():
        assert process.exitcode is None, f"the run ended before the instant to kill it: {process.exitcode}"
        assert time.monotonic() < end, "the instant never came"
        time.sleep(0.001)
    process.kill() if alone else os.killpg(process.pid, signal.SIGKILL)
    assert processes.end(process) == -signal.SIGKILL


def saved_steps(folder: Path) -> list[int]:
    return [int(path.name[5:]) for path in (folder / "checkpoints").glob("step-*")]


def lines_of(folder: Path, kind: str) -> list[dict]:
    return [entry for entry in read_metrics(folder) if entry["kind"] == kind]


def content(folder: Path) -> dict[str, bytes]:
    """The results of a finished run that must not depend on interruptions."""
    last = max(folder.glob("checkpoints/step-*"))
    files = [folder / "model.safetensors", folder / "model.json", *last.glob("*.safetensors"), last / "optimizer.pt"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def timeless(value):
    """The value without measured times."""
    if isinstance(value, dict):
        return {key: timeless(inner) for key, inner in value.items() if key not in TIMING}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.slow
def test_a_run_killed_repeatedly_is_bit_identical(tmp_path):
    whole, torn, rng = tmp_path / "whole", tmp_path / "torn", random.Random(20260421)
    assert processes.end(start(whole)) == 0, (tmp_path / "whole.log").read_text()

    def in_first_epoch() -> bool:
        return max(saved_steps(torn), default=0) >= first

    def evaluated() -> bool:  # the line is written before the checkpoint is
        return any(entry["step"] == 2 * STEPS_AN_EPOCH for entry in lines_of(torn, "eval"))

    def while_saving() -> bool:
        late = max(saved_steps(torn), default=0) >= STEPS - 5
        return late or (saving_from in saved_steps(torn) and any(torn.glob("checkpoints/.step-*.part")))

    first, saving_from = rng.randrange(2, STEPS_AN_EPOCH - 2), rng.randrange(2 * STEPS_AN_EPOCH + 1, STEPS - 6)
    for instant in (in_first_epoch, evaluated, while_saving):
        # the workers of the first outlive it, and must not hold the folder's lock
        kill_when(start(torn), instant, alone=instant is in_first_epoch)
        assert not (torn / "model.safetensors").exists()
    assert processes.end(start(torn)) == 0, (tmp_path / "torn.log").read_text()

    assert content(torn) == content(whole)
    assert timeless(read_json(torn / "summary.json")) == timeless(read_json(whole / "summary.json"))
    assert timeless(read_metrics(torn)) == timeless(read_metrics(whole))
    assert not list(torn.rglob("*.part"))
    assert "continuing after step" in (tmp_path / "torn.log").read_text()


@pytest.mark.parametrize("step", [2, 4, 7], ids=["mid-epoch", "at the end of an epoch", "second epoch"])
def test_ctrl_c_saves_and_the_same_command_continues(tmp_path, whole, digits, interrupt_at, capsys, step):
    folder = tmp_path / "stopped"
    interrupt_at(step)
    assert digits(folder) == 130
    assert saved_steps(folder)[-1] == step + 1
    assert not (folder / "summary.json").exists()
    err = capsys.readouterr().err
    assert "saving a checkpoint" in err
    assert "Traceback" not in err
    assert digits(folder) == 0
    assert f"continuing after step {step + 1} of 10" in capsys.readouterr().err
    assert content(folder) == content(whole)
    assert timeless(read_metrics(folder)) == timeless(read_metrics(whole))


@pytest.mark.parametrize("step", [1, 7])
def test_a_line_of_the_log_has_the_steps_before_an_interruption(tmp_path, digits, interrupt_at, step):
    flags = ("--run.log-every", "4")
    assert digits(tmp_path / "undisturbed", *flags) == 0
    interrupt_at(step)
    assert digits(tmp_path / "stopped", *flags) == 130
    assert digits(tmp_path / "stopped", *flags) == 0
    lines = [lines_of(tmp_path / name, "train") for name in ("stopped", "undisturbed")]
    assert [line["step"] for line in lines[0]] == [4, 5, 8, 10]
    for own, other in zip(*map(timeless, lines), strict=True):
        assert own.pop("loss") == pytest.approx(other.pop("loss"), rel=1e-6)
        assert own == other


@pytest.mark.parametrize("step", [2, 7], ids=["while the trunk is frozen", "after"])
def test_fine_tuning_continues_bit_identically(tmp_path, whole, digits, interrupt_at, step):
    """Another size, layer decay, a frozen trunk in the first of two epochs."""
    start = ("--model.checkpoint", str(whole), "--data.img-size", "12")
    flags = (*start, "--optim.layer-decay", "0.7", "--optim.freeze-epochs", "1")
    assert digits(tmp_path / "tuned", *flags) == 0
    interrupt_at(step)
    assert digits(tmp_path / "stopped", *flags) == 130
    assert digits(tmp_path / "stopped", *flags) == 0
    assert content(tmp_path / "stopped") == content(tmp_path / "tuned")


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 7], ids=["while the trunk is frozen", "after"])
def test_muon_continues_bit_identically(tmp_path, digits, interrupt_at, step):
    """Both optimizers are in one file, whose bytes are compared too; a frozen trunk has no state at first."""
    flags = ("--optim.name", "muon", "--optim.layer-decay", "0.7", "--optim.freeze-epochs", "1")
    assert digits(tmp_path / "whole", *flags) == 0
    interrupt_at(step)
    assert digits(tmp_path / "stopped", *flags) == 130
    assert digits(tmp_path / "stopped", *flags) == 0
    assert content(tmp_path / "stopped") == content(tmp_path / "whole")


def test_sigterm_saves_as_ctrl_c_does(tmp_path, digits, interrupt_at):
    interrupt_at(3, signal.SIGTERM)
    assert digits(tmp_path / "run") == 143
    assert saved_steps(tmp_path / "run") == [4]


@pytest.mark.parametrize("step", [4, 9], ids=["after the first epoch", "after the last"])
def test_a_signal_ends_an_evaluation_which_the_same_command_repeats(tmp_path, whole, digits, interrupt_at, step):
    folder = tmp_path / "run"
    interrupt_at(step)
    assert digits(folder) == 130
    assert saved_steps(folder)[-1] == step + 1
    assert not [entry for entry in lines_of(folder, "eval") if entry["step"] > step]
    assert digits(folder) == 0
    assert content(folder) == content(whole)
    assert timeless(read_metrics(folder)) == timeless(read_metrics(whole))
    assert timeless(read_json(folder / "summary.json")) == timeless(read_json(whole / "summary.json"))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *(
            (name, damage)
            for name in ("raw.safetensors", "optimizer.pt", "progress.json")
            for damage in ("flip", "cut")
        ),
        *(("progress.json", damage) for damage in ("step", "seconds", "null")),
    ],
)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_continues(
    tmp_path, whole, digits, interrupt_at, capsys, name, damage
):
    folder = tmp_path / "run"
    interrupt_at(7)
    assert digits(folder) == 130
    assert saved_steps(folder) == [5, 8]
    file = folder / "checkpoints" / "step-00000008" / name
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    elif damage == "cut":
        del data[-9:]
    else:
        values = json.loads(data)
        values |= {"step": {"step": 10**9}, "seconds": {"seconds": -1}, "null": {"step": None}}[damage]
        data = json.dumps(values).encode()
    file.write_bytes(data)
    assert digits(folder) == 0
    err = capsys.readouterr().err
    assert "step-00000008 is damaged" in err
    assert "continuing after step 5 of 10" in err
    assert (folder / "checkpoints" / "damaged-00000008").is_dir()
    assert content(folder) == content(whole)


def test_a_log_that_is_a_folder_is_an_error_in_one_line(stopped, digits, capsys):
    (stopped / "metrics.jsonl").unlink()
    (stopped / "metrics.jsonl").mkdir()
    assert digits(stopped) == 2
    assert "metrics.jsonl is a folder, not a file" in capsys.readouterr().err.splitlines()[-1]


def test_incomplete_files_of_a_kill_are_removed(stopped, whole, digits):
    part = stopped / "checkpoints" / ".step-00000004.part"
    part.mkdir()
    (part / "raw.safetensors").write_bytes(b"\x10\x00")
    with (stopped / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 4, "lo')
    assert digits(stopped) == 0
    assert not part.exists()
    assert content(stopped) == content(whole)
    assert timeless(read_metrics(stopped)) == timeless(read_metrics(whole))
    text = (stopped / "metrics.jsonl").read_text()
    assert '{"kind": "train", "step": 4, "lo\n' in text, "lines are never rewritten"
    assert text.endswith("}\n")


def corrupt(kind: str, file: Path) -> None:
    data = file.read_bytes()
    if kind == "missing":
        file.unlink()
    else:
        file.write_bytes(
            {"cut": data[: len(data) // 2], "empty": b"", "garbage": b"\x80\x05no" * 99, "[]": b"[]"}[kind]
        )


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("raw.safetensors", kind) for kind in ("cut", "empty", "garbage", "missing")),
        *(("optimizer.pt", kind) for kind in ("cut", "empty", "garbage", "missing")),
        *(("progress.json", kind) for kind in ("cut", "empty", "[]", "missing")),
    ],
)
def test_a_corrupt_checkpoint_is_an_error_in_one_line(tmp_path, stopped, digits, capsys, name, kind):
    corrupt(kind, stopped / "checkpoints" / "step-00000003" / name)
    capsys.readouterr()
    code, err = digits(stopped), capsys.readouterr().err
    line = err[err.index("error: ") :]
    assert code == 2, line
    assert line.count("\n") == 1, line
    assert "step-00000003" in line
    assert (stopped / "checkpoints" / "step-00000003").is_dir(), "nothing is deleted for the user"


def test_a_checkpoint_of_another_network_is_an_error_in_one_line(tmp_path, stopped, digits, capsys):
    other = tmp_path / "other"
    shutil.copytree(stopped / "checkpoints", other / "checkpoints")
    capsys.readouterr()
    code, err = digits(other, "--model.depth", "2"), capsys.readouterr().err
    line = err[err.index("error: ") :]
    assert code == 2
    assert line.count("\n") == 1, line
    assert "step-00000003" in line
