"""Skipping, continuing, failing: with a training that costs nothing; and one row as it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from resmlp.cli.main import main
from resmlp.reproduction import runner, small, smoke
from resmlp.reproduction.runner import Order, reproduce
from resmlp.training.train import check_same_recipe
from resmlp.utils.errors import UserError
from resmlp.utils.files import write_json
from resmlp.utils.serialization import to_dict


@pytest.fixture
def runs(monkeypatch):
    """The runs that were asked for, (folder, recipe) each; each is finished at once."""
    asked = []

    def train(recipe, folder):
        asked.append((folder, recipe))
        folder.mkdir(parents=True)
        last = {"raw": {"weights": "raw", "epoch": 1, "step": 3, "top1": 0.5 + recipe.run.seed / 10, "miou": 0.3}}
        (folder / "summary.json").write_text(json.dumps({"last": last, "weights": "raw", "seconds": 2.0}))

    monkeypatch.setattr(runner, "train", train)
    return asked


def order(out: Path, table="table3", **others) -> Order:
    return Order(table, "smoke", smoke.PLANS, out, "cpu", lambda *a, **k: {"knn": 0.4, "linear": 0.5}, **others)


def quiet(text):
    """Tells nobody."""


def place(folder: Path, out: Path) -> str:
    return str(folder.relative_to(out))


def test_rows_and_seeds_are_run_once(tmp_path, runs):
    record = reproduce(order(tmp_path, rows=("s12", "none"), seeds=(0, 1)), quiet)
    expected = [f"table3/smoke/{row}/seed-{seed}" for seed in (0, 1) for row in ("s12", "none")]
    assert [place(folder, tmp_path) for folder, _ in runs] == expected
    assert [recipe.run.seed for _, recipe in runs] == [0, 0, 1, 1]
    assert record["rows"][0]["ours"]["top1"]["mean"] == pytest.approx(0.55)
    assert reproduce(order(tmp_path, rows=("none",), seeds=(0, 1)), quiet)["numbers"] == record["numbers"]
    assert len(runs) == 4
    assert {path.name for path in tmp_path.iterdir()} == {
        *(".lock", "table3"),
        *(f"table3-smoke.{e}" for e in ("json", "md", "html")),
    }
    assert json.loads((tmp_path / "table3-smoke.json").read_text())["numbers"] == record["numbers"]


def test_what_a_row_builds_on_is_run_first_and_shared(tmp_path, runs, monkeypatch):
    monkeypatch.setattr(runner, "check_same_recipe", lambda recipe, folder: None)
    monkeypatch.setattr(runner, "settled", lambda plan, order, seed, start, teacher: plan.recipe)
    reproduce(order(tmp_path, rows=("ssl", "distill")), quiet)
    expected = ["table2/smoke/s12", "table3/smoke/ssl", "table3/smoke/conv3x3", "table3/smoke/distill"]
    assert [place(folder.parent, tmp_path) for folder, _ in runs] == expected
    record = reproduce(order(tmp_path, "table2", rows=("s12",)), quiet)
    assert len(runs) == 4  # DINO's run is that which ssl started from
    assert record["rows"][4]["ours"]["knn"]["mean"] == 0.4


@pytest.mark.parametrize(("error", "raised"), [(UserError("no", "yes"), UserError), (ValueError("no"), RuntimeError)])
def test_a_row_that_fails_stops_no_other(tmp_path, runs, monkeypatch, error, raised):
    working = runner.train

    def train(recipe, folder):
        if "none" in str(folder):
            raise error
        working(recipe, folder)

    monkeypatch.setattr(runner, "train", train)
    with pytest.raises(raised, match=r"1 of 3 rows of table3 failed: none: no"):
        reproduce(order(tmp_path, rows=("s12", "none", "mlp"), seeds=(0, 1)), quiet)
    assert [place(folder, tmp_path) for folder, _ in runs].count("table3/smoke/mlp/seed-1") == 1
    assert "none failed: no" in (tmp_path / "table3-smoke.md").read_text()
    monkeypatch.setattr(runner, "train", working)
    record = reproduce(order(tmp_path, rows=("s12", "none", "mlp"), seeds=(0, 1)), quiet)
    assert record["numbers"].keys() == {"s12", "none", "mlp"}
    assert "failed" not in (tmp_path / "table3-smoke.md").read_text()
    assert len(runs) == 6


def test_ctrl_c_leaves_what_is_done(tmp_path, runs, monkeypatch):
    working = runner.train

    def train(recipe, folder):
        if "none" in str(folder):
            raise KeyboardInterrupt
        working(recipe, folder)

    monkeypatch.setattr(runner, "train", train)
    with pytest.raises(KeyboardInterrupt):
        reproduce(order(tmp_path, rows=("s12", "none", "mlp")), quiet)
    assert json.loads((tmp_path / "table3-smoke.json").read_text())["numbers"] == {"s12": 0.5}
    assert len(runs) == 1


def test_a_folder_that_was_moved_goes_on_without_training_anew(tmp_path, runs, monkeypatch):
    """Recipes name other runs by their absolute paths, which are those of the folder before it was moved."""
    working = runner.train

    def train(recipe, folder):
        working(recipe, folder)
        write_json(folder / "recipe.json", to_dict(recipe))
        (folder / "checkpoints" / "step-00000003").mkdir(parents=True)

    monkeypatch.setattr(runner, "train", train)
    old, new = tmp_path / "old", tmp_path / "new"
    reproduce(order(old, rows=("distill",)), quiet)
    assert len(runs) == 2
    folder = Path("table3/smoke/distill/seed-0")
    assert json.loads((old / folder / "recipe.json").read_text())["task"]["teacher"].startswith(str(old))
    old.rename(new)
    reproduce(order(new, rows=("distill",)), quiet)  # measured
    (new / folder / "measured.json").unlink()
    reproduce(order(new, rows=("distill",)), quiet)  # finished
    assert len(runs) == 2
    (new / folder / "measured.json").unlink()
    (new / folder / "summary.json").unlink()
    monkeypatch.setattr(runner, "train", lambda recipe, at: (check_same_recipe(recipe, at), working_again(recipe, at)))

    def working_again(recipe, at):
        assert recipe.task.teacher.startswith(str(new))
        runs.append((at, recipe))
        (at / "summary.json").write_text(json.dumps({"last": {"raw": {"top1": 0.5}}, "weights": "raw", "seconds": 2.0}))

    reproduce(order(new, rows=("distill",)), quiet)  # stopped
    assert len(runs) == 3


def test_finished_rows_need_no_data(tmp_path, finish):
    finish("table3", "none", 0, top1=0.5)
    small_order = Order("table3", "small", small.PLANS, tmp_path, "cpu", lambda *a: {}, rows=("none",))
    assert reproduce(small_order, quiet)["numbers"] == {"none": 0.5}


def test_where_nothing_is_done_nothing_is_said_to_be(tmp_path, runs, monkeypatch):
    def fail(recipe, folder):
        raise UserError("no", "yes")

    monkeypatch.setattr(runner, "train", fail)
    with pytest.raises(UserError) as caught:
        reproduce(order(tmp_path, rows=("s12", "none")), quiet)
    assert caught.value.hint == "once that is mended, the same command goes on"


def test_a_page_that_cannot_be_written_stops_no_row(tmp_path, runs, monkeypatch):
    working, calls = runner.write_pages, []

    def write_pages(*args):
        calls.append(args)
        if len(calls) == 2:
            raise UserError("cannot write the page", "make room")
        return working(*args)

    monkeypatch.setattr(runner, "write_pages", write_pages)
    with pytest.raises(UserError, match="1 of 2 rows of table3 failed: s12: cannot write the page"):
        reproduce(order(tmp_path, rows=("s12", "none")), quiet)
    assert json.loads((tmp_path / "table3-smoke.json").read_text())["numbers"] == {"s12": 0.5, "none": 0.5}


def test_two_at_once_in_one_folder_are_told(tmp_path, capsys):
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
    ("others", "message"),
    [
        ({"rows": ("b24",)}, "b24 is not run at small scale: .* .--row takes s12, .*ssl, distill"),
        ({"rows": ("none",)}, "needs --data.root .a folder that holds cifar10/"),
        ({"rows": ("none",), "root": Path("/nowhere")}, "--data.root /nowhere has no cifar10/"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_is(tmp_path, runs, others, message):
    with pytest.raises(UserError, match=message):
        reproduce(Order("table3", "small", small.PLANS, tmp_path, "cpu", lambda *a: {}, **others), quiet)
    assert not list(tmp_path.iterdir())


def test_the_root_may_be_the_only_set_itself(tmp_path):
    (tmp_path / "train").mkdir()
    own = Order("table3", "small", small.PLANS, tmp_path / "out", "cpu", lambda *a: {}, tmp_path)
    assert own.place_of("cifar10") == tmp_path
    several = Order("table4", "small", small.PLANS, tmp_path / "out", "cpu", lambda *a: {}, tmp_path)
    with pytest.raises(UserError, match=r"has no caltech20/ .a folder that holds caltech20/, cifar10/"):
        several.place_of("caltech20")


def test_a_row_from_the_command_line(tmp_path, capsys):
    words = ["reproduce", "table3", "--row", "none", "s12", "--out", str(tmp_path), "--json", "--device", "cpu"]
    assert main(words) == 0
    printed = json.loads(capsys.readouterr().out)
    summary = json.loads((tmp_path / "table3/smoke/none/seed-0/summary.json").read_text())
    assert printed["numbers"]["none"] == pytest.approx(summary["last"][summary["weights"]]["top1"], abs=1e-6)
    assert printed["machine"]
    assert main(words) == 0
    again = json.loads(capsys.readouterr().out)
    assert again == printed  # nothing was run, so no time was taken


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table7"], "unknown table 'table7'"),
        (["table3", "--row", "conv"], "unknown row 'conv'"),
        (["table3", "--seeds", "-1"], "--seeds -1"),
        (["table3", "--scale", "small"], "needs --data.root"),
    ],
)
def test_mistakes_are_told_in_a_line(tmp_path, capsys, words, message):
    assert main(["reproduce", *words, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
