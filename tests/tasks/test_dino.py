"""DINO: its loss, schedules and monitor by hand, one trunk at two sizes, and a run that stops and continues."""

import os
import signal
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import processes
import pytest
import torch
import torch.nn.functional as F
from accelerate.state import AcceleratorState
from numeric import gamma
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from resmlp import create_model
from resmlp.config import Data, ImageRecipe, Model, Optim, Run
from resmlp.config.tasks import Dino
from resmlp.data.images.unlabeled import Collection, open_collection
from resmlp.metrics.collapse import diagnose, effective_rank, entropy, gram
from resmlp.models import Trunk
from resmlp.models.any_size import ResizedTrunk
from resmlp.models.resize import resize
from resmlp.nn.batch_norm import SynchronizedBatchNorm1d
from resmlp.nn.dino_head import ProjectionHead, UnitLinear
from resmlp.nn.grid_resampling import along
from resmlp.recipes import RECIPES
from resmlp.tasks import dino, make_task
from resmlp.tasks.dino import Dino as Task
from resmlp.tasks.dino_views import Enlarge, Pad, dino_loss
from resmlp.training.engine import Engine
from resmlp.training.optimizers import roles, weight_decay
from resmlp.training.train import make_accelerator, train
from resmlp.utils.devices import Process
from resmlp.utils.errors import UserError
from resmlp.utils.seeding import seed_all
from resmlp.utils.serialization import to_dict

OPTIONS = Dino(
    local_views=2,
    local_size=(4,),
    out_dim=24,
    hidden=16,
    bottleneck=8,
    warmup_teacher_temp_epochs=1,
    teacher_momentum=0.9,
    knn_images=30,
)
RECIPE = ImageRecipe(
    "toy",
    task=OPTIONS,
    model=Model("resmlp_digits", init="fan-in", depth=1, dim=16),
    data=Data(source="digits", img_size=(8,), batch_size=16, workers=0, crop_ratio=1.0),
    optim=Optim("adamw", lr=1e-3, weight_decay=0.04, final_weight_decay=0.4, warmup_epochs=0, clip=3),
    run=Run(epochs=2, device="cpu", log=(), eval_every=2, log_every=100),
)
IMAGES, STEPS = 48, 3  # of an epoch


def open_few(data: Data, labels: bool = True) -> Collection:
    """The digits, with 48 images for training and 20 for validation."""
    train, val, why = open_collection(data, labels)
    return Collection(train.subset(range(IMAGES)), val.subset(range(20)), why)


def train_on_few(settings: ImageRecipe, out: Path) -> None:
    """The same in a process of its own, which has no fixtures."""
    dino.open_collection = open_few
    train(settings, out)


@pytest.fixture(autouse=True)
def _few(monkeypatch):

    monkeypatch.setattr(dino, "open_collection", open_few)


def recipe(data: dict | None = None, run: dict | None = None, optim: dict | None = None, **task) -> ImageRecipe:
    parts = {"task": task, "data": data or {}, "run": run or {}, "optim": optim or {}}
    return replace(RECIPE, **{name: replace(getattr(RECIPE, name), **changes) for name, changes in parts.items()})


def make(settings: ImageRecipe = RECIPE, process: Process = Process()) -> Task:  # noqa: B008
    seed_all(0)
    return make_task(settings, process)


def batch(images: int = 6, local: int = 2, side: int = 4, seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    views = {"global": (images, 2, 3, 8, 8)} | ({"local": (images, local, 3, side, side)} if local else {})
    return {kind: torch.randint(256, shape, generator=draw, dtype=torch.uint8) for kind, shape in views.items()}


@pytest.fixture
def engine(tmp_path: Path):
    """`engine(task, recipe)` over `tmp_path/run`."""

    def build(task: Task, settings: ImageRecipe) -> Engine:
        AcceleratorState._reset_state(reset_partial_state=True)
        (tmp_path / "run").mkdir(exist_ok=True)
        return Engine(task, settings, tmp_path / "run", make_accelerator(settings.run))

    yield build
    AcceleratorState._reset_state(reset_partial_state=True)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# --- the loss


@pytest.mark.isa
@pytest.mark.parametrize("views", [2, 3, 7])
def test_the_loss_is_the_mean_over_pairs_of_different_views(views):
    rng = np.random.default_rng(views)
    student, teacher = rng.normal(size=(views, 5, 11)), softmax(3 * rng.normal(size=(2, 5, 11)))
    pairs = [
        -(teacher[t, b] * np.log(softmax(student[s, b] / 0.1))).sum()
        for t in range(2)
        for s in range(views)
        for b in range(5)
        if s != t
    ]
    ours = dino_loss(torch.from_numpy(student), torch.from_numpy(teacher), 0.1)
    assert ours.item() == pytest.approx(np.mean(pairs), rel=1e-6)


@pytest.mark.isa
def test_loss_and_scalars_of_a_batch_by_hand():
    task, given = make(), batch()
    task.state.center.copy_(torch.linspace(-1, 1, 24))
    numbers = task.loss(task.model, given, step=0)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (task.preprocessing.mean, task.preprocessing.std))

    def image(kind, number, i):
        return ((given[kind][i, number] / 255 - mean) / std)[None]

    expected, entropies = [], []
    for i in range(6):
        large = [image("global", n, i) for n in range(2)]
        small = [F.interpolate(image("local", n, i), (8, 8), mode="bicubic", antialias=True) for n in range(2)]
        with torch.no_grad():
            p = [softmax(np.array((task.state.network(x)[0] - task.state.center) / 0.04, float)) for x in large]
            q = [softmax(np.array(task.model(x)[0] / 0.1, float)) for x in large + small]
        entropies += [-(one * np.log(one.clip(1e-300))).sum() for one in p]
        expected += [-(p[t] * np.log(q[s])).sum() for t in range(2) for s in range(4) if s != t]
    assert numbers["loss"].item() == pytest.approx(np.mean(expected), rel=1e-4)  # cosines are divided by 0.04
    assert numbers["teacher_entropy"].item() == pytest.approx(np.mean(entropies), rel=1e-4)
    assert numbers["kl"].item() == pytest.approx(np.mean(expected) - np.mean(entropies), rel=1e-4)
    assert numbers["center_norm"].item() == pytest.approx(np.linalg.norm(np.linspace(-1, 1, 24)), rel=1e-6)


@pytest.mark.isa
def test_the_center_moves_by_the_mean_over_all_parts_of_a_step():
    task = make()
    before = task.state.center.copy_(torch.arange(24.0)).clone()
    parts = [batch(4, seed=1), batch(4, seed=2)]
    said = torch.cat([task.state.network(task.views(part, "global")) for part in parts])
    for part in parts:
        task.loss(task.model, part, 0)
        assert torch.equal(task.state.center, before), "the step is centered by the steps before it"
    task.after_step(task.model, 0)
    torch.testing.assert_close(task.state.center, 0.9 * before + 0.1 * said.mean(0), rtol=1e-6, atol=1e-6)


@pytest.mark.isa
def test_one_step_agrees_with_the_published_algorithm(engine):
    """Caron et al. 2021, algorithm 1, written again: loss, gradients, clip, SGD, teacher, and then the center."""
    settings = recipe(optim={"name": "sgd", "lr": 0.5, "weight_decay": 0.0, "final_weight_decay": None, "clip": 0.3})
    settings = replace(settings, optim=replace(settings.optim, momentum=0.0), task=replace(OPTIONS, freeze_last=0))
    task, given = make(settings), batch(16)
    task.batches = lambda epoch, start: iter([given])
    task.steps_per_epoch, task.total = 1, 2  # warm-up of the temperature over one step; half of the momentum's cosine
    task.state.center.copy_(torch.linspace(-0.2, 0.2, 24))
    with torch.no_grad():
        for parameter in task.state.network.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    student = {name: p.detach().double() for name, p in task.model.named_parameters()}
    teacher = {name: p.detach().double() for name, p in task.state.network.named_parameters()}
    center = task.state.center.double()
    seen = task.preprocessing
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (seen.mean, seen.std))
    large, small = ([(given[kind][:, i] / 255 - mean) / std for i in range(2)] for kind in ("global", "local"))
    views = large + [F.interpolate(x, (8, 8), mode="bicubic", antialias=True) for x in small]
    network = deepcopy(task.model.trunk).double()

    def said(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        trunk = {name.removeprefix("trunk."): w for name, w in weights.items() if name.startswith("trunk.")}
        z = torch.func.functional_call(network, trunk, (x,))
        hidden = [name.removesuffix(".weight") for name in weights if name.startswith("head.mlp.") and "weight" in name]
        for i, layer in enumerate(hidden):
            z = z @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]
            z = z if i == 2 else z * (1 + torch.erf(z / 2**0.5)) / 2
        last = weights["head.last.weight"]
        return z / z.norm(dim=1, keepdim=True) @ (last / last.norm(dim=1, keepdim=True)).T

    leaves = {name: w.clone().requires_grad_() for name, w in student.items()}
    with torch.no_grad():
        t = [said(teacher, x) for x in views[:2]]
    losses = []
    for i in range(2):
        p = ((t[i] - center) / 0.04).exp()
        p /= p.sum(1, keepdim=True)
        losses += [-(p * (said(leaves, v) / 0.1).log_softmax(1)).sum(1).mean() for j, v in enumerate(views) if j != i]
    loss = sum(losses) / len(losses)
    gradients = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()))))
    length = torch.sqrt(sum((g**2).sum() for g in gradients.values()))
    assert length > 0.3, "the clip has something to do"
    moved = {name: w - 0.5 * gradients[name] * 0.3 / length for name, w in student.items()}
    followed = {name: 0.9 * w + 0.1 * moved[name] for name, w in teacher.items()}

    engine(task, replace(settings, run=replace(settings.run, epochs=1))).fit()
    for name, parameter in task.model.named_parameters():
        torch.testing.assert_close(parameter.double(), moved[name], rtol=1e-4, atol=1e-6, msg=name)
    for name, parameter in task.state.network.named_parameters():
        torch.testing.assert_close(parameter.double(), followed[name], rtol=1e-4, atol=1e-6, msg=name)
    torch.testing.assert_close(
        task.state.center.double(), 0.9 * center + 0.1 * torch.cat(t).mean(0), rtol=1e-4, atol=1e-6
    )


@pytest.mark.isa
def test_schedules_are_those_of_dino():
    task = make()
    total, decays = 2 * STEPS, []
    rises = np.concatenate([0.04 + (0.07 - 0.04) * np.arange(STEPS) / STEPS, np.full(STEPS, 0.07)])
    half = (1 + np.cos(np.pi * np.arange(total) / total)) / 2
    assert [task.teacher_temp(step) for step in range(total)] == pytest.approx(list(rises))
    decays = [weight_decay(RECIPE.optim, step, total) for step in range(total)]
    assert decays == pytest.approx(list(0.4 + (0.04 - 0.4) * half))
    for step in range(total):
        momentum = 1 + (0.9 - 1) * half[step]
        with torch.no_grad():
            for parameter in task.model.parameters():
                parameter.normal_()
        wanted = [
            momentum * mine + (1 - momentum) * theirs
            for mine, theirs in zip(task.state.network.parameters(), task.model.parameters())
        ]
        task.mean_outputs.append(torch.zeros(24))
        task.after_step(task.model, step)
        for mine, right in zip(task.state.network.parameters(), wanted):
            torch.testing.assert_close(mine, right.float(), rtol=1e-5, atol=1e-6)
    assert make(recipe(warmup_teacher_temp_epochs=0)).teacher_temp(0) == 0.07


def test_the_engine_sets_the_weight_decay_of_what_decays(engine):
    task = make()
    made = engine(task, RECIPE)
    made.fit()
    last = weight_decay(RECIPE.optim, 2 * STEPS - 1, 2 * STEPS)
    decaying, resting = made.optimizer.param_groups
    assert (decaying["weight_decay"], resting["weight_decay"]) == (last, 0.0)
    assert any(p is task.model.head.last.weight for p in decaying["params"])


# --- the monitor


@pytest.mark.isa
def test_entropy_and_rank_agree_with_numpy():
    rng = np.random.default_rng(0)
    p = softmax(4 * rng.normal(size=(7, 30)))
    assert entropy(torch.from_numpy(p)).numpy() == pytest.approx(-(p * np.log(p)).sum(-1), rel=1e-6)
    assert entropy(torch.tensor([1.0, 0.0])).item() == 0
    x = (rng.normal(size=(40, 5)) @ rng.normal(size=(5, 12)) + 1e-3 * rng.normal(size=(40, 12))).astype(np.float32)
    share = np.linalg.svd(x.astype(float), compute_uv=False)
    share /= share.sum()
    assert effective_rank(gram(torch.from_numpy(x))) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-6)
    assert effective_rank(gram(torch.ones(5, 4))) == pytest.approx(1, abs=1e-5)  # eigenvalues of 0 are rounded
    assert effective_rank(gram(torch.eye(6))) == pytest.approx(6)
    assert np.isnan(effective_rank(gram(torch.full((3, 2), torch.nan))))


def test_diagnosis_of_a_collapse():
    limit = np.log(1000)
    assert diagnose(1000, 0.5 * limit, 0.9 * limit) is None
    assert diagnose(1000, 0.01, 0.9 * limit) is None, "sure of each image, and of each something else"
    uniform, one = diagnose(1000, 0.999 * limit, limit), diagnose(1000, 0.001, 0.001)
    assert (uniform.kind, one.kind) == ("uniform", "one dimension")
    assert "--task.warmup-teacher-temp" in uniform.hint
    assert "--task.center-momentum" in one.hint
    assert diagnose(1000, float("nan"), float("nan")) is None


class Constant(nn.Module):
    """A head with the same output for every view."""

    def __init__(self, out: Tensor):
        super().__init__()
        self.out = out

    def forward(self, x: Tensor) -> Tensor:
        return self.out.expand(len(x), -1)


COLLAPSED = {"uniform over all": torch.zeros(24), "the same single dimension": 9 * F.one_hot(torch.tensor(3), 24)}


@pytest.mark.parametrize("words", COLLAPSED)
def test_a_collapse_is_a_single_warning_or_stops_the_run(words, capsys):
    ends_line = 3 * STEPS - 1
    for stop in (False, True):
        task = make(recipe(stop_on_collapse=stop))
        task.state.network.head = Constant(COLLAPSED[words])
        task.loss(task.model, batch(), STEPS - 1)  # too early to say
        assert capsys.readouterr().err == ""
        if stop:
            assert task.should_stop() is None
            task.loss(task.model, batch(), ends_line)
            assert f"at step {ends_line}: " in task.should_stop().what
            assert words in task.should_stop().what
            assert "another --out" in task.should_stop().hint
            continue
        for step in (ends_line, ends_line + STEPS, ends_line + STEPS - 1):
            numbers = task.loss(task.model, batch(), step)
            task.mean_outputs.clear()
        told = " ".join(capsys.readouterr().err.split())
        assert told.count("the teacher has collapsed") == 1
        assert words in told
        assert "mean_entropy" not in numbers or numbers["mean_entropy"].item() >= 0


def test_a_run_of_only_warm_up_is_monitored_from_its_half(capsys):
    task = make(recipe(optim={"warmup_epochs": 2}, stop_on_collapse=True))  # of two epochs
    task.state.network.head = Constant(torch.zeros(24))
    task.loss(task.model, batch(), STEPS - 1)
    assert task.should_stop() is None
    task.loss(task.model, batch(), 2 * STEPS - 1)
    assert task.should_stop()


@pytest.mark.isa
def test_scalars_at_the_end_of_a_line_of_the_log():
    task, given = make(recipe(run={"log_every": 2})), batch()
    assert "feature_rank" not in task.loss(task.model, given, 0)
    numbers = task.loss(task.model, given, 1)
    large = task.views(given, "global")
    with torch.no_grad():
        features = np.array(task.state.network.trunk(large), float)
        temp = task.teacher_temp(1)
        mean = softmax(np.array(task.state.network(large), float) / temp).mean(0)
    share = np.linalg.svd(features, compute_uv=False)
    share /= share.sum()
    assert numbers["feature_rank"].item() == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-5)
    assert numbers["mean_entropy"].item() == pytest.approx(-(mean * np.log(mean)).sum(), rel=1e-4)


# --- the head and the teacher


@pytest.mark.isa
@pytest.mark.parametrize("compiled", [False, True])
def test_the_last_layer_is_weight_norm_with_gain_1(compiled):
    torch.manual_seed(1)
    ours = UnitLinear(8, 20).double()
    theirs = weight_norm(nn.Linear(8, 20, bias=False).double())
    with torch.no_grad():
        theirs.parametrizations.weight.original0.fill_(1)
        theirs.parametrizations.weight.original1.copy_(ours.weight)
    x = torch.randn(5, 8, dtype=torch.float64)
    out = (torch.compile(ours, backend="aot_eager") if compiled else ours)(x)
    torch.testing.assert_close(out, theirs(x))
    out.square().sum().backward()
    theirs(x).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.parametrizations.weight.original1.grad)


@pytest.mark.isa
def test_a_head_gives_cosines():
    head = ProjectionHead(16, 32, 8, 50)
    assert [tuple(p.shape) for p in head.parameters()][::2] == [(32, 16), (32, 32), (8, 32), (50, 8)]
    out = head(1e3 * torch.randn(4, 16))
    assert out.abs().max() <= 1 + gamma(3 * 8)  # products of two vectors of 8 with length 1, up to rounding
    head.double()
    x = head.mlp(1e3 * torch.randn(4, 16).double())
    expected = F.cosine_similarity(x[:, None], head.last.weight[None], dim=-1)
    torch.testing.assert_close(head.last(F.normalize(x)), expected, rtol=0, atol=1e-12)


def test_the_last_layer_is_frozen_for_an_epoch(engine):
    task = make()
    start = task.model.head.last.weight.detach().clone()
    seen, after = [], task.after_step

    def spy(model, step):
        seen.append((torch.equal(model.head.last.weight, start), model.head.mlp[0].weight.grad is not None))
        after(model, step)

    task.after_step = spy
    engine(task, RECIPE).fit()
    assert [same for same, _ in seen] == [True] * STEPS + [False] * STEPS


def test_nothing_optimizes_the_teacher(engine):
    task = make()
    made = engine(task, RECIPE)
    made.fit()
    optimized = {id(p) for group in made.optimizer.param_groups for p in group["params"]}
    assert optimized == {id(p) for p in task.model.parameters()}
    assert all(p.grad is None and not p.requires_grad and id(p) not in optimized for p in task.state.parameters())
    assert not any(module.training for module in task.state.network.modules())
    assert task.state.center.norm() > 0


# --- small views


@pytest.mark.isa
@pytest.mark.parametrize(
    "changes", [{}, {"mixer": "mlp"}, {"mixer": "dwconv", "pos_embed": True}, {"pool": "classmlp"}], ids=str
)
def test_interpolation_is_a_network_of_that_size_with_the_weights_resized(changes):
    torch.manual_seed(3)
    trunk = create_model("resmlp_digits", img_size=(8, 12), num_classes=0, depth=2, dim=16, **changes).double()
    for parameter in trunk.parameters():
        nn.init.normal_(parameter, std=0.3)
    hidden = {"token_hidden": 4 * 24} if changes.get("mixer") == "mlp" else {}
    small = create_model("resmlp_digits", img_size=(4, 8), num_classes=0, depth=2, dim=16, **changes, **hidden).double()
    small.load_state_dict(resize(trunk.state_dict(), trunk.config.architecture, (4, 6), (2, 4)))
    x, resized = torch.randn(3, 3, 4, 8).double(), ResizedTrunk(trunk.config, (4, 8)).double()
    torch.testing.assert_close(resized(trunk, x), small(x), rtol=1e-5, atol=1e-6)  # its matrices come from float32


@pytest.mark.isa
def test_the_gradient_of_interpolation_is_that_of_the_dense_formula():
    torch.manual_seed(4)
    trunk = create_model("resmlp_digits", img_size=8, num_classes=0, depth=1, dim=16).double()
    x, weights = torch.randn(2, 3, 4, 4).double(), torch.randn(2, 16).double()
    (ResizedTrunk(trunk.config, (4, 4)).double()(trunk, x) * weights).sum().backward()
    found = {name: parameter.grad.clone() for name, parameter in trunk.named_parameters()}
    assert all(found[name].abs().max() > 0 for name in ("blocks.0.tokens.fn.weight", "blocks.0.tokens.fn.bias"))

    side = along(4, 2)  # U+ and U of one side of the grid
    shrink, stretch = (torch.kron(m, m).float().double() for m in (side.values, side.weights))
    a = trunk.blocks[0].tokens.fn
    block, t = trunk.blocks[0].tokens, trunk.embed(x)
    mixed = (shrink @ a.weight @ stretch) @ block.norm(t) + (shrink @ a.bias)[:, None]
    dense = trunk.norm(trunk.blocks[0].channels(t + block.scale(mixed))).mean(1)
    trunk.zero_grad()
    (dense * weights).sum().backward()
    for name, parameter in trunk.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)


@pytest.mark.isa
def test_interpolation_adds_nothing_to_a_checkpoint_and_can_be_compiled():
    task = make(recipe(local_crops="interpolate"))
    assert not [key for key in task.model.state_dict() if "local" in key]
    assert sum(p.numel() for p in task.model.parameters()) == sum(p.numel() for p in make().model.parameters())
    large, small = (task.views(batch(), kind) for kind in ("global", "local"))
    compiled = torch.compile(task.model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(large, small), task.model(large, small), rtol=0, atol=1e-4)  # cosines
    gradients = []
    for model in (compiled, task.model):
        model.zero_grad()
        model(large, small).square().sum().backward()
        gradients.append(task.model.trunk.blocks[0].tokens.fn.weight.grad.clone())
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-3 * gradients[0].abs().max().item())


def test_a_padded_view_is_complete_on_an_empty_canvas():
    pad, views = Pad((8, 12)), torch.rand(40, 3, 4, 5) + 1
    corners = set()
    for view, canvas in zip(views, pad.canvas(views)):
        rows, columns = canvas.sum(0).nonzero().unbind(1)
        top, left = rows.min().item(), columns.min().item()
        assert torch.equal(canvas[:, top : top + 4, left : left + 5], view)
        assert (canvas != 0).sum() == view.numel()
        corners.add((top, left))
    assert {top for top, _ in corners} == set(range(5))
    assert {left for _, left in corners} == set(range(8))
    assert torch.equal(Pad((4, 5)).canvas(views), views)


def test_the_trunk_gets_enlarged_views():
    views = torch.rand(2, 3, 4, 4)
    seen = Enlarge((8, 8))(lambda x: x, views)
    torch.testing.assert_close(seen, F.interpolate(views, (8, 8), mode="bicubic", align_corners=False, antialias=True))


@pytest.mark.parametrize("mode", ["resize", "interpolate", "pad", "none", "no views"])
def test_all_local_crops_train(mode, engine):
    views = {"local_views": 0} if mode == "no views" else {"local_crops": mode}
    views |= {"local_views": 0, "local_size": Dino().local_size} if mode.startswith("no") else {}
    settings = recipe(data={"batch_size": 20}, run={"epochs": 1, "log_every": 1}, **views)
    task = make(settings)
    start = [p.detach().clone() for p in task.model.parameters()]
    assert engine(task, settings).fit().step == 2
    moved = [not torch.equal(a, b) for a, b in zip(start, task.model.parameters())]
    assert moved == [name != "head.last.weight" for name, _ in task.model.named_parameters()]


# --- a run


def content(folder: Path) -> dict[str, bytes]:
    last = max(folder.glob("checkpoints/step-*"))
    files = [folder / "model.safetensors", *last.glob("*.safetensors"), last / "optimizer.pt"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.usefixtures("draft_figures")
def test_a_run_stopped_within_an_epoch_continues_bit_identically(tmp_path, monkeypatch):
    settings = recipe(run={"accumulate": 2, "precision": "bf16"}, local_crops="pad")
    settings = replace(settings, model=replace(settings.model, drop_path=0.2))
    train(settings, tmp_path / "whole")
    loss, waiting = Task.loss, [4]

    def interrupted(self, model, batch, step):
        if waiting and step == waiting[0]:
            waiting.pop()
            os.kill(os.getpid(), signal.SIGINT)
        return loss(self, model, batch, step)

    monkeypatch.setattr(Task, "loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "torn")
    assert (tmp_path / "torn" / "checkpoints" / "step-00000005" / "task.safetensors").is_file()
    train(settings, tmp_path / "torn")
    assert content(tmp_path / "torn") == content(tmp_path / "whole")


def test_the_trunk_of_the_teacher_is_saved(tmp_path):
    from resmlp.models import open_model

    task = make()
    with torch.no_grad():
        for parameter in task.state.network.parameters():
            parameter.normal_()
    task.save(tmp_path, task.model, {})
    saved = open_model(tmp_path)
    assert isinstance(saved.model, Trunk)
    assert (saved.model.config.num_classes, saved.classes) == (0, ())
    for key, tensor in task.state.network.trunk.state_dict().items():
        assert torch.equal(saved.model.state_dict()[key], tensor)


def test_two_processes_agree_with_one(tmp_path):
    from resmlp.models.weights import read_tensors
    from resmlp.utils.logger import read_metrics

    settings = recipe(run={"log_every": 1}, local_crops="interpolate")
    processes.together(train_on_few, settings, tmp_path / "two", folder=tmp_path)
    train(settings, tmp_path / "one")
    step = f"checkpoints/step-{2 * STEPS:08d}/task.safetensors"
    one, two = (read_tensors(tmp_path / name / step) for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert one["center"].norm() > 0.1
    torch.testing.assert_close(two["center"], one["center"], rtol=1e-3, atol=1e-4)
    lines = [[e for e in read_metrics(tmp_path / name) if e["kind"] == "train"] for name in ("one", "two")]
    for alone, shared in zip(*lines):  # before Adam's first steps, which weigh rounding errors as much as gradients
        for key in ("mean_entropy", "feature_rank", "center_norm"):
            assert shared[key] == pytest.approx(alone[key], rel=1e-3), (key, alone["step"])


# --- errors, and the recipes

ERRORS: list[tuple[Callable[[], ImageRecipe], str]] = [
    (lambda: recipe(data={"batch_size": 1}), "--data.batch-size 1: "),
    (lambda: recipe(run={"ema": 0.9}), "--run.ema 0.9"),
    (lambda: recipe(optim={"freeze_epochs": 1}), "--optim.freeze-epochs"),
    (lambda: replace(RECIPE, augment=replace(RECIPE.augment, mixup=0.2)), "--augment.mixup: 0.0 -> 0.2"),
    (lambda: recipe(local_size=(5,), local_crops="interpolate"), "--task.local-size 5x5 does not divide .* \\(try 4x4"),
    (lambda: recipe(local_size=(1, 4), local_crops="interpolate"), "1x4 does not divide .* \\(try 2x4"),
    (lambda: recipe(local_size=(9,), local_crops="pad"), "9x9 does not fit into --data.img-size 8x8"),
    (lambda: recipe(local_size=(4, 9)), "4x9 does not fit into --data.img-size 8x8"),
    (
        lambda: recipe(local_crops="none", local_size=None),
        "^--task.local-views: there are no small views with --task.local-crops none",
    ),
    (
        lambda: recipe(local_crops="none", local_views=8),
        "^--task.local-size: there are no small views with --task.local-crops none",
    ),
    (lambda: recipe(local_views=0), "^--task.local-size: there are no small views with --task.local-views 0"),
    (lambda: recipe(local_crops="crop"), "--task.local-crops 'crop'"),
    (lambda: recipe(local_size=(1, 2, 3)), "--task.local-size 1 2 3"),
    (lambda: recipe(local_scale=(0.5, 0.1)), "--task.local-scale 0.5 0.1"),
    (lambda: recipe(teacher_temp=0.0), "--task.teacher-temp 0"),
    (lambda: recipe(teacher_momentum=1.5), "--task.teacher-momentum 1.5"),
    (lambda: recipe(local_views=-1), "--task.local-views -1"),
    (lambda: recipe(out_dim=1), "--task.out-dim 1"),
    (lambda: recipe(optim={"final_weight_decay": -1.0}), "--optim.final-weight-decay -1"),
]


@pytest.mark.parametrize(("settings", "message"), ERRORS, ids=[message for _, message in ERRORS])
def test_unsuitable_settings_are_errors_in_one_line(settings, message):
    with pytest.raises(UserError, match=message) as refusal:
        make(settings())
    assert "\n" not in str(refusal.value)


def test_a_recipe_with_small_views_can_be_run_without_them():
    cifar = RECIPES["dino-cifar10"]
    dino._check(replace(cifar, task=replace(cifar.task, local_crops="none")), replace(cifar.task, local_crops="none"))
    changed = replace(cifar.task, local_crops="none", local_size=(12,), local_scale=(0.1, 0.2))
    with pytest.raises(UserError, match="^--task.local-size, --task.local-scale: there are"):
        dino._check(replace(cifar, task=changed), changed)


def test_the_recipe_of_table_2():
    found = RECIPES["dino"]
    task, optim = found.task, found.optim
    assert (found.run.epochs, found.data.batch_size, found.model.name) == (300, 1024, "resmlp_s12")
    assert (optim.name, optim.lr, optim.weight_decay, optim.final_weight_decay) == ("adamw", 5e-4 * 4, 0.04, 0.4)
    assert (optim.warmup_epochs, optim.clip, optim.schedule) == (10, 3, "cosine")
    assert (task.warmup_teacher_temp, task.teacher_temp, task.warmup_teacher_temp_epochs) == (0.04, 0.07, 30)
    assert (task.student_temp, task.center_momentum, task.teacher_momentum) == (0.1, 0.9, 0.996)
    assert (task.hidden, task.bottleneck, task.out_dim, task.freeze_last) == (2048, 256, 65536, 1)
    assert (task.local_views, task.local_size, task.local_crops) == (8, None, "resize")
    assert (task.global_scale, task.local_scale, found.data.size) == ((0.4, 1.0), (0.05, 0.4), (224, 224))
    assert "Table 2" in found.paper
    assert dict(found.expected) == {"knn": 0.626}


@pytest.mark.parametrize("name", ["dino", "dino-cifar10", "dino-folder"])
def test_recipes_survive_json(name):
    from resmlp.utils.serialization import from_dict

    assert from_dict(ImageRecipe, to_dict(RECIPES[name])) == RECIPES[name]


@pytest.mark.isa
def test_a_head_with_batchnorm_uses_the_batch_in_training_and_evaluation():
    """BatchNorm over the views of a step, biased variance, written out; nothing of earlier batches is kept."""
    torch.manual_seed(0)
    head, x = ProjectionHead(6, 10, 4, 12, "batchnorm"), torch.randn(7, 6)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(std=0.5)
    z, layers = x.double(), list(head.mlp)
    for linear, norm in zip(layers[0::3], [*layers[1::3], None]):
        z = z @ linear.weight.double().T + linear.bias.double()
        if norm is not None:
            z = (z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt() * norm.weight.double() + norm.bias.double()
            z = z * (1 + torch.erf(z / 2**0.5)) / 2
    last = head.last.weight.double()
    expected = z / z.norm(dim=1, keepdim=True) @ (last / last.norm(dim=1, keepdim=True)).T
    for mode in (True, False):
        torch.testing.assert_close(head.train(mode)(x).double(), expected, rtol=0, atol=1e-4)  # cosines
    assert not list(head.buffers())
    assert optimized_norms(head) == {"BatchNorm1d"}, "never decayed"


def test_batchnorm_of_the_head_is_over_all_processes():
    """Of the student and of the teacher."""
    for world, kind in ((1, nn.BatchNorm1d), (2, SynchronizedBatchNorm1d)):
        task = make(recipe(head_norm="batchnorm"), Process(world=world))
        for head in (task.model.head, task.state.network.head):
            assert {type(part) for part in head.mlp if isinstance(part, nn.BatchNorm1d)} == {kind}


def optimized_norms(head: ProjectionHead) -> set[str]:
    """The roles of the parameters of the head, without weights and biases."""
    return {role for _, role in roles(head)} - {"weight", "bias"}
