"""Self-distillation without labels (DINO, Caron et al. 2021) for networks of fixed size: Table 2."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from resmlp import config
from resmlp.config import tasks as settings
from resmlp.data import EvalBatches, ImageSet, TrainBatches, normalize
from resmlp.data.images.image_list import make_image_list
from resmlp.data.images.multicrop import MultiCrop
from resmlp.data.images.unlabeled import open_collection, reopen_collection
from resmlp.metrics.collapse import diagnose, effective_rank, entropy, gram
from resmlp.models import save_model
from resmlp.nn.dino_head import ProjectionHead
from resmlp.recipes import RECIPES
from resmlp.tasks.base import Batch
from resmlp.tasks.dino_views import LOCAL, DinoNetwork, dino_loss
from resmlp.tasks.image_task import ImageTask, fraction_summary
from resmlp.tasks.supervised import build_model, model_summary
from resmlp.utils.checks import demand
from resmlp.utils.console import console
from resmlp.utils.devices import Process, all_mean
from resmlp.utils.errors import UserError
from resmlp.utils.schedules import cosine, linear
from resmlp.utils.serialization import difference, to_dict

RANK_IMAGES = 2048  # images for the rank of the features, which replaces k-NN without labels


class Teacher(nn.Module):
    """The moving average of the student, and the center of its outputs."""

    center: Tensor

    def __init__(self, student: DinoNetwork, out_dim: int):
        super().__init__()
        self.network = DinoNetwork(deepcopy(student.trunk), deepcopy(student.head))
        self.network.eval().requires_grad_(False)  # no drop path, no gradients
        self.register_buffer("center", torch.zeros(out_dim))

    @torch.no_grad()
    def ema_update(self, student: DinoNetwork, momentum: float) -> None:
        """Update the moving average with the decay `momentum`; buffers are copied."""
        modules = student.trunk, student.head
        parameters: list[Tensor] = [parameter for module in modules for parameter in module.parameters()]
        torch._foreach_lerp_([*self.network.parameters()], parameters, 1 - momentum)
        buffers = (buffer for module in modules for buffer in module.buffers())
        for average, buffer in zip(self.network.buffers(), buffers):
            average.copy_(buffer)


class Dino(ImageTask):
    """DINO: the student predicts, from each view of an image, the outputs of the teacher for the large views.

    `model` is the student and `state` the teacher. The teacher is evaluated, and its trunk is saved. `evaluate` gives
    the k-NN accuracy on the validation set and the effective rank of the features, which correlates with it (RankMe)
    and replaces it without labels.
    """

    model: DinoNetwork
    state: Teacher

    def __init__(self, recipe: config.ImageRecipe, process: Process):
        super().__init__()
        task = cast(settings.Dino, recipe.task)
        _check(recipe, task)
        if kept := self.open_list(recipe, process):
            collection = reopen_collection(recipe.data, kept)
        else:
            collection = open_collection(recipe.data, labels=task.labels == "auto")
        self.announce(process, collection.train.notes)
        self.listed = partial(make_image_list, collection.train, collection.val)
        recipe = self.fit(recipe, process, len(collection.train))
        self.check_values(collection.train.images)
        data, run = recipe.data, recipe.run
        self.options, self.changes = task, recipe.model.changes()
        self.preprocessing = data.preprocessing()
        self.counts = {"train": len(collection.train), "val": len(collection.val) if collection.val else 0}
        self.no_labels, self.fraction = collection.why, fraction_summary(data, collection.train.classes)
        trunk, self.weights = build_model(recipe.model, data.size, ())
        trunk.checkpoint_activations = run.checkpoint_activations
        self.local_views = task.local_views if task.has_local else 0
        local = LOCAL[task.local_crops](trunk, task.local_shape) if self.local_views else None
        head = ProjectionHead(trunk.config.architecture.dim, task.hidden, task.bottleneck, task.out_dim, task.head_norm)
        self.model = DinoNetwork(trunk, head, local)
        self.state = Teacher(self.model, task.out_dim)
        self.train = TrainBatches(
            collection.train,
            data,
            recipe.augment,
            seed=run.seed,
            rank=process.rank,
            world=process.world,
            accumulate=run.accumulate,
            transform=MultiCrop(data, task),
        )
        self.metric = "knn" if collection.val else "feature_rank"
        bank_images = task.knn_images if collection.val else RANK_IMAGES
        self.bank = self.eval_batches(_sample(collection.train, bank_images), data)
        self.val = self.eval_batches(collection.val, data) if collection.val else None
        self.steps_per_epoch, self.samples_per_step = self.train.steps, data.batch_size
        self.total = self.steps_per_epoch * run.epochs
        self.log_every = run.log_every
        warmup = max(1, recipe.optim.warmup(self.steps_per_epoch)) * self.steps_per_epoch
        self.grace = min(warmup, self.total / 2)  # steps without a check for a collapse
        self.mean_outputs: list[Tensor] = []
        self.warned: set[str] = set()
        self.collapsed: UserError | None = None

    def eval_batches(self, images: ImageSet, data: config.Data) -> EvalBatches:
        """Batches of whole images, for the evaluation."""
        size, process = min(data.batch_size, 256), self.process
        return EvalBatches(
            images,
            self.preprocessing,
            size,
            data.workers,
            rank=process.rank,
            world=process.world,
            strict=data.strict,
        )

    def describe(self) -> Iterator[tuple[str, str]]:
        """The network, the images and their views."""
        task, (height, width) = self.options, self.preprocessing.size
        yield "model", model_summary(self.model.trunk.config, self.changes)
        yield "weights", self.weights
        yield "head", f"{task.hidden}-{task.hidden}-{task.bottleneck}-{task.out_dim}"
        val = f"{self.counts['val']:,} for validation by k-NN" if self.val else f"no labels ({self.no_labels})"
        yield "images", f"{self.counts['train']:,} for training{self.fraction}, {val}"
        size = "x".join(map(str, task.local_size or ()))
        local = f", {self.local_views} of {size} ({task.local_crops})" if self.local_views else ""
        yield "views", f"2 of {height}x{width}{local}"

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """uint8 views "global" B 2 3 H W and "local" B V 3 h w; unreadable images are reported and counted."""
        yield from self.report_unreadable(self.train.epoch(epoch, start), "another image replaces it")

    def loss(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """The loss, the entropy of the teacher, its divergence from the student, and the norm of the center.

        Steps at the end of a line of the log have also `mean_entropy`, the entropy of the mean target, and
        `feature_rank`, the effective rank of the teacher's features, both over all processes.
        """
        task, teacher = self.options, self.state.network
        large, small = self.views(batch, "global"), self.views(batch, "local")
        with torch.no_grad():
            features = teacher.trunk(large)  # 2*B D
            teacher_outputs = teacher.head(features).float().unflatten(0, (2, -1))  # 2 B K
            self.mean_outputs.append(teacher_outputs.mean((0, 1)))
            targets = ((teacher_outputs - self.state.center) / self.teacher_temp(step)).softmax(-1)
            entropies = entropy(targets).mean()
        outputs = model(large, small).float().unflatten(0, (-1, teacher_outputs.shape[1]))  # V B K
        loss = dino_loss(outputs, targets, task.student_temp)
        scalars = {"loss": loss, "teacher_entropy": entropies, "kl": loss - entropies}
        scalars["center_norm"] = self.state.center.norm()
        if (step + 1) % self.log_every == 0 or (step + 1) % self.steps_per_epoch == 0:
            scalars |= self.monitor(features, targets.mean((0, 1)), entropies, step)
        return scalars

    def views(self, batch: Batch, kind: str) -> Tensor | None:
        """Normalized views of a kind on the device, ordered by view: V*B 3 H W; None if there are none."""
        if kind not in batch:
            return None
        views = batch[kind].to(self.process.device, non_blocking=True).transpose(0, 1).flatten(0, 1)
        return normalize(views, self.preprocessing.mean, self.preprocessing.std)

    def teacher_temp(self, step: int) -> float:
        """The temperature of the teacher in a step."""
        task = self.options
        progress = step / (task.warmup_teacher_temp_epochs * self.steps_per_epoch or 1)
        return linear(task.warmup_teacher_temp, task.teacher_temp, progress if task.warmup_teacher_temp_epochs else 1)

    def monitor(self, features: Tensor, mean: Tensor, entropies: Tensor, step: int) -> dict[str, Tensor]:
        """Detect a collapse, equally in every process, from features 2*B D, the mean target K and the mean entropy."""
        task, means = self.options, all_mean(torch.cat([mean, entropies[None]]))
        mean_entropy, rank = entropy(means[:-1]), effective_rank(all_mean(gram(features)))
        collapse = diagnose(task.out_dim, means[-1].item(), mean_entropy.item()) if step >= self.grace else None
        if collapse and task.stop_on_collapse:
            self.collapsed = UserError(f"the teacher has collapsed at step {step}: {collapse.what}", collapse.hint)
        elif collapse and collapse.kind not in self.warned and self.process.rank == 0:
            self.warned.add(collapse.kind)
            warning = f"step {step}: the teacher has collapsed: {collapse.what}; {collapse.hint}"
            console.print(warning, soft_wrap=True)
        return {"mean_entropy": mean_entropy, "feature_rank": torch.tensor(rank)}

    def should_stop(self) -> UserError | None:
        """The error of a collapsed teacher, with `stop_on_collapse`."""
        return self.collapsed

    def before_step(self, model: nn.Module, step: int) -> None:
        """Remove the gradient of the last layer of the head in the first epochs: no step or weight decay changes it."""
        if step < self.options.freeze_last * self.steps_per_epoch:
            cast(DinoNetwork, model).head.last.weight.grad = None

    def after_step(self, model: nn.Module, step: int) -> None:
        """Update the teacher, and the center with the mean outputs of all parts of the step and all processes."""
        task = self.options
        self.state.ema_update(cast(DinoNetwork, model), cosine(task.teacher_momentum, 1.0, step / self.total))
        mean = all_mean(torch.stack(self.mean_outputs).mean(0))
        self.mean_outputs.clear()
        self.state.center.lerp_(mean, 1 - task.center_momentum)

    def evaluate(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        """k-NN accuracy of the teacher on the validation set (k = 20), with labels; effective rank of its features."""
        from resmlp.metrics.features import features
        from resmlp.metrics.knn import knn

        trunk, p = self.state.network.trunk, self.preprocessing

        def extract(batches: EvalBatches) -> tuple[Tensor, Tensor]:
            readable = self.report_unreadable(batches, "left out")
            return features(lambda images: trunk(normalize(images, p.mean, p.std)), readable, self.process.device)

        bank, labels = extract(self.bank)
        if self.val:
            scores = knn(bank, labels, *extract(self.val), ks=(min(20, len(bank)),))
            yield from ((name, value) for name, value in scores if "@" not in name)
        yield "feature_rank", effective_rank(gram(bank))

    def save(self, folder: Path, model: nn.Module, scores: Mapping[str, Any]) -> None:
        """Write the trunk of the teacher, without the head, as `model.safetensors` and `model.json`."""
        save_model(folder, self.state.network.trunk, (), self.preprocessing)


def _sample(images: ImageSet, count: int) -> ImageSet:
    """At most `count` random images, the same in every call; all images for 0."""
    if not count or count >= len(images):
        return images
    return images.subset(sorted(np.random.default_rng(0).permutation(len(images))[:count].tolist()))


def _check(recipe: config.ImageRecipe, task: settings.Dino) -> None:
    """Raise `UserError` for settings that cannot be trained or would have no effect."""
    data, patch = recipe.data, recipe.model.network()[1].patch_size
    single = f"--data.batch-size {data.batch_size}: DINO's center needs more than one image"
    demand(data.batch_size > 1, single, "use at least 2, better 64 or more")
    flag = "--run.average" if recipe.run.average else f"--run.ema {recipe.run.ema}"
    averaged = f"{flag}: the teacher of DINO is already an average of the weights"
    demand(flag == "--run.ema None", averaged, "leave it out; --task.teacher-momentum is the decay")
    demand(recipe.optim.freeze_epochs == 0, "--optim.freeze-epochs: the head of DINO is always new", "leave it out")
    changes = difference(to_dict(config.Augment()), to_dict(recipe.augment), "--augment")
    demand(not changes, f"{'; '.join(changes[:2])}: DINO has its own views", "leave it out; see --task.global-scale")
    if not task.has_local:
        _check_no_small_views(recipe, task)
        return
    height, width = task.local_shape
    flag = f"--task.local-size {height}x{width}"
    if task.local_crops == "interpolate":
        what = f"{flag} does not divide into patches of {patch}, as --task.local-crops interpolate requires"
        nearest = max(1, round(height / patch)) * patch, max(1, round(width / patch)) * patch
        hint = f"try {nearest[0]}x{nearest[1]}, or --task.local-crops resize"
        demand(height % patch == width % patch == 0, what, hint)
    fits = height <= data.size[0] and width <= data.size[1]
    demand(fits, "{} does not fit into --data.img-size {}x{}".format(flag, *data.size), "make it smaller")


def _check_no_small_views(recipe: config.ImageRecipe, task: settings.Dino) -> None:
    """Raise `UserError` for settings of small views that differ from the named recipe, if there are no small views."""
    base = RECIPES[recipe.name].task if recipe.name in RECIPES else None
    defaults = base if isinstance(base, settings.Dino) else settings.Dino()
    off = "--task.local-views 0" if task.local_crops != "none" else "--task.local-crops none"
    values = {name: getattr(task, name) for name in ("local_views", "local_size", "local_scale")}
    changes = [name for name, value in values.items() if value and value != getattr(defaults, name)]
    shown = ", ".join("--task." + name.replace("_", "-") for name in changes)
    demand(not changes, f"{shown}: there are no small views with {off}", "leave it out")
