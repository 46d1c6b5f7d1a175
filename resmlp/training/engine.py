"""The only training loop. It owns steps, devices and files; the task owns what is learned."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator

from resmlp.config import Recipe
from resmlp.models.quantize import QuantNoise
from resmlp.tasks import Batch, Task
from resmlp.training.checkpoint import Checkpoints, Progress
from resmlp.training.ema import Average, EpochAverage, MovingAverage
from resmlp.training.optim import learning_rate, make_optimizer, set_schedule, weight_decay
from resmlp.utils.errors import UserError
from resmlp.utils.logger import Bar, Logger, Window, console
from resmlp.utils.seeding import seed_all


class Engine:
    """Trains a task by its recipe, from the last checkpoint of the run folder to the end."""

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
        if self.run.compile:  # training alone: evaluation has batches of other sizes, and would compile for each
            self.model = torch.compile(self.model)
        saved = self.kinds | {f"{kind}-state": a.state for kind, a in self.averages.items() if a.state is not None}
        if task.state is not None:
            saved["task"] = task.state.to(accelerator.device)
        self.checkpoints = Checkpoints(folder, saved, self.optimizer)
        self.progress = Progress()
        self.main = accelerator.is_main_process
        self.logger: Logger | None = None
        """of the first process, while `fit` runs"""
        self.window, self.bar = Window(), Bar(0, self.total, show=False)
        self.since = self.saved_at = time.monotonic()
        """when training began, less the time that earlier processes spent; when the last checkpoint was written"""

    def fit(self) -> Progress:
        """Do the steps that are left. Raises `KeyboardInterrupt` on Ctrl-C or SIGTERM, after saving."""
        self.progress = progress = self.checkpoints.load_last()
        self.task.recall(progress.notes)
        self.logger = Logger(self.folder, self.run.tensorboard, self.run.wandb) if self.main else None
        if progress.step and self.main:
            done = progress.step == self.total
            where = f"step {progress.step:,} of {self.total:,}"
            console.print("all steps are done already" if done else f"continuing after {where}")
        self.window, self.since = Window(), time.monotonic() - progress.seconds
        self.saved_at = time.monotonic()
        self.bar = Bar(progress.step, self.total, self.main)
        with self.bar, _interruptible() as interrupted:
            for step, epoch, batches in self.steps():
                self.step(step, batches)
                progress.step += 1
                self.bar.advance(f"epoch {epoch + 1}/{self.run.epochs}")
                self.after(epoch, interrupted)
        return progress

    def steps(self) -> Iterator[tuple[int, int, Iterator[Batch]]]:
        """(step, epoch, the epoch's remaining micro-batches) from the present step to the last."""
        per_epoch = self.task.steps_per_epoch
        for epoch in range(self.progress.step // per_epoch, self.run.epochs):
            done = self.progress.step - epoch * per_epoch
            batches = self.task.batches(epoch, done * self.run.accumulate)
            for step in range(self.progress.step, (epoch + 1) * per_epoch):
                yield step, epoch, batches

    def step(self, step: int, batches: Iterator[Batch]) -> None:
        """One optimizer step over `accumulate` micro-batches."""
        self.model.train()
        parts = self.run.accumulate
        for part in range(parts):
            batch = next(batches)
            seed_all(self.run.seed, step, part, self.accelerator.process_index)
            with nullcontext() if part == parts - 1 else self.accelerator.no_sync(self.model), self.noise:
                with self.autocast():
                    losses = self.task.loss(self.model, batch, step)
                self.accelerator.backward(losses["loss"] / parts)
            self.window.add(step, losses)
        if self.accelerator.device.type == "cpu":  # elsewhere a look at every loss would stop the device
            self.check_finite()
        self.task.before_step(self.raw, step)
        if self.recipe.optim.clip is not None:
            self.accelerator.clip_grad_norm_(self.raw.parameters(), self.recipe.optim.clip)
        set_schedule(self.optimizer, self.lr(step), self.decay(step))
        self.optimizer.step()
        self.optimizer.zero_grad()
        for average in self.averages.values():
            average.after_step(self.raw, step)
            if (step + 1) % self.task.steps_per_epoch == 0:
                average.after_epoch(self.raw)
        self.task.after_step(self.raw, step)
        self.window.samples += self.task.samples_per_step

    def after(self, epoch: int, interrupted: Callable[[], bool]) -> None:
        """What follows a step: a line of the log, an evaluation, a checkpoint, the end."""
        done, last = self.progress.step, self.progress.step == self.total
        ends_epoch = done % self.task.steps_per_epoch == 0
        if done % self.run.log_every == 0 or ends_epoch:
            self.log(epoch)
            if error := self.task.should_stop():
                raise UserError(error.what, f"{self.last_checkpoint()}; {error.hint}")
        stop = self.agreed(interrupted())
        if last or (ends_epoch and (epoch + 1) % self.run.eval_every == 0):
            self.evaluate(epoch)
            self.save()
        elif stop or time.monotonic() - self.saved_at > 60 * self.run.save_minutes:
            self.save()
        if stop and not last:
            if self.main:
                console.print(f"stopped after step {done:,} of {self.total:,}; the same command continues")
            raise KeyboardInterrupt

    def autocast(self) -> torch.autocast:
        """Matrix products in bf16 where the run asks for it; weights stay fp32."""
        return torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=self.run.precision == "bf16")

    def lr(self, step: int) -> float:
        """The learning rate of a step."""
        return learning_rate(self.recipe.optim, step, self.task.steps_per_epoch, self.run.epochs)

    def decay(self, step: int) -> float | None:
        """The weight decay of a step, None where it never changes."""
        optim = self.recipe.optim
        return None if optim.final_weight_decay is None else weight_decay(optim, step, self.total)

    def log(self, epoch: int) -> None:
        """A line of the mean losses since the last one."""
        self.check_finite()
        values, self.window = self.window.means(), Window()
        self.bar.set_text(f"loss {values['loss']:.4f}  {values['samples_per_s']:,.0f}/s")
        if self.logger:
            lr = self.lr(self.progress.step - 1)
            self.logger.write("train", self.progress.step, {"epoch": epoch + 1, "lr": lr, **values})

    def evaluate(self, epoch: int) -> None:
        """Evaluate the raw and the averaged weights, and remember the best."""
        since = time.perf_counter()
        self.agree_on_buffers()
        for weights, module in self.kinds.items():
            module.eval()
            with torch.no_grad(), self.autocast():
                scores = dict(self.task.evaluate(module))
            entry = {"weights": weights, "epoch": epoch + 1, "step": self.progress.step, **scores}
            self.progress.last[weights] = entry
            if scores[self.task.metric] > self.progress.best.get(self.task.metric, float("-inf")):
                self.progress.best = entry
            if self.logger:
                self.logger.write("eval", self.progress.step, entry)
                shown = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
                console.print(f"epoch {epoch + 1:>4}  {weights:<3}  {shown}")
        self.window.since += time.perf_counter() - since  # so that the speed shown is that of training

    def agree_on_buffers(self) -> None:
        """Take BatchNorm's statistics of the first process, as DDP does before each step: they are what is saved."""
        if self.accelerator.num_processes > 1:
            for module in self.kinds.values():
                for buffer in module.buffers():
                    torch.distributed.broadcast(buffer, src=0)

    def save(self) -> None:
        """A checkpoint of the present step."""
        self.check_finite()
        if not all(parameter.isfinite().all() for parameter in self.raw.parameters()):
            raise self.diverged("the weights are", self.progress.step - 1)
        self.progress.seconds = time.monotonic() - self.since
        self.progress.notes = self.task.notes()
        if self.main:
            self.checkpoints.save(self.progress)
        self.saved_at = time.monotonic()

    def check_finite(self) -> None:
        """Stop at a loss that is no number: nothing after it is worth anything."""
        step = self.window.first_not_finite()
        if step is not None:
            raise self.diverged("the loss is", step)

    def diverged(self, what: str, step: int) -> UserError:
        """The error of a diverged run: what, at which step and learning rate, and the last checkpoint."""
        hint = f"{self.last_checkpoint()}; try another --out with a lower --optim.lr, --optim.clip 1, or fp32"
        return UserError(f"{what} not finite at step {step} (lr {self.lr(step):.3g})", hint)

    def last_checkpoint(self) -> str:
        """Where it is, in words."""
        steps = self.checkpoints.steps()
        return f"the last checkpoint is {self.checkpoints.path(steps[-1])}" if steps else "no checkpoint yet"

    def agreed(self, here: bool) -> bool:
        """Whether any process was interrupted; several ask each other only now and then."""
        if self.accelerator.num_processes == 1:
            return here
        if self.progress.step % self.run.log_every:
            return False
        return bool(self.accelerator.reduce(torch.tensor(float(here), device=self.accelerator.device)) > 0)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Note the first Ctrl-C or SIGTERM instead of dying of it; a second Ctrl-C is obeyed at once."""
    caught: list[int] = []
    owner = os.getpid()  # the loader's workers inherit the handler, and go on serving while we save

    def note(number: int, frame: object) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)
        if os.getpid() == owner:
            console.print("saving a checkpoint, then stopping (Ctrl-C again: stop now)")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(caught)
    except UserError:
        raise
    except Exception as error:  # the same Ctrl-C may have ended a compiler that we wait for
        if caught:
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
