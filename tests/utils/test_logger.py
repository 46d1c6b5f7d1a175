"""The log of a run: lines that it does not write are skipped, whatever they hold."""

import json

import pytest
import torch

from resmlp.utils.logger import Logger, Window, read_metrics

WHOLE = [
    {"kind": "train", "step": 5, "epoch": 1, "lr": 0.1, "loss": 2},
    {"kind": "eval", "step": 5, "weights": "raw", "epoch": 1, "top1": float("nan")},
]
TRAIN = '{"kind": "train", "step": %s, "epoch": %s, "loss": %s}'
OTHERS = {
    "a step that is a word": TRAIN % ('"x"', 1, 1),
    "a step that is null": TRAIN % ("null", 1, 1),
    "a step that is a list": TRAIN % ("[1]", 1, 1),
    "a step that is true": TRAIN % ("true", 1, 1),
    "a step that is a fraction": TRAIN % (2.5, 1, 1),
    "a step below 1": TRAIN % (-5, 1, 1),
    "a huge step": TRAIN % ("9" * 400, 1, 1),
    "an epoch that is a word": TRAIN % (7, '"x"', 1),
    "an epoch of 0": TRAIN % (7, 0, 1),
    "a loss that is a word": TRAIN % (7, 1, '"a"'),
    "a loss that is an object": TRAIN % (7, 1, "{}"),
    "a loss that is null": TRAIN % (7, 1, "null"),
    "a loss of 1e300": TRAIN % (7, 1, "1e300"),
    "a loss of -1e300": TRAIN % (7, 1, "-1e300"),
    "a loss of 400 digits": TRAIN % (7, 1, "9" * 400),
    "a kind that is a list": '{"kind": [], "step": 7}',
    "no kind": '{"step": 7}',
    "no step": '{"kind": "train"}',
    "weights that are null": '{"kind": "eval", "step": 7, "weights": null}',
    "weights that are a list": '{"kind": "eval", "step": 7, "weights": []}',
    "deep lists": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "a number of many digits": "1" * 10_000,
    "a long line": "x" * 3_000_000,
    "a list": "[]",
    "a word": '"x"',
    "half a line": '{"kind": "train", "st',
    "zeros": "\0" * 99,
    "half a character": "\udcc3",
}


@pytest.mark.parametrize("line", OTHERS.values(), ids=OTHERS)
def test_a_line_of_another_kind_is_skipped(tmp_path, line):
    lines = [json.dumps(WHOLE[0]), line, json.dumps(WHOLE[1])]
    (tmp_path / "metrics.jsonl").write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    assert str(read_metrics(tmp_path)) == str(WHOLE)  # nan differs from itself


@pytest.mark.parametrize("torn", ["", "a\n", '{"kind": "tra'])
def test_a_torn_line_is_ended(tmp_path, torn):
    (tmp_path / "metrics.jsonl").write_text(torn)
    logger = Logger(tmp_path)
    logger.write("train", 3, {"loss": 0.5})
    assert (tmp_path / "metrics.jsonl").read_text().splitlines() == [
        *([torn.strip()] if torn else []),
        '{"kind": "train", "step": 3, "loss": 0.5}',
    ]
    assert read_metrics(tmp_path) == [{"kind": "train", "step": 3, "loss": 0.5}]


def test_the_log_is_a_regular_file_or_none(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    assert read_metrics(tmp_path) == []
    assert read_metrics(tmp_path / "nowhere") == []


def test_a_window_goes_on_after_a_checkpoint():
    """Two micro-batches a step; the checkpoint is after three steps, in the middle of the fourth; then again."""
    losses = torch.randn(12, generator=torch.Generator().manual_seed(0))
    window, whole = Window(), Window()
    for number, loss in enumerate(losses):
        whole.add(number // 2, {"loss": loss, "odd": loss} if number % 2 else {"loss": loss})
    assert whole.means()["loss"].item() == pytest.approx(losses.mean().item(), rel=1e-6)
    assert whole.means()["odd"].item() == pytest.approx(losses[1::2].mean().item(), rel=1e-6)
    for start, stop, done in ((0, 7, 3), (6, 6, 3), (6, 12, 6)):
        for entry in whole.entries[start:stop]:
            window.add(*entry)
        state = json.loads(json.dumps(window.state(done)))
        assert [state["loss"][1], state["odd"][1]] == [2 * done, done]
        if stop < 12:
            window = Window(state)
    for name, mean in window.means().items():
        assert mean.item() == pytest.approx(whole.means()[name].item(), rel=1e-6)
