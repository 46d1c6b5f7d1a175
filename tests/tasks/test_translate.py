"""Translation as a task: its loss by hand, its vocabulary, its evaluation by shares, its checkpoints."""

import json
import math
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import processes
import pytest
import steps
import torch

from resmlp.cli.main import main
from resmlp.config import Optim, Run, Seq2Seq, Text, TextRecipe
from resmlp.config.seq2seq import BOS, EOS, PAD
from resmlp.config.tasks import Translate as Options
from resmlp.data.text.sources import open_pairs
from resmlp.inference.translator import open_translator
from resmlp.models import open_model
from resmlp.models.search import Hypothesis
from resmlp.nn.shared_masks import sample_places
from resmlp.tasks import Translate, make_task
from resmlp.tasks import translate as module
from resmlp.tasks.translate import cross_entropies
from resmlp.utils.devices import Process
from resmlp.utils.errors import UserError
from resmlp.utils.files import read_json
from resmlp.utils.logger import read_metrics

pytestmark = pytest.mark.usefixtures("draft_figures")

SMALL = {"dim": 16, "hidden": 16, "heads": 2, "encoder_depth": 1, "decoder_depth": 1, "max_length": 30}
FLAGS = [
    *(word for key, value in SMALL.items() for word in (f"--model.{key.replace('_', '-')}", str(value))),
    *("--data.source", "files", "--data.vocabulary", "300", "--data.batch-size", "300", "--task.beam", "2"),
    *("--optim.warmup-epochs", "0.5", "--run.epochs", "3", "--run.eval-every", "1", "--run.log-every", "1"),
    *("--run.device", "cpu", "--run.log"),
]


ALONE = Process()


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    """train and val, 150 and 12 number words."""
    root = tmp_path_factory.mktemp("text")
    _, numbers = open_pairs(Text(source="numbers"))
    for name, part in (("train", slice(150)), ("val", slice(150, 162))):
        for end, lines in (("en", numbers.sources), ("de", numbers.targets)):
            (root / f"{name}.{end}").write_text("".join(f"{line}\n" for line in lines[part]), encoding="utf-8")
    return root


@pytest.fixture
def make(text) -> Callable[..., Translate]:
    """`make(process, batch_size=400, run={...}, task={...}, model={...})`: the task, its network always the same."""

    def make(
        process: Process = ALONE, run: dict | None = None, task: dict | None = None, model: dict | None = None, **data
    ):
        recipe = TextRecipe(
            "toy",
            task=Options(**({"beam": 2} | (task or {}))),
            model=Seq2Seq("resmlp_mt_tiny", **(SMALL | {"dropout": 0.0} | (model or {}))),
            data=Text(**({"root": str(text), "vocabulary": 300, "batch_size": 400} | data)),
            run=Run(**({"epochs": 1, "device": "cpu"} | (run or {}))),
        )
        torch.manual_seed(0)
        return make_task(recipe, process)

    return make


@pytest.fixture
def train(text, tmp_path) -> Callable[..., int]:
    """`train(folder, *flags)`: the exit code of a small `resmlp train numbers` on files."""

    def train(folder: str, *flags: str) -> int:
        return main(["train", "numbers", *FLAGS, "--data.root", str(text), "--out", str(tmp_path / folder), *flags])

    return train


def states(module) -> dict[str, torch.Tensor]:
    return {key: tensor.clone() for key, tensor in module.state_dict().items()}


# the loss


@pytest.mark.isa
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_cross_entropies_are_those_of_a_plain_loop(smoothing):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 5, 11)) * 3
    labels = rng.integers(1, 11, (3, 5))
    labels[0, 3:] = labels[2, 1:] = PAD
    smooth = plain = 0.0
    for b in range(3):
        for t in range(5):
            if labels[b, t] == PAD:
                continue
            p = np.exp(logits[b, t]) / np.exp(logits[b, t]).sum()
            target = np.full(11, smoothing / 11)
            target[labels[b, t]] += 1 - smoothing
            smooth -= (target * np.log(p)).sum()
            plain -= np.log(p[labels[b, t]])
    found = cross_entropies(torch.from_numpy(logits), torch.from_numpy(labels), smoothing)
    assert [value.item() for value in found] == pytest.approx([smooth, plain], rel=1e-4)


@pytest.mark.isa
def test_smoothing_in_closed_form():
    """Of uniform logits it is log V whatever the smoothing; it is least, its own entropy, where p is the target."""
    labels, e, v = torch.tensor([[5, 6, PAD]]), 0.1, 50
    assert cross_entropies(torch.zeros(1, 3, v), labels, e)[0].item() == pytest.approx(2 * math.log(v), rel=1e-5)
    target = torch.full((1, 3, v), e / v).scatter_add(2, labels.unsqueeze(2), torch.full((1, 3, 1), 1 - e))
    high, low = 1 - e + e / v, e / v
    entropy = -(high * math.log(high) + (v - 1) * low * math.log(low))
    assert cross_entropies(target.log(), labels, e)[0].item() == pytest.approx(2 * entropy, rel=1e-4)


def test_padding_has_no_gradient():
    logits, labels = torch.randn(2, 4, 9, requires_grad=True), torch.tensor([[4, 5, 2, PAD], [2, PAD, PAD, PAD]])
    cross_entropies(logits, labels, 0.1)[0].backward()
    assert (logits.grad.abs().sum(2) > 0).tolist() == (labels != PAD).tolist()


@pytest.mark.isa
@pytest.mark.parametrize(("world", "parts"), [(1, 1), (1, 3), (2, 1), (2, 2)])
def test_a_step_is_the_mean_over_its_tokens_however_it_is_split(make, world, parts):
    """What the engine and its processes average is the sum over all tokens of the step, by their number."""
    tasks = [make(Process(rank=rank, world=world), {"accumulate": parts}) for rank in range(world)]
    losses, total, tokens = [], 0.0, 0
    for task in tasks:
        batches = task.batches(1, parts)  # the second step
        for _, batch in zip(range(parts), batches):
            losses.append(task.loss(task.model, batch, 1)["nll"].item())
            labels = batch["target"][:, 1:]
            logp = task.model(batch["source"], batch["target"][:, :-1]).double().log_softmax(2)
            total -= logp.gather(2, labels.unsqueeze(2)).squeeze(2)[labels != PAD].sum().item()
            tokens += int((labels != PAD).sum())
    assert np.mean(losses) == pytest.approx(total / tokens, rel=1e-4)


def test_every_process_has_the_same_vocabulary_network_and_number_of_steps(make):
    one, two = (make(Process(rank=rank, world=2)) for rank in (0, 1))
    assert one.tokenizer.fingerprint == two.tokenizer.fingerprint
    assert one.steps_per_epoch == two.steps_per_epoch == len(list(one.batches(0, 0))) == len(list(two.batches(0, 0)))
    assert all(torch.equal(tensor, states(two.model)[key]) for key, tensor in states(one.model).items())


# evaluation


@pytest.fixture
def loud(make) -> Callable[..., Translate]:
    """A task with random weights, whose outputs differ for all sentences."""

    def loud(*args, **options) -> Translate:
        task = make(*args, **options)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in task.model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
        task.model.eval().requires_grad_(False)
        return task

    return loud


@pytest.mark.isa
def test_perplexity_is_that_of_each_sentence_alone(loud):
    task, nll, tokens = loud(), 0.0, 0
    for source, target in zip(*(task.tokenizer.encode(side) for side in (task.val.sources, task.val.targets))):
        source, target = [*source[:29], EOS], [BOS, *target[:29], EOS]
        logp = task.model(torch.tensor([source]), torch.tensor([target[:-1]])).double().log_softmax(2)[0]
        nll -= sum(logp[t, token].item() for t, token in enumerate(target[1:]))
        tokens += len(target) - 1
    assert task.perplexity(task.model) == pytest.approx(math.exp(nll / tokens), rel=1e-4)


@pytest.mark.parametrize("metric", ["bleu", "exact_match"])
def test_the_metric_that_decides_comes_first(loud, metric):
    names = [name for name, _ in loud(task={"metric": metric}).evaluate(loud().model)]
    assert names[0] == metric
    assert {"bleu", "chrf", "exact_match", "perplexity"} <= {*names}
    assert len(names) == len({*names})


@pytest.mark.isa
def test_processes_share_the_sentences_and_agree(loud, monkeypatch):
    whole = dict(loud().evaluate(loud().model))
    parts = [loud(Process(rank=rank, world=3), task={"val_sentences": 0}) for rank in range(3)]
    outputs: list[list] = [[], [], []]
    for task, own in zip(parts, outputs):
        monkeypatch.setattr(module, "all_gather", lambda part, own=own: own.append(part) or [part])
        with pytest.raises(KeyError):
            task.translations(task.model)  # without the other parts
        task.perplexity(task.model) if task.val_batches.steps > task.process.rank else own.append([])
    for task in parts:
        gathered = iter([[own[0] for own in outputs], [own[1] for own in outputs]])
        monkeypatch.setattr(module, "all_gather", lambda part, gathered=gathered: next(gathered))
        assert dict(task.evaluate(task.model)) == pytest.approx(whole, rel=1e-6)


def test_only_the_first_sentences_can_be_translated(loud):
    task = loud(task={"val_sentences": 5})
    assert task.translations(task.model) == loud().translations(task.model)[:5]


def test_the_table_at_the_start(make):
    lines = dict(make(model={"max_length": 9}).describe())
    assert "1 + 1 layers of 16" in lines["model"]
    assert "learned from the training text" in lines["vocabulary"]
    assert "with over 9 tokens dropped" in lines["pairs"]
    assert "12 for validation" in lines["pairs"]
    assert "% padding" in lines["tokens"]


def test_empty_and_long_pairs_are_counted(make, text, tmp_path):
    """How many, and with `error` which: the line of the file, whatever was left out before it."""
    for name in ("train", "val"):
        for end in ("en", "de"):
            lines = (text / f"{name}.{end}").read_text(encoding="utf-8").splitlines()
            lines[2:2] = ["", "x"] if end == "en" else ["y", " "]
            (tmp_path / f"{name}.{end}").write_text("\n".join(lines), encoding="utf-8")
    root = {"root": str(tmp_path), "model": {"max_length": 64}}
    assert (
        "150 for training, 2 with an empty side left out; 14 for validation" in dict(make(**root).describe())["pairs"]
    )
    for name, shorter in (("val", 0), ("train", 1)):
        with (tmp_path / f"{name}.en").open("a") as file:
            file.write(" and" * 40)
        sentences = (tmp_path / f"{name}.en").read_text(encoding="utf-8").splitlines()
        pairs = dict(make(**root).describe())["pairs"]
        assert "14 for validation, 1 truncated" in pairs
        assert ("149 for training, 1 with over 64 tokens dropped" in pairs) == bool(shorter)
        with pytest.raises(UserError, match=f"{name}.en and {name}.de, line {len(sentences)} has") as caught:
            make(**root, long_sentences="error")
        assert "--data.long-sentences" in caught.value.hint


def test_a_translation_is_one_line(make, monkeypatch):
    """As `resmlp translate` gives it, so that an evaluation scores the same text."""
    task = make(task={"val_sentences": 1})
    said = task.tokenizer.encode([" ein\nzwei\r"])[0]
    monkeypatch.setattr(module, "translate", lambda *args, **options: [[Hypothesis(tuple(said), -1.0)]])
    assert task.translations(task.model) == ["ein zwei"]


@pytest.mark.parametrize(
    "flag",
    [("--run.checkpoint-activations",), ("--task.length-penalty", "200"), ("--task.beam", "0")],
    ids=" ".join,
)
def test_what_cannot_be_is_refused_before_anything_is_read(capsys, flag):
    assert main(["train", "multi30k", "--data.root", "/nowhere", *flag]) == 2
    assert capsys.readouterr().err.startswith(f"error: {' '.join(flag)}")


# whole runs


@pytest.fixture
def interrupt_at(monkeypatch) -> Callable[[int], None]:
    """`interrupt_at(step)`: Ctrl-C in the middle of a step, once."""

    def arrange(at: int) -> None:
        loss, waiting = Translate.loss, [at]

        def interrupted(self, model, batch, step):
            if waiting and step == waiting[0]:
                waiting.pop()
                os.kill(os.getpid(), signal.SIGINT)
            return loss(self, model, batch, step)

        monkeypatch.setattr(Translate, "loss", interrupted)

    return arrange


def content(folder: Path) -> dict[str, bytes]:
    names = ("model.safetensors", "model.json", "tokenizer.json", "checkpoints/step-*/*.safetensors")
    return {str(path.relative_to(folder)): path.read_bytes() for name in names for path in folder.glob(name)}


def test_interrupted_in_an_epoch_a_run_continues_to_the_same_bits(tmp_path, train, interrupt_at):
    flags = ("--run.average", "2", "--run.accumulate", "2", "--model.dropout", "0.2")
    assert train("whole", *flags) == 0
    per_epoch = read_metrics(tmp_path / "whole")[-1]["step"] // 3
    assert per_epoch > 3, "there is a middle"
    interrupt_at(per_epoch + 1)
    assert train("torn", *flags) == 130
    assert train("torn", *flags) == 0
    assert content(tmp_path / "torn") == content(tmp_path / "whole")
    summary = read_json(tmp_path / "torn" / "summary.json")
    assert set(summary["last"]) == {"raw", "avg"}
    assert {"bleu", "chrf", "exact_match", "perplexity", "tokenizer"} <= summary.keys()
    assert (tmp_path / "torn" / "report.html").is_file()


def test_a_run_is_opened_with_its_vocabulary_and_says_what_it_said(tmp_path, train):
    assert train("run") == 0
    saved = open_translator(tmp_path / "run")
    assert (saved.config.source_language, saved.config.target_language, saved.config.beam) == ("en", "de", 2)
    assert saved.tokenizer.size == saved.config.model.vocabulary == 300
    assert not saved.model.training
    with pytest.raises(UserError, match="translat"):
        open_model(str(tmp_path / "run"))


def test_changed_text_is_an_error_when_a_run_continues(tmp_path, train, text, interrupt_at, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(text, copy)
    interrupt_at(3)
    assert train("run", "--data.root", str(copy)) == 130
    lines = (copy / "train.de").read_text(encoding="utf-8")
    (copy / "train.de").write_text(lines.replace("hundert", "hunnert"), encoding="utf-8")
    assert train("run", "--data.root", str(copy)) == 2
    assert "the vocabulary differs from that of the checkpoint" in capsys.readouterr().err


def test_changed_text_is_an_error_with_a_given_vocabulary(tmp_path, train, text, finished, interrupt_at, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(text, copy)
    flags = ("--data.root", str(copy), "--data.tokenizer", str(finished))
    interrupt_at(3)
    assert train("run", *flags) == 130
    lines = (copy / "train.de").read_text(encoding="utf-8")
    (copy / "train.de").write_text(lines.replace("hundert", "hunnert", 1), encoding="utf-8")
    assert train("run", *flags) == 2
    assert "the training text differs from that of the checkpoint" in capsys.readouterr().err.splitlines()[-1]
    (copy / "train.de").write_text(lines, encoding="utf-8")
    assert train("run", *flags) == 0


# files of a run


@pytest.fixture(scope="module")
def finished(text, tmp_path_factory) -> Path:
    """A run folder. Not to be written to."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    flags = ("--data.root", str(text), "--run.epochs", "1", "--out", str(folder))
    assert main(["train", "numbers", *FLAGS, *flags]) == 0
    return folder


@pytest.fixture
def broken(finished, tmp_path) -> Callable[..., str]:
    """`broken(name, change)`: what opening the run says, once `change` was done to a file of it."""

    def broken(name: str, change: Callable[[Path], object]) -> str:
        shutil.copytree(finished, tmp_path / "copy")
        change(tmp_path / "copy" / name)
        with pytest.raises(UserError) as caught:
            open_translator(tmp_path / "copy")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return broken


def swap_merges(path: Path) -> None:
    tokenizer = read_json(path)
    merges = tokenizer["model"]["merges"]
    merges[0], merges[1] = merges[1], merges[0]
    path.write_text(json.dumps(tokenizer))


def described(**changes) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(read_json(path) | changes))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("tokenizer.json", Path.unlink, "tokenizer.json"),
        ("model.json", Path.unlink, "model.json"),
        ("model.safetensors", Path.unlink, "model.safetensors"),
        ("tokenizer.json", swap_merges, "is not the vocabulary"),
        ("model.json", described(tokenizer="x"), "is not the vocabulary"),
        ("model.json", described(kind="classifier"), "preprocessing"),
        ("model.json", described(model={"vocabulary": 10**30}), "model.json: missing model"),
        ("model.json", described(beam="\x1b[31m"), "beam"),
        ("model.json", lambda path: path.write_text("[" * 10_000), "cannot read"),
        ("model.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-40]), "cannot read"),
        ("model.safetensors", lambda path: path.write_bytes(b""), "is empty"),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_line(broken, name, change, message):
    assert message in broken(name, change)


def test_nothing_is_no_translator(tmp_path):
    for source in ("", "resmlp_mt6", str(tmp_path / "none"), str(tmp_path)):
        with pytest.raises(UserError):
            open_translator(source)


def test_a_checkpoint_gives_weights_and_vocabulary(make, finished, tmp_path):
    saved = open_translator(finished)
    task = make(model={"checkpoint": str(finished)}, vocabulary=280)
    assert task.tokenizer.fingerprint == saved.tokenizer.fingerprint
    assert all(torch.equal(tensor, states(task.model)[key]) for key, tensor in states(saved.model).items())
    assert dict(task.describe())["weights"] == str(finished)
    same = make(model={"checkpoint": str(finished)}, tokenizer=str(finished))
    assert same.tokenizer.fingerprint == saved.tokenizer.fingerprint


def test_a_checkpoint_of_another_shape_or_vocabulary_is_refused(make, finished, tmp_path):
    with pytest.raises(UserError, match="the model wants"):
        make(model={"checkpoint": str(finished), "max_length": 28})
    other = make(vocabulary=270).tokenizer
    other.save(tmp_path / "tokenizer.json")
    with pytest.raises(UserError, match="--data.tokenizer"):
        make(model={"checkpoint": str(finished)}, tokenizer=str(tmp_path / "tokenizer.json"))


@pytest.mark.parametrize("optim", [{"layer_decay": 0.9}, {"freeze_epochs": 1}])
def test_settings_without_effect_are_refused(text, optim):
    recipe = TextRecipe("toy", model=Seq2Seq("resmlp_mt_tiny", **SMALL), data=Text(root=str(text)))
    with pytest.raises(UserError, match="--optim"):
        make_task(replace(recipe, optim=replace(Optim(), **optim)), Process())


# several processes


@pytest.fixture
def recipe(text) -> TextRecipe:
    """A tiny attention network with dropout, and steps of two parts."""
    return TextRecipe(
        "toy",
        task=Options(label_smoothing=0.1),
        model=Seq2Seq("transformer_mt_small", **SMALL, dropout=0.2),
        data=Text(root=str(text), vocabulary=300, batch_size=800),
        optim=Optim("adamw", lr=4e-3, warmup_epochs=0.0, clip=1.0),
        run=Run(epochs=1, accumulate=2),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["transformer_mt_small", "resmlp_mt_tiny"])
def test_any_number_of_processes_takes_the_same_steps(recipe, name, tmp_path):
    """The same losses and weights but for rounding, with dropout, also if the number changes in between."""
    recipe = replace(recipe, model=replace(recipe.model, name=name))
    alone = steps.trained(recipe, [1], 6, tmp_path / "1")
    other = steps.trained(replace(recipe, run=replace(recipe.run, seed=1)), [1], 6, tmp_path / "seed")
    with pytest.raises(AssertionError):
        steps.check_same(other, alone)
    for worlds in ([2], [4], [2, 1, 2]):
        found = steps.trained(recipe, worlds, 6 // len(worlds), tmp_path / str(worlds))
        steps.check_same(found, alone)


def test_the_masks_of_dropout_are_those_of_one_process(make):
    """Each sentence has the same loss on two processes as on one, whatever it is padded to."""
    tasks = [make(Process(rank=rank, world=world), model={"dropout": 0.5}) for world in (1, 2) for rank in range(world)]
    losses = []
    for task in tasks:
        torch.manual_seed(3)
        batch = next(task.batches(0, 0))
        with sample_places(batch["places"]):
            losses.append(task.loss(task.model.train(), batch, 0)["loss"].item())
    assert losses[0] == pytest.approx(sum(losses[1:]) / 2, rel=1e-5)


def test_two_processes_have_the_steps_of_one(train, text, tmp_path):
    """By the command line, without dropout: the numbers are the same but for rounding."""
    still = ("--model.dropout", "0", "--run.epochs", "1")
    assert train("one", *still) == 0
    processes.together(train, "two", *still, folder=tmp_path)
    one, two = (read_json(tmp_path / name / "summary.json")["last"]["raw"] for name in ("one", "two"))
    assert one["step"] == two["step"]
    assert two["perplexity"] == pytest.approx(one["perplexity"], rel=1e-5)
