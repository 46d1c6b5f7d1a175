"""Run folders as training writes them, made of plain text."""

import json
import struct

import pytest

NASTY = "<script>alert(1)</script>"


def log_lines(epochs=4, kinds=("raw", "ema"), names=("top1", "top5"), top=1.0):
    """The result of `read_metrics` for a run with ten steps in an epoch."""
    lines = []
    for step in range(5, 10 * epochs + 1, 5):
        epoch = -(-step // 10)
        lines.append({"kind": "train", "step": step, "epoch": epoch, "lr": 1e-3 / step, "loss": 9.0 / step})
        if step % 10 == 0:
            for shift, kind in enumerate(kinds):
                scores = {name: top * (1 - 0.5**epoch) / (1 + shift + i) for i, name in enumerate(names)}
                lines.append({"kind": "eval", "step": step, "weights": kind, "epoch": epoch, **scores})
    return lines


def png_size(path):
    """(width, height) of a PNG; fails for any other file."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert b"IEND" in data[-12:]
    return struct.unpack(">II", data[16:24])


@pytest.fixture
def run(tmp_path):
    """A finished run with hostile names; tests change its files."""
    folder = tmp_path / "a run"
    folder.mkdir()
    lines = log_lines()
    best = {k: v for k, v in lines[-2].items() if k != "kind"}
    recipe = {
        "name": NASTY,
        "task": {"kind": "supervised", "label_smoothing": 0.1},
        "data": {"img_size": [32, 64], "root": f"/data/{NASTY}"},
        "about": f"about & {NASTY}",
        "paper": f'Table 3 "{NASTY}"',
        "expected": [["top1", 0.9], ["top5", 0.999], ["knn", 0.5]],
    }
    summary = {
        "top1": best["top1"],
        "best": best,
        "last": {"raw": best},
        "seconds": 3725.2,
        "samples_per_s": 1234.5,
        "parameters": 136586,
        "device": "cpu",
        "versions": {"resmlp": "0.1.0", "torch": NASTY},
        "unreadable": {f"{NASTY}.png": 3, "bytes \udcff and \x00.png": 1},
    }
    for name, value in {"recipe": recipe, "summary": summary, "model": {"classes": [NASTY, "dog"]}}.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
