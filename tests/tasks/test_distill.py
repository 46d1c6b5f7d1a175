"""Distillation: its loss by hand, what the teacher sees, and that a cached teacher makes the same student."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from numeric import EXP, gamma
from PIL import Image
from torch import Tensor, nn

from resmlp import create_model
from resmlp.config import Augment, Data, ImageRecipe, Model, Optim, Preprocessing, Run
from resmlp.config.tasks import Distill, Supervised
from resmlp.models import save_model
from resmlp.tasks import make_task, teacher_cache
from resmlp.tasks.distill import Distill as Task
from resmlp.tasks.teacher import Teacher, TeacherNetwork
from resmlp.training.engine import Engine
from resmlp.training.train import make_accelerator
from resmlp.utils.devices import Process
from resmlp.utils.errors import UserError
from resmlp.utils.logger import read_metrics
from resmlp.utils.seeding import seed_all

MEAN, STD = (0.3, 0.35, 0.4), (0.38, 0.36, 0.34)
MIXED = Augment("pad", flip=0, mixup=0.8, cutmix=1.0, erasing=0.5)
RECIPE = ImageRecipe(
    "toy",
    task=Distill(),
    model=Model("resmlp_digits", init="fan-in", depth=1, dim=16, drop_path=0.1),
    data=Data(source="digits", img_size=(8,), batch_size=360, workers=0, crop_ratio=1.0, mean=MEAN, std=STD),
    augment=MIXED,
    optim=Optim("adamw", lr=3e-3, warmup_epochs=0),
    run=Run(epochs=2, accumulate=2, device="cpu", log=(), eval_every=2, log_every=3),
)
STEPS = 3  # an epoch, of two micro-batches each


class Spy(nn.Module):
    """A teacher that remembers what it saw and said; in training mode it would be another."""

    def __init__(self, seed: int = 1, classes: int = 10):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(classes), nn.BatchNorm1d(classes), nn.Dropout(0.5))
        self.layers.eval()(torch.zeros(1, 3, 8, 8))
        self.seen: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.modes: set[tuple[bool, bool, bool]] = set()

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        self.outputs.append(4 * self.layers(images))
        modes = (module.training for module in self.modules())
        self.modes.add((any(modes), torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")))
        return self.outputs[-1]


def recipe(augment: Augment = MIXED, data: dict | None = None, run: dict | None = None, **task) -> ImageRecipe:
    changes = {"data": replace(RECIPE.data, **data or {}), "run": replace(RECIPE.run, **run or {})}
    return replace(RECIPE, task=Distill(**task), augment=augment, **changes)


def make(given: nn.Module | Callable | None, process: Process = Process(), **changes) -> Task:  # noqa: B008 (frozen)
    return make_task(recipe(**changes), process, teacher=given)


def ask(task: Task, step: int = 0) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The losses of a first micro-batch, the images that the student saw and its logits."""
    batch, seen, said = next(task.batches(0, 0)), [], []

    def student(images: Tensor) -> Tensor:
        seen.append(images)
        said.append(3 * images.flatten(2)[:, :, :10].sum(1))
        return said[-1]

    seed_all(step)
    return task.loss(student, batch, step), seen[0], said[0]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits - logits.max(1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


@pytest.mark.isa
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    ("targets", "temperature", "top_k"), [("hard", 1, 0), ("soft", 1, 0), ("soft", 3, 0), ("soft", 3, 4)]
)
def test_the_loss_is_that_of_the_equations(targets, temperature, top_k, alpha):
    spy, smoothing = Spy(), 0.2
    options = {"targets": targets, "temperature": temperature, "top_k": top_k, "alpha": alpha}
    task = make(spy, label_smoothing=smoothing, **options)
    losses, _, student = ask(task)
    seed_all(0)
    _, labels = task.augmented(next(task.batches(0, 0)))
    assert ((labels > 0).sum(1) == 2).any(), "the targets are mixed"

    q, z = student.double().numpy(), spy.outputs[-1].double().numpy()
    y = (1 - smoothing) * labels.double().numpy() + smoothing / 10
    ce = -(y * log_softmax(q)).sum(1).mean()
    if targets == "hard":
        size = distill = -log_softmax(q)[np.arange(len(q)), z.argmax(1)].mean()
    else:
        if top_k:
            z = np.where(z >= np.sort(z, 1)[:, [-top_k]], z, -1e30)
        p = np.exp(log_softmax(z / temperature))
        assert not top_k or ((p > 0).sum(1) == top_k).all()
        q_log = log_softmax(q / temperature)
        p_log = np.log(np.maximum(p, 1e-300))
        distill = temperature**2 * np.where(p > 0, p * (p_log - q_log), 0).sum(1).mean()
        size = temperature**2 * np.where(p > 0, p * (np.abs(p_log) + np.abs(q_log)), 0).sum(1).mean()  # terms cancel
    agreement = (q.argmax(1) == z.argmax(1)).mean()
    expected = {"ce": ce, "distill": distill, "loss": (1 - alpha) * ce + alpha * distill}
    bound = 2 * gamma(len(q) + q.shape[1] + 2 * EXP) * (ce + size)
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value, rel=0, abs=bound), name
    assert losses["teacher_agreement"].item() == pytest.approx(agreement)
    assert 0 < agreement < 1


@pytest.mark.isa
@pytest.mark.parametrize("augment", [MIXED, Augment("center", flip=0)], ids=["mixed and erased", "plain"])
def test_the_teacher_sees_the_pixels_that_the_student_sees(augment):
    spy = Spy()
    task = make(spy, augment=augment)
    _, images, _ = ask(task)
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (MEAN, STD))
    pixels = images.double().numpy() * std + mean
    np.testing.assert_allclose(spy.seen[-1].numpy(), pixels, rtol=0, atol=1e-6)
    if augment is not MIXED:
        raw = next(task.batches(0, 0))["image"].numpy() / 255
        np.testing.assert_allclose(pixels, raw, rtol=0, atol=1e-6)


@pytest.mark.isa
@pytest.mark.parametrize("size", [(8, 8), (13, 21), (5, 5)])
def test_a_network_sees_them_in_its_own_normalization_and_size(size):
    spy, rng = nn.Identity(), np.random.default_rng(0)
    preprocessing = Preprocessing(size, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))
    images = rng.random((2, 3, 8, 8), dtype=np.float32)
    network = TeacherNetwork(spy, preprocessing, size, []).double()
    outputs = network(torch.from_numpy(images).double()).numpy()
    for b in range(2):
        for c in range(3):  # Pillow is another implementation of an antialiased bicubic
            plane = Image.fromarray(images[b, c]).resize(size[::-1], Image.Resampling.BICUBIC)
            expected = (np.asarray(plane) - preprocessing.mean[c]) / preprocessing.std[c]
            np.testing.assert_allclose(outputs[b, c], expected, rtol=0, atol=1e-5)  # Pillow computes in float32


@pytest.fixture
def saved(tmp_path) -> Path:
    """A network for images of 16x16 and the digits in another order, with its own normalization."""
    model = create_model("resmlp_digits", img_size=16, num_classes=10, depth=1, init="fan-in")
    preprocessing = Preprocessing((16, 16), mean=(0.5,) * 3, std=(0.5,) * 3)
    save_model(tmp_path / "teacher", model, tuple("9876543210"), preprocessing)
    return tmp_path / "teacher"


@pytest.mark.isa
def test_a_run_folder_as_teacher_has_its_own_size_and_order_of_classes(saved):
    task = make(None, teacher=str(saved))
    task.teacher.function.double()
    images = torch.rand(4, 3, 8, 8).double()
    large = nn.functional.interpolate(images, (16, 16), mode="bicubic", antialias=True)
    network = task.teacher.function.network
    torch.testing.assert_close(task.teacher(images), network((large - 0.5) / 0.5).detach().flip(1).float())
    assert "16x16" in dict(task.describe())["teacher"]


def test_a_convolutional_teacher_runs_at_the_given_size(saved):
    seen = []
    network = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 10))
    network.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape))
    Teacher(TeacherNetwork(network, Preprocessing((16, 16)), (12, 20), []), "conv", "fp32", torch.device("cpu")).check(
        torch.zeros(1, 3, 8, 8), 10
    )
    assert seen == [(1, 3, 12, 20)]


@pytest.mark.parametrize(("precision", "student"), [("fp32", "bf16"), ("bf16", "fp32"), ("fp32", "fp32")])
def test_the_teacher_has_its_own_precision(precision, student):
    spy = Spy()
    task = make(spy, teacher_precision=precision)
    with torch.autocast("cpu", torch.bfloat16, enabled=student == "bf16"):
        losses, _, _ = ask(task)
    assert spy.modes == {(False, False, precision == "bf16")}
    assert spy.outputs[-1].dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    assert losses["loss"].dtype == torch.float32


@pytest.fixture
def train(tmp_path) -> Callable[..., Path]:
    """`train("name", teacher, **changes)`: the run folder of an engine that went to the end."""

    def run(name: str, given: nn.Module | Callable | None, **changes) -> Path:
        AcceleratorState._reset_state(reset_partial_state=True)
        settings = changes.pop("recipe", None) or recipe(**changes)
        accelerator = make_accelerator(settings.run)
        seed_all(settings.run.seed)
        task = make_task(settings, Process(), **({"teacher": given} if given else {}))
        (tmp_path / name).mkdir(exist_ok=True)
        try:
            Engine(task, settings, tmp_path / name, accelerator).fit()
        finally:
            AcceleratorState._reset_state(reset_partial_state=True)
        return tmp_path / name

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield run
    torch.set_num_threads(before)


def tensors(folder: Path) -> dict[str, bytes]:
    """The bytes of the last checkpoint of a run."""
    (last,) = folder.glob(f"checkpoints/step-*{2 * STEPS}")
    return {path.name: path.read_bytes() for path in last.iterdir() if path.name != "progress.json"}


def test_the_teacher_is_neither_trained_nor_saved(train):
    spy = Spy()
    before = {key: value.clone() for key, value in spy.state_dict().items()}
    distilled = tensors(train("distilled", spy, run={"ema": 0.9}))
    supervised = tensors(train("supervised", None, recipe=replace(recipe(run={"ema": 0.9}), task=Supervised())))
    assert {name: len(data) for name, data in distilled.items()} == {
        name: len(data) for name, data in supervised.items()
    }
    assert distilled["raw.safetensors"] != supervised["raw.safetensors"]
    assert spy.modes == {(False, False, False)}, "in evaluation mode, without gradient"
    assert all(p.grad is None and not p.requires_grad for p in spy.parameters())
    assert all(torch.equal(value, before[key]) for key, value in spy.state_dict().items())


def test_with_no_share_of_the_teacher_the_student_is_the_supervised_one(train):
    distilled = tensors(train("distilled", Spy(), alpha=0.0))
    assert distilled == tensors(train("supervised", None, recipe=replace(recipe(), task=Supervised())))


def test_the_parts_of_the_loss_are_logged(train):
    lines = read_metrics(train("run", Spy(), alpha=0.25))
    for line in (line for line in lines if line["kind"] == "train"):
        assert line["loss"] == pytest.approx(0.75 * line["ce"] + 0.25 * line["distill"], rel=1e-4)
        assert 0 <= line["teacher_agreement"] <= 1


@pytest.mark.parametrize(
    "options", [{"targets": "hard"}, {"targets": "soft", "temperature": 2.0}, {"targets": "soft", "top_k": 3}]
)
def test_a_cached_teacher_makes_the_same_student_and_is_not_asked(train, tmp_path, options):
    plain, first, second = Spy(), Spy(), Spy()
    expected = tensors(train("plain", plain, **options))
    cache = {"cache": str(tmp_path / "cache"), **options}
    assert tensors(train("first", first, **cache)) == expected
    assert tensors(train("second", second, **cache)) == expected
    micro_batches = 2 * 2 * STEPS
    assert [len(spy.seen) - 1 for spy in (plain, first, second)] == [micro_batches, micro_batches, 0]  # but for a probe
    assert all(len(spy.seen[0]) == 1 for spy in (plain, first, second))
    files = {path.name: path.stat().st_size for path in (tmp_path / "cache").iterdir()}
    kept = {"hard": 1}.get(options["targets"], options.get("top_k", 10))
    images = 2 * 2 * STEPS * 180
    assert len(files) == 3, "a file an epoch, and cache.json"
    assert sum(size for name, size in files.items() if name != "cache.json") <= images * 8 * kept + 12 * 64


@pytest.mark.parametrize("step", [1, STEPS - 1, STEPS + 1], ids=["mid-epoch", "end of epoch", "second epoch"])
def test_an_interrupted_student_continues_from_the_cache(train, tmp_path, monkeypatch, step):
    expected = tensors(train("plain", Spy()))
    loss, waiting = Task.loss, [step]

    def interrupted(self, model, batch, at):
        if waiting and at == waiting[0]:
            waiting.pop()
            os.kill(os.getpid(), signal.SIGINT)
        return loss(self, model, batch, at)

    monkeypatch.setattr(Task, "loss", interrupted)
    cache = {"cache": str(tmp_path / "cache")}
    with pytest.raises(KeyboardInterrupt):
        train("stopped", Spy(), **cache)
    rest, again = Spy(), Spy()
    assert tensors(train("stopped", rest, **cache)) == expected
    assert len(rest.seen) - 1 == 2 * (2 * STEPS - step - 1)
    assert tensors(train("again", again, **cache)) == expected
    assert len(again.seen) == 1


@pytest.mark.parametrize("record", [0, 4, 7])
def test_a_kill_before_the_mark_leaves_an_answer_not_yet_given(train, tmp_path, monkeypatch, record):
    expected, cache = tensors(train("plain", Spy())), {"cache": str(tmp_path / "cache")}
    digest, marks = teacher_cache._digest, []

    def killed(body, place):
        marks.append(place)
        if len(marks) == record + 1:
            raise KeyboardInterrupt  # the body is on the disk, its mark is not
        return digest(body, place)

    monkeypatch.setattr(teacher_cache, "_digest", killed)
    with pytest.raises(KeyboardInterrupt):
        train("killed", Spy(), **cache)
    monkeypatch.setattr(teacher_cache, "_digest", digest)
    rest = Spy()
    assert tensors(train("fresh", rest, **cache)) == expected
    assert len(rest.seen) - 1 == 2 * 2 * STEPS - record


def cached(folder: Path, spy: nn.Module | None = None, process: Process = Process(), **changes) -> Task:  # noqa: B008
    return make(spy or Spy(), process, cache=str(folder), **changes)


def fill(folder: Path, process: Process = Process(), **changes) -> tuple[Task, dict]:  # noqa: B008 (frozen)
    """A task whose cache has the logits of its first micro-batch, and that micro-batch."""
    task = cached(folder, process=process, **changes)
    batch = next(task.batches(0, 0))
    task.teacher_logits(batch, task.augmented(batch)[0])
    return task, batch


def test_cached_logits_are_those_of_the_teacher(tmp_path):
    task, batch = fill(tmp_path / "cache", targets="soft", top_k=4)
    logits = task.teacher.function.outputs[-1]
    cached = task.cache.read(batch)
    assert torch.equal(cached.values, logits.sort(descending=True).values[:, :4])
    assert torch.equal(logits.gather(1, cached.indices), cached.values)
    assert task.cache.read(batch | {"place": (0, 1)}) is None
    assert task.cache.read(batch | {"place": (1, 0)}) is None


def test_a_record_is_written_once(tmp_path):
    task, batch = fill(tmp_path / "cache", targets="soft")
    before = task.cache.read(batch)
    task.cache.write(batch, before._replace(values=before.values + 1))
    assert torch.equal(task.cache.read(batch).values, before.values)


def test_each_process_has_its_own_records(tmp_path):
    tasks = [fill(tmp_path / "cache", process=Process(rank=rank, world=2)) for rank in (0, 1)]
    (one, first), (two, second) = tasks
    assert not torch.equal(first["image"], second["image"])
    assert torch.equal(one.cache.read(first).indices[:, 0], one.teacher.function.outputs[-1].argmax(1))
    assert torch.equal(two.cache.read(second).indices[:, 0], two.teacher.function.outputs[-1].argmax(1))


def test_a_record_is_complete_damaged_or_empty(tmp_path):
    task, batch = fill(tmp_path / "cache")
    (path,) = (tmp_path / "cache").glob("*.bin")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in (0, 15, 16, 40, len(whole) - 1, *rng.integers(len(whole), size=20)):
        torn = bytearray(whole)
        torn[place] ^= 1 << rng.integers(8)
        path.write_bytes(torn)
        with pytest.raises(UserError, match=r"epoch-00000-rank-000.bin is damaged \(remove that file"):
            task.cache.read(batch)
    for length in (16, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="is damaged"):
            task.cache.read(batch)
    for nothing in (b"", bytes(len(whole)), bytes(16) + whole[16:], bytes(16) + whole[16:100]):
        path.write_bytes(nothing)
        assert task.cache.read(batch) is None
        task.teacher_logits(batch, task.augmented(batch)[0])
        assert task.cache.read(batch) is not None


def test_a_mark_is_never_in_two_pages(tmp_path):
    for kept in range(1, 11):
        task = cached(tmp_path / str(kept), targets="soft", top_k=kept)
        assert task.cache.size % 32 == 0
        assert task.cache.size >= 16 + 16 + 8 * 180 * kept


def test_outputs_for_other_images_are_an_error(tmp_path):
    task, batch = fill(tmp_path / "cache")
    for change in ({"image": 255 - batch["image"]}, {"label": batch["label"].roll(1)}):
        with pytest.raises(UserError, match="other images"):
            task.cache.read(batch | change)


def test_logits_that_are_not_finite_are_not_cached(tmp_path):
    task, batch = fill(tmp_path / "cache", targets="soft")
    answer = task.cache.read(batch)
    with pytest.raises(UserError, match="not finite"):
        task.cache.write(batch | {"place": (0, 1)}, answer._replace(values=answer.values * float("nan")))
    assert task.cache.read(batch | {"place": (0, 1)}) is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"run": {"seed": 1}}, "seed: 0 -> 1"),
        ({"run": {"accumulate": 1}}, "accumulate: 2 -> 1"),
        ({"data": {"batch_size": 240}}, "data.batch_size: 360 -> 240"),
        ({"data": {"split_seed": 3}}, "data.split_seed"),
        ({"augment": replace(MIXED, mixup=0.1)}, "augment.mixup: 0.8 -> 0.1"),
        ({"process": Process(world=2)}, "processes: 1 -> 2"),
        ({"teacher_precision": "bf16"}, "teacher.precision: fp32 -> bf16"),
        ({"targets": "soft"}, "kept: 1 -> 10"),
        ({"spy": Spy(seed=2)}, "teacher.sha256"),
    ],
)
def test_a_cache_of_other_settings_is_an_error_with_the_field(tmp_path, changes, field):
    cached(tmp_path / "cache")
    with pytest.raises(UserError) as refusal:
        cached(tmp_path / "cache", **changes)
    assert field in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_settings_that_do_not_change_the_outputs_may_differ(tmp_path):
    cached(tmp_path / "cache")
    cached(tmp_path / "cache", run={"epochs": 9, "ema": 0.5}, alpha=0.1, label_smoothing=0.0, data={"strict": True})


@pytest.mark.parametrize("text", ["", "[]", "{}", "nonsense", '{"format": 2}', '{"a\\nb": 1}', "[" * 9999])
def test_a_broken_cache_json_is_named_in_one_line(tmp_path, text):
    cached(tmp_path / "cache")
    (tmp_path / "cache" / "cache.json").write_text(text)
    with pytest.raises(UserError) as refusal:
        cached(tmp_path / "cache")
    assert str(tmp_path / "cache") in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_full_disk_is_an_error_in_one_line(tmp_path, monkeypatch):
    task = cached(tmp_path / "cache")
    batch = next(task.batches(0, 0))

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"rank-000.bin: No space left on device \(make room"):
        task.teacher_logits(batch, task.augmented(batch)[0])
    monkeypatch.undo()
    assert task.cache.read(batch) is None


def test_a_function_can_be_a_teacher_but_cannot_be_cached(tmp_path):
    def teacher(images):
        return images.flatten(2)[:, 0, :10]

    losses, _, _ = ask(make(teacher))
    assert losses["distill"] > 0
    with pytest.raises(UserError, match="cannot be cached"):
        cached(tmp_path / "cache", teacher)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("teacher", "says"),
    [
        (lambda images: images.flatten(2)[:, 0, :7], "gives 7 logits, and the data has 10 classes"),
        (lambda images: images, r"an output of shape \(3, 8, 8\)"),
        (lambda images: (images, images), "cannot be run: 'tuple' object"),
        (lambda images: images.view(7), "cannot be run: shape"),
        (lambda images: images.flatten(2)[:, 0, :10] + float("nan"), "not finite"),
    ],
)
def test_an_unsuitable_teacher_is_an_error_before_training(teacher, says):
    with pytest.raises(UserError, match=says):
        make(teacher)


def test_the_recipe_goes_to_json_and_back():
    from resmlp.utils.serialization import from_dict, to_dict

    settings = recipe(targets="soft", teacher_size=(3, 4), cache="x", top_k=2)
    assert from_dict(ImageRecipe, json.loads(json.dumps(to_dict(settings)))) == settings
