"""The training loop. It owns steps, devices and files; the task owns modules, loss and evaluation."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator

from resmlp.config import Recipe
from resmlp.models.quantize import QuantNoise
from resmlp.nn.shared_masks import sample_places
from resmlp.tasks import Batch, Task
from resmlp.training.checkpoint import Checkpoints, Progress
from resmlp.training.ema import Average, EpochAverage, MovingAverage
from resmlp.training.optimizers import learning_rate, make_optimizer, set_schedule, weight_decay
from resmlp.training.origin import earlier_steps, start_from
from resmlp.utils.console import console
from resmlp.utils.devices import Agreement, all_mean, stop_others
from resmlp.utils.errors import UserError
from resmlp.utils.interruption import Interrupted, Interruption
from resmlp.utils.logger import Bar, Logger, Window
from resmlp.utils.seeding import seed_all

GO, SAVE, FAILED = -1, 0, 64
"""what a process says before a micro-batch: it has one, a checkpoint is due, it has no batch; or its signal's number"""


class Engine:
    """Trains a task with its recipe, from the last checkpoint of the run folder to the end."""

    def __init__(self, task: Task, recipe: Recipe, folder: Path, accelerator: Accelerator):
        self.task, self.recipe, self.run, self.accelerator = task, recipe, recipe.run, accelerator
        self.folder, self.total = folder, task.steps_per_epoch * recipe.run.epochs
        self.raw = task.model.to(accelerator.device)
        self.averages: dict[str, Average] = {}
        if self.run.ema:
            self.averages["ema"] = MovingAverage(self.raw, self.run.ema)
        if self.run.average:
            self.averages["avg"] = EpochAverage(self.raw, self.run.average)
        self.kinds = {"raw": self.raw} | {kind: average.module for kind, average in self.averages.items()}
        self.model, self.optimizer = accelerator.prepare(self.raw, make_optimizer(self.raw, recipe.optim))
        self.noise = QuantNoise(self.raw, self.run.quant_noise)
        if self.run.compile:  # not for evaluation, which would compile again for each batch size
            self.model = torch.compile(self.model)
        saved = self.kinds | {f"{kind}-state": a.state for kind, a in self.averages.items() if a.state is not None}
        if task.state is not None:
            saved["task"] = task.state.to(accelerator.device)
        self.checkpoints = Checkpoints(folder, saved, self.optimizer)
        self.progress = Progress()
        self.start, self.earlier = (Progress(), ""), earlier_steps(recipe.origin)
        self.main = accelerator.is_main_process
        self.agreement, self.interruption = Agreement(self.run.time_limit), Interruption()
        self.updating = False
        """whether the weights are between two steps"""
        self.logger: Logger | None = None
        """the log of the run; None before `fit` and in all processes but the first"""
        self.window, self.bar = Window(), Bar(0, self.total, show=False)
        self.since = self.saved_at = time.monotonic()
        """start of training, moved back by the time of earlier processes; time of the last checkpoint"""

    def take_over(self) -> None:
        """Load the checkpoint that a new run starts from, once; writes nothing. Raises `UserError`."""
        if self.recipe.origin and not self.start[1] and not self.checkpoints.steps():
            self.start = start_from(self.recipe, self.checkpoints, self.total)

    def fit(self) -> Progress:
        """Run the remaining steps.

        Raises `Interrupted` on SIGINT or SIGTERM to any process, and `UserError` if a process has no batch: in all
        processes before the same step, after saving.
        """
        self.progress = progress = self.checkpoints.load_last(self.total)
        if not progress.step and self.recipe.origin:
            self.take_over()
            self.progress = progress = self.start[0]
            if self.main:
                console.print(self.start[1], soft_wrap=True)
        self.task.recall(progress.notes)
        self.logger = Logger(self.folder, self.run.log) if self.main else None
        if self.checkpoints.steps() and self.main:
            done = progress.step == self.total and not self.must_evaluate()
            rest = f"continuing after step {progress.step:,} of {self.total:,}"
            console.print("all steps are done already" if done else rest)
        self.window, self.since = Window(progress.window), time.monotonic() - progress.seconds
        self.saved_at = time.monotonic()
        self.bar = Bar(progress.step, self.total, self.main)
        with self.bar, self.interruption, self.logger or nullcontext():
            if self.must_evaluate():  # a signal stopped the evaluation
                self.evaluate(progress.step // self.task.steps_per_epoch - 1)
                self.save()
            for step, epoch, batches in self.steps():
                try:
                    self.step(step, batches)
                except Exception as error:
                    self.end_if_interrupted(error)
                    raise
                progress.step += 1
                self.bar.advance(f"epoch {epoch + 1}/{self.run.epochs}")
                self.after(epoch)
        return progress

    def must_evaluate(self) -> bool:
        """Whether an evaluation is due after the current step that was not done."""
        epoch, rest = divmod(self.progress.step, self.task.steps_per_epoch)
        due = epoch and not rest and (epoch % self.run.eval_every == 0 or epoch == self.run.epochs)
        return bool(due) and any(
            self.progress.last.get(kind, {}).get("step") != self.progress.step for kind in self.kinds
        )

    def steps(self) -> Iterator[tuple[int, int, Iterator[Batch]]]:
        """(step, epoch, remaining micro-batches of the epoch) from the current step to the last."""
        per_epoch = self.task.steps_per_epoch
        for epoch in range(self.progress.step // per_epoch, self.run.epochs):
            done = self.progress.step - epoch * per_epoch
            batches = self.task.batches(epoch, done * self.run.accumulate)
            for step in range(self.progress.step, (epoch + 1) * per_epoch):
                yield step, epoch, batches

    def step(self, step: int, batches: Iterator[Batch]) -> None:
        """One optimizer step over `accumulate` micro-batches."""
        parts = self.run.accumulate
        for part in range(parts):
            self.interruption.patient = part > 0
            batch = self.next_batch(batches)
            self.model.train()
            seed_all(self.run.seed, step, part)
            last = part == parts - 1
            with nullcontext() if last else self.accelerator.no_sync(self.model), self.noise, self.places(batch):
                with self.autocast():
                    losses = self.task.loss(self.model, batch, step)
                self.accelerator.backward(losses["loss"] / parts)
            self.window.add(step, losses)
        if self.accelerator.device.type == "cpu":  # on a GPU, reading each loss would wait for the device
            self.check_finite()
        self.task.before_step(self.raw, step)
        if self.recipe.optim.clip is not None:
            self.accelerator.clip_grad_norm_(self.raw.parameters(), self.recipe.optim.clip)
        set_schedule(self.optimizer, self.lr(step), self.decay(step))
        self.updating = self.interruption.has_trained = True
        self.optimizer.step()
        self.optimizer.zero_grad()
        for average in self.averages.values():
            average.after_step(self.raw, step + self.earlier)
            if (step + 1) % self.task.steps_per_epoch == 0:
                average.after_epoch(self.raw)
        self.task.after_step(self.raw, step)
        self.updating = False
        self.window.samples += self.task.samples_per_step

    def next_batch(self, batches: Iterator[Batch]) -> Batch:
        """The next micro-batch, once all processes have theirs; raises and saves as described at `fit`."""
        due = time.monotonic() - self.saved_at > 60 * self.run.save_minutes and not self.interruption.patient
        state, batch = SAVE if due and self.interruption.has_trained else GO, None
        failure = UserError("another process has no batch", "see its message")
        try:
            self.interruption.check()
            batch = next(batches)
        except Interrupted as stop:
            state = stop.number
        except UserError as error:
            state, failure = FAILED, error
        agreed = self.agreement.highest(state)
        if agreed == SAVE:
            self.save()
        if agreed in (GO, SAVE):
            assert batch is not None
            return batch
        self.save_and_wait()
        raise failure if agreed == FAILED else Interrupted(agreed, everywhere=True)

    def end_if_interrupted(self, error: Exception) -> None:
        """Save and raise `Interrupted` for an error after a signal: Ctrl-C may have ended a compiler process."""
        if self.interruption.number is None or isinstance(error, UserError):
            return
        if self.interruption.has_trained and not self.updating:
            self.save(alone=True)
        raise Interrupted(self.interruption.number) from error

    def places(self, batch: Batch) -> AbstractContextManager[None]:
        """The places of the samples among those of all processes, for random masks; nothing for one process."""
        places = batch.get("places")
        return sample_places(places and places._replace(own=places.own.to(self.accelerator.device)))

    def save_and_wait(self) -> None:
        """Save the current step, if weights were updated, before the run stops; each process waits for the first."""
        if self.interruption.has_trained:
            self.save()
        if self.main:
            step = f"step {self.progress.step:,} of {self.total:,}"
            console.print(f"stopped after {step}; the same command continues")
        self.agreement.highest(GO)  # the others would end while the first writes, and the launcher would kill it

    def after(self, epoch: int) -> None:
        """Log, evaluate and save after a step, as due."""
        done, last = self.progress.step, self.progress.step == self.total
        ends_epoch = done % self.task.steps_per_epoch == 0
        if done % self.run.log_every == 0 or ends_epoch:
            self.log(epoch)
            if error := self.task.should_stop():
                raise UserError(error.what, f"{self.last_checkpoint()}; {error.hint}")
        if last or (ends_epoch and (epoch + 1) % self.run.eval_every == 0):
            self.evaluate(epoch)
            self.save()

    def autocast(self) -> torch.autocast:
        """Autocast to bf16 if `run.precision` is bf16; weights stay fp32."""
        return torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=self.run.precision == "bf16")

    def lr(self, step: int) -> float:
        """The learning rate of a step."""
        return learning_rate(self.recipe.optim, step, self.task.steps_per_epoch, self.run.epochs)

    def decay(self, step: int) -> float | None:
        """The weight decay of a step; None if it is constant."""
        optim = self.recipe.optim
        return None if optim.final_weight_decay is None else weight_decay(optim, step, self.total)

    def log(self, epoch: int) -> None:
        """Log the mean losses since the last line, over all processes."""
        self.check_finite()
        means, samples_per_s = self.window.means(), self.window.samples_per_s()
        self.window = Window()
        losses = all_mean(torch.stack(list(means.values()))).tolist()
        values = dict(zip(means, losses)) | {"samples_per_s": samples_per_s}
        self.bar.set_text(f"loss {values['loss']:.4f}  {values['samples_per_s']:,.0f}/s")
        if self.logger:
            lr = self.lr(self.progress.step - 1)
            self.logger.write("train", self.progress.step, {"epoch": epoch + 1, "lr": lr, **values})

    def evaluate(self, epoch: int) -> None:
        """Evaluate the raw and the averaged weights, and keep the best scores.

        Raises `Interrupted` in all processes on a signal to any, after saving: the evaluation is then still due.
        """
        since = time.perf_counter()
        self.broadcast_buffers()
        self.interruption.patient = False
        found = {}
        try:
            for weights, module in self.kinds.items():
                module.eval()
                with torch.no_grad(), self.autocast():
                    found[weights] = dict(self.task.evaluate(module))
        except Interrupted as stop:
            try:
                stop_others(stop)
            finally:
                self.save_and_wait()
        for weights, scores in found.items():
            self.keep(weights, epoch, scores)
        self.window.since += time.perf_counter() - since  # the logged speed is that of training

    def keep(self, weights: str, epoch: int, scores: dict[str, float]) -> None:
        """Keep and log the scores of one kind of weights, and the best scores so far."""
        entry = {"weights": weights, "epoch": epoch + 1, "step": self.progress.step, **scores}
        self.progress.last[weights] = entry
        score, best = scores[self.task.metric], self.progress.best.get(self.task.metric, float("-inf"))
        if score > best or score == best == 0:  # the first of several zeros is not better than the last
            self.progress.best = entry
        if self.logger:
            self.logger.write("eval", self.progress.step, entry)
            shown = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
            console.print(f"epoch {epoch + 1:>4}  {weights:<3}  {shown}")

    def broadcast_buffers(self) -> None:
        """Broadcast the BatchNorm statistics of the first process, as DDP does before each step: they are saved."""
        if self.accelerator.num_processes > 1:
            for module in self.kinds.values():
                for buffer in module.buffers():
                    torch.distributed.broadcast(buffer, src=0)

    def save(self, alone: bool = False) -> None:
        """Save a checkpoint of the current step; all processes call this together, or one of them `alone`."""
        self.check_finite()
        if not all(parameter.isfinite().all() for parameter in self.raw.parameters()):
            raise self.diverged("the weights are", self.progress.step - 1)
        self.progress.seconds = time.monotonic() - self.since
        self.progress.notes = self.task.notes()
        self.progress.window = {} if alone else dict(self.window.state(self.progress.step))
        if self.main:
            self.checkpoints.save(self.progress)
        self.saved_at = time.monotonic()

    def check_finite(self) -> None:
        """Raise `UserError` if a loss is not finite."""
        step = self.window.first_not_finite()
        if step is not None:
            raise self.diverged("the loss is", step)

    def diverged(self, what: str, step: int) -> UserError:
        """The error of a diverged run: what, at which step and learning rate, and the last checkpoint."""
        hint = f"{self.last_checkpoint()}; try another --out with a lower --optim.lr, --optim.clip 1, or fp32"
        return UserError(f"{what} not finite at step {step} (lr {self.lr(step):.3g})", hint)

    def last_checkpoint(self) -> str:
        """The path of the last checkpoint, for messages."""
        steps = self.checkpoints.steps()
        return f"the last checkpoint is {self.checkpoints.path(steps[-1])}" if steps else "no checkpoint yet"
