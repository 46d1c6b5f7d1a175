"""Frames of a video with masks are on one side of a split, and each pair is in exactly one fold."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmlp.config import Data
from resmlp.config.tasks import Segment
from resmlp.data import MaskSet, open_masks
from resmlp.data.images.image_list import make_image_list, read_image_list
from resmlp.utils.errors import UserError

TASK = Segment()


def plant(root: Path, part: str, videos: range) -> None:
    """Five frames of each video, with a mask of the classes 0 to 2."""
    for video in videos:
        for frame in range(5):
            for folder, mode in (("images", "RGB"), ("labels", "L")):
                (root / folder / part).mkdir(parents=True, exist_ok=True)
                pixels = Image.fromarray(np.tile(np.arange(3, dtype=np.uint8), (4, 1)))
                pixels.convert(mode).save(root / folder / part / f"video{video}_{frame}.png")
    (root / "classes.txt").write_text("sky\ngrass\nroad\n")


def data(root: Path, **fields) -> Data:
    return Data(source="masks", root=str(root), img_size=(8,), **fields)


def paths(masks: MaskSet) -> list[str]:
    return [masks.path(i) for i in range(len(masks))]


def videos(masks: MaskSet) -> set[str]:
    return {path.rpartition("/")[2].partition("_")[0] for path in paths(masks)}


@pytest.mark.parametrize("seed", range(5))
def test_frames_of_a_video_are_on_one_side(tmp_path, seed):
    plant(tmp_path, "", range(8))
    train, val = open_masks(data(tmp_path, group_by=r"(video\d+)", split_seed=seed, fraction=0.5), TASK)
    assert not videos(train) & videos(val)
    assert len(train) + len(val) + len(train.unused) == 40
    plain = open_masks(data(tmp_path, split_seed=seed), TASK)
    assert videos(plain.train) & videos(plain.val)


def test_a_video_on_both_sides(tmp_path):
    plant(tmp_path, "train", range(4))
    plant(tmp_path, "val", range(3, 6))
    with pytest.raises(UserError, match="1 group with images in train and in val: video3"):
        open_masks(data(tmp_path, group_by=r"(video\d+)"), TASK)
    assert len(open_masks(data(tmp_path, group_by=r"\w+/(\w+/video\d+)"), TASK).val) == 15


def test_all_frames_of_one_video(tmp_path):
    plant(tmp_path, "", range(1))
    with pytest.raises(UserError, match="one group cannot be split: video0"):
        open_masks(data(tmp_path, group_by=r"(video\d+)"), TASK)


@pytest.mark.parametrize("fields", [{}, {"group_by": r"(video\d+)"}])
@pytest.mark.parametrize("part", ["", "train"])
def test_each_pair_is_in_exactly_one_fold(tmp_path, part, fields):
    plant(tmp_path, part, range(6))
    if part:
        plant(tmp_path, "val", range(6, 8))
    held: Counter[str] = Counter()
    for fold in range(3):
        train, val = open_masks(data(tmp_path, folds=3, fold=fold, **fields), TASK)
        assert len(train) + len(val) == 30
        assert not set(paths(train)) & set(paths(val))
        assert not fields or not videos(train) & videos(val)
        held.update(paths(val))
    assert len(held) == 30
    assert set(held.values()) == {1}
    assert len(train.unused) == (10 if part else 0)
    (tmp_path / "run").mkdir()
    make_image_list(train, val).write(tmp_path / "run")
    again = open_masks(data(tmp_path, folds=3, fold=2, **fields), TASK, read_image_list(tmp_path / "run"))
    assert paths(again.val) == paths(val)
    assert sorted(again.train.unused) == sorted(train.unused)


def test_scenes_have_folds_and_no_groups():
    parts = [open_masks(Data(source="scenes", folds=2, fold=fold), TASK) for fold in range(2)]
    assert sorted(paths(parts[0].val) + paths(parts[1].val)) == sorted(
        paths(open_masks(Data(source="scenes"), TASK).train)
    )
    with pytest.raises(UserError, match="--data.group-by"):
        open_masks(Data(source="scenes", group_by="x"), TASK)
