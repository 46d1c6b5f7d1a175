"""Self-distillation without labels (DINO, Caron et al. 2021), for networks that are fixed to one size: Table 2."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from resmlp import config
from resmlp.config import tasks as settings
from resmlp.data import EvalBatches, ImageSet, TrainBatches, normalize
from resmlp.data.images.multicrop import MultiCrop
from resmlp.data.images.unlabeled import open_collection
from resmlp.metrics.collapse import diagnose, effective_rank, entropy, gram
from resmlp.models import save_model
from resmlp.nn.dino_head import ProjectionHead
from resmlp.recipes import RECIPES
from resmlp.tasks.base import Batch
from resmlp.tasks.dino_views import LOCAL, Viewer, cross_views
from resmlp.tasks.image_task import ImageTask, share_in_words
from resmlp.tasks.supervised import build_model, in_words
from resmlp.utils.checks import demand
from resmlp.utils.devices import Process, all_mean
from resmlp.utils.errors import UserError
from resmlp.utils.logger import console
from resmlp.utils.schedules import cosine, linear
from resmlp.utils.serialization import difference, to_dict

RANKED = 2048  # images whose features' rank stands in for k-NN where there are no labels


class Teacher(nn.Module):
    """The student's moving average, and the center of what it says."""

    center: Tensor

    def __init__(self, student: Viewer, out_dim: int):
        super().__init__()
        self.network = Viewer(deepcopy(student.trunk), deepcopy(student.head))
        self.network.eval().requires_grad_(False)  # its drop path is off, and it follows the student alone
        self.register_buffer("center", torch.zeros(out_dim))

    @torch.no_grad()
    def follow(self, student: Viewer, momentum: float) -> None:
        """A step towards the student, of which `momentum` is kept; buffers are copied."""
        mine, theirs = self.network, (student.trunk, student.head)
        followed: list[Tensor] = [parameter for part in theirs for parameter in part.parameters()]
        torch._foreach_lerp_([*mine.parameters()], followed, 1 - momentum)
        for own, copied in zip(mine.buffers(), (buffer for part in theirs for buffer in part.buffers())):
            own.copy_(copied)


class Dino(ImageTask):
    """The student learns, from each of many views of an image, what the teacher says of the large ones.

    `model` is the student, `state` the teacher, which is what is evaluated and saved, without its head. `evaluate`
    gives the k-NN accuracy on held-out images; without labels the effective rank of the features, which follows it
    (RankMe).
    """

    model: Viewer
    state: Teacher

    def __init__(self, recipe: config.ImageRecipe, process: Process):
        super().__init__()
        task = cast(settings.Dino, recipe.task)
        _check(recipe, task)
        found = open_collection(recipe.data, labels=task.labels == "auto")
        recipe = self.fit(recipe, process, len(found.train))
        data, run = recipe.data, recipe.run
        self.options, self.changes = task, recipe.model.changes()
        self.preprocessing = data.preprocessing()
        self.counts = {"train": len(found.train), "val": len(found.val) if found.val else 0}
        self.without, self.share = found.why, share_in_words(data, found.train.classes)
        trunk, self.weights = build_model(recipe.model, data.size, ())
        trunk.checkpoint_activations = run.checkpoint_activations
        self.small = task.local_views if task.has_local else 0
        local = LOCAL[task.local_crops](trunk, task.local_shape) if self.small else None
        head = ProjectionHead(trunk.config.architecture.dim, task.hidden, task.bottleneck, task.out_dim, task.head_norm)
        self.model = Viewer(trunk, head, local)
        self.state = Teacher(self.model, task.out_dim)
        self.train = TrainBatches(
            found.train,
            data,
            recipe.augment,
            seed=run.seed,
            rank=process.rank,
            world=process.world,
            accumulate=run.accumulate,
            transform=MultiCrop(data, task),
        )
        self.metric = "knn" if found.val else "feature_rank"
        self.bank = self.in_order(_some(found.train, task.knn_images if found.val else RANKED), data)
        self.val = self.in_order(found.val, data) if found.val else None
        self.steps_per_epoch, self.samples_per_step = self.train.steps, data.batch_size
        self.total = self.steps_per_epoch * run.epochs
        self.log_every = run.log_every
        warmup = max(1, recipe.optim.warmup(self.steps_per_epoch)) * self.steps_per_epoch
        self.grace = min(warmup, self.total / 2)  # until then, nothing is learned yet
        self.said: list[Tensor] = []
        self.told: set[str] = set()
        self.collapsed: UserError | None = None

    def in_order(self, images: ImageSet, data: config.Data) -> EvalBatches:
        """Whole images, to be evaluated."""
        size, where = min(data.batch_size, 256), self.process
        return EvalBatches(
            images,
            self.preprocessing,
            size,
            data.workers,
            rank=where.rank,
            world=where.world,
            strict=data.strict,
        )

    def describe(self) -> Iterator[tuple[str, str]]:
        """The network, the images and their views."""
        task, (height, width) = self.options, self.preprocessing.size
        yield "model", in_words(self.model.trunk.config, self.changes)
        yield "weights", self.weights
        yield "head", f"{task.hidden}-{task.hidden}-{task.bottleneck}-{task.out_dim}"
        held_out = f"{self.counts['val']:,} held out for k-NN" if self.val else f"without labels ({self.without})"
        yield "images", f"{self.counts['train']:,} to train on{self.share}, {held_out}"
        size = "x".join(map(str, task.local_size or ()))
        small = f", {self.small} of {size} ({task.local_crops})" if self.small else ""
        yield "views", f"2 of {height}x{width}{small}"

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """uint8 views "global" B 2 3 H W and "local" B V 3 h w; an image that cannot be read is named and counted."""
        yield from self.readable(self.train.epoch(epoch, start), "another image stands in for it")

    def loss(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """The loss; the teacher's entropy, how far the student is from it, and the length of the center.

        On steps that end a line of the log also `mean_entropy`, that of the mean of what the teacher says, and
        `feature_rank`, both over all processes.
        """
        task, teacher = self.options, self.state.network
        large, small = self.views(batch, "global"), self.views(batch, "local")
        with torch.no_grad():
            features = teacher.trunk(large)  # 2*B D
            said = teacher.head(features).float().unflatten(0, (2, -1))  # 2 B K
            self.said.append(said.mean((0, 1)))
            targets = ((said - self.state.center) / self.teacher_temp(step)).softmax(-1)
            entropies = entropy(targets).mean()
        outputs = model(large, small).float().unflatten(0, (-1, said.shape[1]))  # V B K
        loss = cross_views(outputs, targets, task.student_temp)
        numbers = {"loss": loss, "teacher_entropy": entropies, "kl": loss - entropies}
        numbers["center_norm"] = self.state.center.norm()
        if (step + 1) % self.log_every == 0 or (step + 1) % self.steps_per_epoch == 0:
            numbers |= self.watch(features, targets.mean((0, 1)), entropies, step)
        return numbers

    def views(self, batch: Batch, kind: str) -> Tensor | None:
        """Normalized views of a kind on the device, in order of the view: V*B 3 H W."""
        if kind not in batch:
            return None
        views = batch[kind].to(self.process.device, non_blocking=True).transpose(0, 1).flatten(0, 1)
        return normalize(views, self.preprocessing.mean, self.preprocessing.std)

    def teacher_temp(self, step: int) -> float:
        """The teacher's temperature in a step."""
        task = self.options
        progress = step / (task.warmup_teacher_temp_epochs * self.steps_per_epoch or 1)
        return linear(task.warmup_teacher_temp, task.teacher_temp, progress if task.warmup_teacher_temp_epochs else 1)

    def watch(self, features: Tensor, mean: Tensor, entropies: Tensor, step: int) -> dict[str, Tensor]:
        """Tell of a collapse, the same in every process, from features 2*B D, the mean target K and its entropies."""
        task, everywhere = self.options, all_mean(torch.cat([mean, entropies[None]]))
        mean_entropy, rank = entropy(everywhere[:-1]), effective_rank(all_mean(gram(features)))
        collapse = diagnose(task.out_dim, everywhere[-1].item(), mean_entropy.item()) if step >= self.grace else None
        if collapse and task.stop_on_collapse:
            self.collapsed = UserError(f"the teacher has collapsed at step {step}: {collapse.what}", collapse.hint)
        elif collapse and collapse.kind not in self.told and self.process.rank == 0:
            self.told.add(collapse.kind)
            told = f"step {step}: the teacher has collapsed: {collapse.what}; {collapse.hint}"
            console.print(told, soft_wrap=True)
        return {"mean_entropy": mean_entropy, "feature_rank": torch.tensor(rank)}

    def should_stop(self) -> UserError | None:
        """The teacher has collapsed, and the run is to stop at that."""
        return self.collapsed

    def before_step(self, model: nn.Module, step: int) -> None:
        """At first the head's last layer has no gradient: no step and no weight decay moves it."""
        if step < self.options.freeze_last * self.steps_per_epoch:
            cast(Viewer, model).head.last.weight.grad = None

    def after_step(self, model: nn.Module, step: int) -> None:
        """The teacher follows, and the center what it said in all parts of the step and all processes."""
        task = self.options
        self.state.follow(cast(Viewer, model), cosine(task.teacher_momentum, 1.0, step / self.total))
        said = all_mean(torch.stack(self.said).mean(0))
        self.said.clear()
        self.state.center.lerp_(said, 1 - task.center_momentum)

    def evaluate(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        """Of the teacher: k-NN on the held-out images (k = 20), where there are labels; the rank of its features."""
        from resmlp.metrics.features import features
        from resmlp.metrics.knn import knn

        trunk, p = self.state.network.trunk, self.preprocessing

        def found(batches: EvalBatches) -> tuple[Tensor, Tensor]:
            readable = self.readable(batches, "left out")
            return features(lambda images: trunk(normalize(images, p.mean, p.std)), readable, self.process.device)

        bank, labels = found(self.bank)
        if self.val:
            scores = knn(bank, labels, *found(self.val), ks=(min(20, len(bank)),))
            yield from ((name, value) for name, value in scores if "@" not in name)
        yield "feature_rank", effective_rank(gram(bank))

    def save(self, folder: Path, model: nn.Module) -> None:
        """The teacher's trunk, without a head, as `model.safetensors` and `model.json`."""
        save_model(folder, self.state.network.trunk, (), self.preprocessing)


def _some(images: ImageSet, count: int) -> ImageSet:
    """At most `count` of the images, the same ones each time; all for 0."""
    if not count or count >= len(images):
        return images
    return images.subset(sorted(np.random.default_rng(0).permutation(len(images))[:count].tolist()))


def _check(recipe: config.ImageRecipe, task: settings.Dino) -> None:
    """Refuse what cannot be trained, and settings that would have no effect."""
    data, patch = recipe.data, recipe.model.network()[1].patch_size
    alone = f"--data.batch-size {data.batch_size}: the center of a single image's outputs leaves nothing to learn"
    demand(data.batch_size > 1, alone, "2 at least, 64 or more to learn much")
    flag = "--run.average" if recipe.run.average else f"--run.ema {recipe.run.ema}"
    averaged = f"{flag}: DINO's teacher is an average of the weights already"
    demand(flag == "--run.ema None", averaged, "leave it out; --task.teacher-momentum is its decay")
    demand(recipe.optim.freeze_epochs == 0, "--optim.freeze-epochs: DINO's head is new", "leave it out")
    changed = difference(to_dict(config.Augment()), to_dict(recipe.augment), "--augment")
    demand(not changed, f"{'; '.join(changed[:2])}: DINO has views of its own", "leave it out; see --task.global-scale")
    if not task.has_local:
        _check_no_small_views(recipe, task)
        return
    height, width = task.local_shape
    small = f"--task.local-size {height}x{width}"
    if task.local_crops == "interpolate":
        whole = f"{small} does not divide into patches of {patch}, as --task.local-crops interpolate wants"
        near = max(1, round(height / patch)) * patch, max(1, round(width / patch)) * patch
        demand(height % patch == width % patch == 0, whole, f"try {near[0]}x{near[1]}, or --task.local-crops resize")
    fits = height <= data.size[0] and width <= data.size[1]
    demand(fits, "{} does not fit into --data.img-size {}x{}".format(small, *data.size), "make it smaller")


def _check_no_small_views(recipe: config.ImageRecipe, task: settings.Dino) -> None:
    """Refuse settings of small views, but those of the recipe that was begun from, where there are none."""
    base = RECIPES[recipe.name].task if recipe.name in RECIPES else None
    usual = base if isinstance(base, settings.Dino) else settings.Dino()
    off = "--task.local-views 0" if task.local_crops != "none" else "--task.local-crops none"
    own = {name: getattr(task, name) for name in ("local_views", "local_size", "local_scale")}
    changed = [name for name, value in own.items() if value and value != getattr(usual, name)]
    shown = ", ".join("--task." + name.replace("_", "-") for name in changed)
    demand(not changed, f"{shown}: with {off} there are no small views", "leave it out")
