"""Archives whose members lead out of them."""

import io
import tarfile
import zipfile

import pytest
from PIL import Image

from resmlp.config.checking import CheckedData
from resmlp.data.checking.check import check_data
from resmlp.data.images.left_out import open_noted_tree
from resmlp.data.images.table_sets import read_table_set
from resmlp.data.images.trees import open_tree
from resmlp.utils.errors import UserError


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
def test_an_archive_of_members_outside_itself_says_so(tmp_path, name):
    """Their names are never used as paths; with no other image, the archive is not just empty."""
    (tmp_path / "1.png").write_bytes(b"x")
    if name == "x.zip":
        with zipfile.ZipFile(tmp_path / name, "w") as packed:
            packed.write(tmp_path / "1.png", "../../a/1.png")
    else:
        with tarfile.open(tmp_path / name, "w") as tar:
            tar.add(tmp_path / "1.png", "../../a/1.png")
    with pytest.raises(UserError, match=r"members outside it, such as \.\./\.\./a/1\.png"):
        open_tree(str(tmp_path / name))


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 40), (shade,) * 3).save(file, "PNG")
    return file.getvalue()


GOOD = [(f"{name}/{i}.png", png(10 * i + 100 * (name == "b"))) for name in "ab" for i in range(2)]
FOUND = {
    "outside": ([("../../evil.png", png(7))], "outside-archive", "{}:../../evil.png"),
    "other content": ([("a/0.png", png(99))], "repeated-member", "{}:a/0.png"),
    "same content": ([GOOD[0]], None, ""),
    "archive": ([("a/inner.zip", b"PK")], "archive-in-archive", "a/inner.zip"),
}


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
@pytest.mark.parametrize("case", FOUND)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_is_not_used_of_an_archive_is_named(tmp_path, name, case):
    """By the check, and by the note of a training."""
    more, kind, where = FOUND[case]
    path = tmp_path / name
    if name == "x.zip":
        with zipfile.ZipFile(path, "w") as packed:
            for member, data in [*GOOD, *more]:
                packed.writestr(member, data)
    else:
        with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as tar:
            for member, data in [*GOOD, *more]:
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    where = where.format(name)
    issues = {issue.kind: issue.names for issue in check_data(path, near="off").issues}
    assert issues == ({kind: [where]} if kind else {})
    tree, notes = open_noted_tree(str(path))
    assert len(tree.whole.images) == 4
    assert [where in note for note in notes] == [True] * bool(kind)


def test_with_a_table_of_labels_the_members_are_named_as_well(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        for member, data in [*GOOD, ("../evil.png", png(7))]:
            packed.writestr(member, data)
    table = tmp_path / "t.csv"
    table.write_text("file,label\n" + "".join(f"{member},{member[0]}\n" for member, _ in GOOD))
    found = check_data(tmp_path / "x.zip", near="off", data=CheckedData(labels=str(table))).issues
    assert [issue.names for issue in found if issue.kind == "outside-archive"] == [["x.zip:../evil.png"]]
    (note,) = read_table_set(str(tmp_path / "x.zip"), str(table), ()).notes()
    assert note.endswith("members that lead out of their archive: x.zip:../evil.png")
