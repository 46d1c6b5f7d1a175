"""The training loop. It owns steps, devices and files; the task owns modules, loss and evaluation."""

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
from resmlp.training.optimizers import learning_rate, make_optimizer, set_schedule, weight_decay
from resmlp.utils.errors import UserError
from resmlp.utils.logger import Bar, Logger, Window, console
from resmlp.utils.seeding import seed_all


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
        self.main = accelerator.is_main_process
        self.logger: Logger | None = None
        """the log of the run; None before `fit` and in all processes but the first"""
        self.window, self.bar = Window(), Bar(0, self.total, show=False)
        self.since = self.saved_at = time.monotonic()
        """start of training, moved back by the time of earlier processes; time of the last checkpoint"""

    def fit(self) -> Progress:
        """Run the remaining steps. Raises `KeyboardInterrupt` on Ctrl-C or SIGTERM, after saving."""
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
        """(step, epoch, remaining micro-batches of the epoch) from the current step to the last."""
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
        if self.accelerator.device.type == "cpu":  # on a GPU, reading each loss would wait for the device
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
        """Log, evaluate, save and stop after a step, as due."""
        done, last = self.progress.step, self.progress.step == self.total
        ends_epoch = done % self.task.steps_per_epoch == 0
        if done % self.run.log_every == 0 or ends_epoch:
            self.log(epoch)
            if error := self.task.should_stop():
                raise UserError(error.what, f"{self.last_checkpoint()}; {error.hint}")
        stop = self.any_interrupted(interrupted())
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
        """Log the mean losses since the last line."""
        self.check_finite()
        values, self.window = self.window.means(), Window()
        self.bar.set_text(f"loss {values['loss']:.4f}  {values['samples_per_s']:,.0f}/s")
        if self.logger:
            lr = self.lr(self.progress.step - 1)
            self.logger.write("train", self.progress.step, {"epoch": epoch + 1, "lr": lr, **values})

    def evaluate(self, epoch: int) -> None:
        """Evaluate the raw and the averaged weights, and keep the best scores."""
        since = time.perf_counter()
        self.broadcast_buffers()
        for weights, module in self.kinds.items():
            module.eval()
            with torch.no_grad(), self.autocast():
                scores = dict(self.task.evaluate(module))
            entry = {"weights": weights, "epoch": epoch + 1, "step": self.progress.step, **scores}
            self.progress.last[weights] = entry
            score, best = scores[self.task.metric], self.progress.best.get(self.task.metric, float("-inf"))
            if score > best or score == best == 0:  # of several zeros the last one, which is trained the most
                self.progress.best = entry
            if self.logger:
                self.logger.write("eval", self.progress.step, entry)
                shown = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
                console.print(f"epoch {epoch + 1:>4}  {weights:<3}  {shown}")
        self.window.since += time.perf_counter() - since  # the logged speed is that of training

    def broadcast_buffers(self) -> None:
        """Broadcast the BatchNorm statistics of the first process, as DDP does before each step: they are saved."""
        if self.accelerator.num_processes > 1:
            for module in self.kinds.values():
                for buffer in module.buffers():
                    torch.distributed.broadcast(buffer, src=0)

    def save(self) -> None:
        """Save a checkpoint of the current step."""
        self.check_finite()
        if not all(parameter.isfinite().all() for parameter in self.raw.parameters()):
            raise self.diverged("the weights are", self.progress.step - 1)
        self.progress.seconds = time.monotonic() - self.since
        self.progress.notes = self.task.notes()
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

    def any_interrupted(self, interrupted: bool) -> bool:
        """Whether any process was interrupted; several processes synchronize only at lines of the log."""
        if self.accelerator.num_processes == 1:
            return interrupted
        if self.progress.step % self.run.log_every:
            return False
        return bool(self.accelerator.reduce(torch.tensor(float(interrupted), device=self.accelerator.device)) > 0)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Record the first Ctrl-C or SIGTERM instead of exiting; the second one raises `KeyboardInterrupt` at once."""
    caught: list[int] = []
    owner = os.getpid()  # loader workers inherit the handler, and must continue while the engine saves

    def record(number: int, frame: object) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)
        if os.getpid() == owner:
            console.print("saving a checkpoint, then stopping (Ctrl-C again: stop now)")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, record) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(caught)
    except UserError:
        raise
    except Exception as error:  # the same Ctrl-C may have ended a compiler process
        if caught:
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
