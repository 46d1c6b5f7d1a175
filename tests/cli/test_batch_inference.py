"""`resmlp predict --out FILE.parquet` and `resmlp embed --out FILE.parquet`: in parts, by any number of processes."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest
from colored import plant
from shardserver import Server, pack_small

from resmlp.data.shards import remote
from resmlp.evaluation.batch_inference import parts, run
from resmlp.hub.packaged import CLASSIFIER

parquet = pytest.importorskip("pyarrow.parquet")

FLAGS = ("--device", "cpu", "--workers", 0)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """36 images are five parts."""
    monkeypatch.setattr(run, "BLOCK", 8)


@pytest.fixture
def predict(resmlp, trained, tree, tmp_path):
    """`predict(...)`: the command on `tree` into p.parquet."""
    return lambda *flags: resmlp("predict", trained, tree, "--out", tmp_path / "p.parquet", *FLAGS, *flags)


@pytest.fixture
def embed(resmlp, tree, tmp_path):
    """`embed(out)`: raw pixels as features, which need no network."""

    def call(out: str = "f.parquet", root: Path = tree, flags: tuple = FLAGS):
        return resmlp("embed", "pixels", root, "--out", tmp_path / out, *flags)

    return call


@pytest.fixture
def as_process(monkeypatch):
    """`as_process(rank, world)`: commands are then those of one of several processes."""

    def change(rank: object, world: object) -> None:
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(world))

    return change


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_rows_are_what_predict_prints(resmlp, predict, trained, tree, tmp_path):
    ended = predict("--json", "--top", 2)
    assert ended.code == 0, ended.err
    out = tmp_path / "p.parquet"
    assert json.loads(ended.out) == {"model": str(trained), "out": str(out), "images": 36, "unreadable": []}
    table = parquet.read_table(out)
    names = ["path", "label", "class_1", "probability_1", "class_2", "probability_2", "error"]
    assert table.column_names == names
    rows = table.to_pylist()
    files = sorted(tree.rglob("*.png"), key=lambda file: file.relative_to(tree).as_posix())
    assert [row["path"] for row in rows] == [file.relative_to(tree).as_posix() for file in files]
    assert [row["label"] for row in rows] == [file.parent.name for file in files]
    printed = json.loads(resmlp("predict", trained, *files, "--top", 2, "--json", "--device", "cpu").out)["predictions"]
    for row, expected in zip(rows, printed, strict=True):
        found = {row["class_1"]: row["probability_1"], row["class_2"]: row["probability_2"]}
        assert list(found) == list(expected["probabilities"])
        assert found == pytest.approx(expected["probabilities"], rel=1e-6)
    assert names_in(tmp_path) == {"p.parquet"}, "the parts are gone"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_processes_write_the_file_of_one(embed, as_process, tmp_path, order):
    assert embed("one.parquet", flags=("--device", "cpu", "--workers", 2)).code == 0
    for rank in order:
        as_process(rank, 2)
        ended = embed()
        assert ended.code == 0, ended.err
        if rank == order[0]:
            assert ended.out == ""
            assert f"process {rank} of 2 has done its part" in ended.err
            own = {"part-00000", "part-00002", "part-00004"} if rank == 0 else {"part-00001", "part-00003"}
            assert {path.stem for path in tmp_path.glob("f.parquet.parts/part-*")} == own
    assert "36 images" in ended.out
    assert (tmp_path / "f.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()
    as_process(order[0], 2)
    assert "36 images" in embed().out, "what is written is not written again"
    assert names_in(tmp_path) == {"f.parquet", "one.parquet"}


@pytest.mark.parametrize("world", [1, 3])
def test_a_killed_command_continues(embed, as_process, tmp_path, monkeypatch, world):
    """After two parts; any number of processes continues it. A part that is damaged is written again."""
    assert embed("whole.parquet").code == 0
    write, written = parts.Parts.write, []

    def killed(self, number, table):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(number)
        write(self, number, table)

    monkeypatch.setattr(parts.Parts, "write", killed)
    assert embed().code == 130
    folder = tmp_path / "f.parquet.parts"
    assert names_in(folder) == {"plan.json", "part-00000.parquet", "part-00001.parquet"}
    (folder / "part-00001.parquet").write_bytes(b"PAR1 no more")
    monkeypatch.setattr(
        parts.Parts, "write", lambda self, number, table: (written.append(number), write(self, number, table))
    )
    for rank in range(world):
        as_process(rank, world)
        ended = embed()
        assert ended.code == 0, ended.err
    assert sorted(written[2:]) == [1, 2, 3, 4], "each part that was missing, once"
    assert (tmp_path / "f.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert names_in(tmp_path) == {"f.parquet", "whole.parquet"}


@pytest.mark.parametrize("where", ["part", "join"])
def test_a_full_disk_leaves_nothing_half_written(embed, tmp_path, monkeypatch, where):
    write_table, writer = parquet.write_table, parquet.ParquetWriter

    def full(table, path, *args, **options):
        Path(path).write_bytes(b"PAR1 half of it")
        raise OSError(28, "No space left on device")

    if where == "part":
        monkeypatch.setattr(parquet, "write_table", full)
    else:
        monkeypatch.setattr(parquet, "ParquetWriter", lambda path, schema: full(None, path))
    ended = embed()
    assert ended.code == 2
    assert "No space left on device (make room" in ended.error
    assert not (tmp_path / "f.parquet").exists()
    left = names_in(tmp_path / "f.parquet.parts") - {".lock"}
    assert left == {"plan.json"} | {f"part-0000{number}.parquet" for number in range(5 * (where == "join"))}
    monkeypatch.setattr(parquet, "write_table", write_table)
    monkeypatch.setattr(parquet, "ParquetWriter", writer)
    assert embed().code == 0
    assert parquet.read_table(tmp_path / "f.parquet").num_rows == 36
    assert names_in(tmp_path) == {"f.parquet"}


def test_a_file_that_is_there_is_not_replaced(resmlp, embed, trained, tree, tmp_path):
    assert embed().code == 0
    before = (tmp_path / "f.parquet").read_bytes()
    other = plant(tmp_path / "other", count=2)
    for call, words in (
        (lambda: embed(root=other), "f.parquet is there, of a command with other images (choose another --out"),
        (lambda: resmlp("embed", trained, tree, "--out", tmp_path / "f.parquet", *FLAGS), "with another model"),
    ):
        ended = call()
        assert ended.code == 2
        assert words in ended.error
    (tmp_path / "g.parquet").write_bytes(b"of another program")
    ended = embed("g.parquet")
    assert ended.code == 2
    assert "g.parquet is there, with other content" in ended.error
    assert (tmp_path / "g.parquet").read_bytes() == b"of another program"
    assert (tmp_path / "f.parquet").read_bytes() == before


def test_an_image_that_cannot_be_read_has_a_row_and_a_reason(resmlp, embed, trained, tmp_path):
    root = plant(tmp_path / "root", count=4)
    for name in ("red/01.png", "blue/03.png"):
        (root / name).write_bytes(b"no image")
    ended = resmlp("predict", trained, root, "--out", tmp_path / "p.parquet", *FLAGS)
    assert ended.code == 0, ended.err
    assert "2 images cannot be read (blue/03.png and others): the column error says why" in ended.out
    assert embed("f.parquet", root).code == 0
    for file, column in (("p.parquet", "class_1"), ("f.parquet", "feature")):
        rows = {row["path"]: row for row in parquet.read_table(tmp_path / file).to_pylist()}
        assert len(rows) == 12
        broken = {name for name, row in rows.items() if row["error"]}
        assert broken == {"red/01.png", "blue/03.png"} == {name for name, row in rows.items() if row[column] is None}
        assert rows["red/01.png"]["label"] == "red"


def test_an_archive_and_a_packed_data_set_have_the_same_rows(resmlp, embed, trained, tree, tmp_path):
    with tarfile.open(tmp_path / "tree.tar", "w") as tar:
        tar.add(tree, "")
    assert resmlp("data", "pack", tree, "--out", tmp_path / "packed", "--workers", 1).code == 0
    found = []
    for root in (tree, tmp_path / "tree.tar", tmp_path / "packed"):
        out = tmp_path / f"{root.name}.parquet"
        assert resmlp("predict", trained, root, "--out", out, *FLAGS).code == 0
        found.append(sorted(parquet.read_table(out).to_pylist(), key=lambda row: row["path"]))
    assert found[0] == found[1] == found[2]


def test_another_command_does_not_continue_it(resmlp, predict, trained, tree, tmp_path, monkeypatch):
    monkeypatch.setattr(parts.Parts, "join", lambda self: False)
    assert predict().code == 0
    for flags, says in (
        (("--top", "1"), "another --top"),
        (("--precision", "fp32"), "another --precision"),
    ):
        error = predict(*flags).error
        assert f"p.parquet.parts is of a command with {says}, which was not finished" in error
        assert "remove the folder, or choose another --out)" in error
    shutil.copytree(tree, tmp_path / "other")
    other = ("--out", tmp_path / "p.parquet", *FLAGS)
    assert "other images" in resmlp("predict", trained, tmp_path / "other" / "red", *other).error
    (tmp_path / "q.parquet.parts").mkdir()
    (tmp_path / "q.parquet.parts" / "mine.txt").write_text("")
    error = resmlp("predict", trained, tree, "--out", tmp_path / "q.parquet", *FLAGS).error
    assert "q.parquet.parts, where the parts would be, has mine.txt" in error


def test_a_network_without_torch(resmlp, tree, tmp_path):
    files = [tree / "red" / "00.png", tree / "blue" / "01.png"]
    assert resmlp("predict", f"packaged:{CLASSIFIER}", *files, "--out", tmp_path / "p.parquet").code == 0
    rows = parquet.read_table(tmp_path / "p.parquet").to_pylist()
    printed = json.loads(resmlp("predict", f"packaged:{CLASSIFIER}", *files, "--json").out)["predictions"]
    assert [row["path"] for row in rows] == [entry["file"] for entry in printed]
    for row, entry in zip(rows, printed, strict=True):
        assert (row["class_1"], row["label"]) == (entry["label"], None)
        assert row["probability_1"] == pytest.approx(entry["probabilities"][entry["label"]], rel=1e-6)


@pytest.mark.parametrize(("rank", "world"), [("2", "2"), ("x", "2"), ("0", "")])
def test_a_wrong_environment_is_one_line(embed, as_process, rank, world):
    as_process(rank, world)
    assert "RANK is a number from 0 on, below WORLD_SIZE)" in embed().error


def test_a_server_that_fails_is_an_error_and_the_same_command_continues(resmlp, tmp_path, monkeypatch):
    """Its images may come the next time, so they get no rows."""
    packed = pack_small(tmp_path)
    monkeypatch.setenv("RESMLP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0))
    with Server(packed).running() as server:
        server.faults["train-00002.tar"] = 500
        command = ("embed", "pixels", server.address, "--out", tmp_path / "f.parquet", *FLAGS)
        ended = resmlp(*command)
        assert ended.code == 2
        assert f"cannot fetch {server.address}/train-00002.tar: the server answered 500" in ended.err.splitlines()[-1]
        assert {path.stem for path in tmp_path.glob("f.parquet.parts/part-*")} == {"part-00000"}
        server.faults.clear()
        assert resmlp(*command).code == 0
    assert resmlp("embed", "pixels", packed, "--out", tmp_path / "local.parquet", *FLAGS).code == 0
    assert parquet.read_table(tmp_path / "f.parquet") == parquet.read_table(tmp_path / "local.parquet")
