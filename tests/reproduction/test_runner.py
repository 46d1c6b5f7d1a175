"""Skipping, continuing and failing rows with a replaced training; and one real row."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from resmlp.cli.main import main
from resmlp.reproduction import runner, small, smoke
from resmlp.reproduction.reproduce import reproduce
from resmlp.reproduction.runner import Request, run_request
from resmlp.tasks import complete
from resmlp.training.train import check_same_recipe
from resmlp.utils.errors import UserError
from resmlp.utils.files import write_json
from resmlp.utils.serialization import to_dict


@pytest.fixture
def runs(monkeypatch):
    """The (folder, recipe) of each training, which is replaced by writing its summary."""
    trained = []

    def train(recipe, folder):
        trained.append((folder, recipe))
        folder.mkdir(parents=True)
        last = {"raw": {"weights": "raw", "epoch": 1, "step": 3, "top1": 0.5 + recipe.run.seed / 10, "miou": 0.3}}
        (folder / "summary.json").write_text(json.dumps({"last": last, "weights": "raw", "seconds": 2.0}))

    monkeypatch.setattr(runner, "train", train)
    return trained


def no_scores(*args, **options):
    """A replaced evaluation."""
    return {"knn": 0.4, "linear": 0.5}


def request_for(out: Path, table="table3", **options) -> Request:
    return Request(table, "smoke", smoke.PLANS, out, "cpu", evaluate=no_scores, **options)


def place(folder: Path, out: Path) -> str:
    return str(folder.relative_to(out))


def test_rows_and_seeds_are_run_once(tmp_path, runs):
    record = run_request(request_for(tmp_path, rows=("s12", "none"), seeds=(0, 1)))
    expected = [f"table3/smoke/{row}/seed-{seed}" for seed in (0, 1) for row in ("s12", "none")]
    assert [place(folder, tmp_path) for folder, _ in runs] == expected
    assert [recipe.run.seed for _, recipe in runs] == [0, 0, 1, 1]
    assert record.rows[0].ours["top1"].mean == pytest.approx(0.55)
    assert run_request(request_for(tmp_path, rows=("none",), seeds=(0, 1))).numbers == record.numbers
    assert len(runs) == 4
    assert {path.name for path in tmp_path.iterdir()} == {
        *(".lock", "table3"),
        *(f"table3-smoke.{e}" for e in ("json", "md", "html")),
    }
    assert json.loads((tmp_path / "table3-smoke.json").read_text())["numbers"] == record.numbers


def test_needed_runs_are_first_and_shared(tmp_path, runs, monkeypatch):
    monkeypatch.setattr(runner, "check_same_recipe", lambda recipe, folder: None)
    monkeypatch.setattr(runner, "final_recipe", lambda plan, request, seed, start, teacher: plan.recipe)
    run_request(request_for(tmp_path, rows=("ssl", "distill")))
    expected = ["table2/smoke/s12", "table3/smoke/ssl", "table3/smoke/conv3x3", "table3/smoke/distill"]
    assert [place(folder.parent, tmp_path) for folder, _ in runs] == expected
    record = run_request(request_for(tmp_path, "table2", rows=("s12",)))
    assert len(runs) == 4  # ssl has started from DINO's run
    assert record.rows[4].ours["knn"].mean == 0.4


@pytest.mark.parametrize(("error", "raised"), [(UserError("no", "yes"), UserError), (ValueError("no"), RuntimeError)])
def test_other_rows_run_after_a_row_that_fails(tmp_path, runs, monkeypatch, error, raised):
    working = runner.train

    def train(recipe, folder):
        if "none" in str(folder):
            raise error
        working(recipe, folder)

    monkeypatch.setattr(runner, "train", train)
    with pytest.raises(raised, match=r"1 of 3 rows of table3 failed: none: no"):
        run_request(request_for(tmp_path, rows=("s12", "none", "mlp"), seeds=(0, 1)))
    assert [place(folder, tmp_path) for folder, _ in runs].count("table3/smoke/mlp/seed-1") == 1
    assert "none failed: no" in (tmp_path / "table3-smoke.md").read_text()
    monkeypatch.setattr(runner, "train", working)
    record = run_request(request_for(tmp_path, rows=("s12", "none", "mlp"), seeds=(0, 1)))
    assert record.numbers.keys() == {"s12", "none", "mlp"}
    assert "failed" not in (tmp_path / "table3-smoke.md").read_text()
    assert len(runs) == 6


def test_ctrl_c_keeps_finished_rows(tmp_path, runs, monkeypatch):
    working = runner.train

    def train(recipe, folder):
        if "none" in str(folder):
            raise KeyboardInterrupt
        working(recipe, folder)

    monkeypatch.setattr(runner, "train", train)
    with pytest.raises(KeyboardInterrupt):
        run_request(request_for(tmp_path, rows=("s12", "none", "mlp")))
    assert json.loads((tmp_path / "table3-smoke.json").read_text())["numbers"] == {"s12": 0.5}
    assert len(runs) == 1


def test_a_moved_folder_continues_without_new_training(tmp_path, runs, monkeypatch):
    """Recipes have the absolute paths of other runs, from before the move."""
    working = runner.train

    def train(recipe, folder):
        working(recipe, folder)
        write_json(folder / "recipe.json", to_dict(recipe))
        (folder / "checkpoints" / "step-00000003").mkdir(parents=True)

    monkeypatch.setattr(runner, "train", train)
    old, new = tmp_path / "old", tmp_path / "new"
    run_request(request_for(old, rows=("distill",)))
    assert len(runs) == 2
    folder = Path("table3/smoke/distill/seed-0")
    assert json.loads((old / folder / "recipe.json").read_text())["task"]["teacher"].startswith(str(old))
    old.rename(new)
    run_request(request_for(new, rows=("distill",)))  # measured
    (new / folder / "measured.json").unlink()
    run_request(request_for(new, rows=("distill",)))  # finished
    assert len(runs) == 2
    (new / folder / "measured.json").unlink()
    (new / folder / "summary.json").unlink()
    monkeypatch.setattr(runner, "train", lambda recipe, at: (check_same_recipe(recipe, at), working_again(recipe, at)))

    def working_again(recipe, at):
        assert recipe.task.teacher.startswith(str(new))
        runs.append((at, recipe))
        (at / "summary.json").write_text(json.dumps({"last": {"raw": {"top1": 0.5}}, "weights": "raw", "seconds": 2.0}))

    run_request(request_for(new, rows=("distill",)))  # stopped
    assert len(runs) == 3


def test_a_finished_run_is_kept_though_its_precision_was_auto(tmp_path, runs, monkeypatch):
    """Its recipe.json has the precision that was chosen."""
    working = runner.train

    def train(recipe, folder):
        working(recipe, folder)
        write_json(folder / "recipe.json", to_dict(complete(recipe, None)))
        (folder / "checkpoints" / "step-00000003").mkdir(parents=True)

    monkeypatch.setattr(runner, "train", train)
    (tmp_path / "cifar10").mkdir()
    request = Request("table3", "small", small.PLANS, tmp_path / "out", "cpu", tmp_path, ("conv3x3", "distill"))
    assert small.PLANS["table3"]["distill"].recipe.run.precision == "auto"
    assert run_request(replace(request, evaluate=no_scores)).numbers.keys() == {"conv3x3", "distill"}
    assert len(runs) == 2


def test_finished_rows_need_no_data(tmp_path, finish):
    finish("table3", "none", 0, top1=0.5)
    request = Request("table3", "small", small.PLANS, tmp_path, "cpu", rows=("none",))
    assert run_request(request).numbers == {"none": 0.5}


def test_the_hint_without_finished_rows(tmp_path, runs, monkeypatch):
    def fail(recipe, folder):
        raise UserError("no", "yes")

    monkeypatch.setattr(runner, "train", fail)
    with pytest.raises(UserError) as caught:
        run_request(request_for(tmp_path, rows=("s12", "none")))
    assert caught.value.hint == "fix this and run the same command again"


def test_other_rows_run_after_a_page_that_cannot_be_written(tmp_path, runs, monkeypatch):
    working, calls = runner.write_pages, []

    def write_pages(*args):
        calls.append(args)
        if len(calls) == 2:
            raise UserError("cannot write the page", "make room")
        return working(*args)

    monkeypatch.setattr(runner, "write_pages", write_pages)
    with pytest.raises(UserError, match="1 of 2 rows of table3 failed: s12: cannot write the page"):
        run_request(request_for(tmp_path, rows=("s12", "none")))
    assert json.loads((tmp_path / "table3-smoke.json").read_text())["numbers"] == {"s12": 0.5, "none": 0.5}


def test_one_process_at_a_time_in_a_folder(tmp_path, capsys):
    code = "import sys, pathlib\nfrom resmlp.utils.files import only_writer\n"
    code += "with only_writer(pathlib.Path(sys.argv[1]), 'reads'):"
    code += "\n    print(flush=True)\n    sys.stdin.read()"
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert main(["reproduce", "table3", "--row", "none", "--out", str(tmp_path)]) == 2
        other.stdin.close()
    assert "another process reproduces into" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": ("b24",)}, "b24 is not run at small scale: .* .--row takes s12, .*ssl, distill"),
        ({"rows": ("none",)}, "needs --data.root .a folder that holds cifar10/"),
        ({"rows": ("none",), "root": Path("/nowhere")}, "--data.root /nowhere has no cifar10/"),
    ],
)
def test_a_request_is_checked_before_anything_runs(tmp_path, runs, options, message):
    with pytest.raises(UserError, match=message):
        run_request(Request("table3", "small", small.PLANS, tmp_path, "cpu", **options))
    assert not list(tmp_path.iterdir())


def test_the_root_may_be_the_only_data_set(tmp_path):
    (tmp_path / "train").mkdir()
    single = Request("table3", "small", small.PLANS, tmp_path / "out", "cpu", tmp_path)
    assert single.data_folder("cifar10") == tmp_path
    several = Request("table4", "small", small.PLANS, tmp_path / "out", "cpu", tmp_path)
    with pytest.raises(UserError, match=r"has no caltech20/ .a folder that holds caltech20/, cifar10/"):
        several.data_folder("caltech20")


def test_a_row_from_the_command_line(tmp_path, capsys):
    words = ["reproduce", "table3", "--row", "none", "s12", "--out", str(tmp_path), "--json", "--device", "cpu"]
    assert main(words) == 0
    printed = json.loads(capsys.readouterr().out)
    summary = json.loads((tmp_path / "table3/smoke/none/seed-0/summary.json").read_text())
    assert printed["numbers"]["none"] == pytest.approx(summary["last"][summary["weights"]]["top1"], abs=1e-6)
    assert printed["machine"]
    result = reproduce("table3", rows=["none", "s12"], out=tmp_path, device="cpu")  # finished: nothing is trained
    assert result.to_dict() == printed
    assert json.loads((tmp_path / "table3-smoke.json").read_text()) == printed
    assert main([word for word in words if word != "--json"]) == 0
    assert capsys.readouterr().out == f"{result}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table7"], "unknown table 'table7'"),
        (["table3", "--row", "conv"], "unknown row 'conv'"),
        (["table3", "--seeds", "-1"], "--seeds -1"),
        (["table3", "--scale", "tiny"], "--scale"),
        (["table3", "--scale", "small"], "needs --data.root"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, words, message):
    assert main(["reproduce", *words, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
