"""Archives whose members lead out of them."""

import tarfile
import zipfile

import pytest

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
