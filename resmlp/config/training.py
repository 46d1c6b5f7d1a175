"""Settings of the optimizer and of the run, for all kinds of data."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from resmlp.config.help import MANY
from resmlp.utils.checks import ANY, BELOW_ONE, POSITIVE, check_choices, check_range, demand

Tracker = Literal["tensorboard", "wandb", "trackio"]


@dataclass(frozen=True)
class Optim:
    """Optimizer and learning rate schedule."""

    name: Literal["lamb", "adamw", "sgd", "adagrad", "muon"] = "lamb"
    """muon: Muon for the matrices of the hidden linear layers, AdamW for all other parameters"""
    lr: float = 5e-3
    """peak learning rate; scaled with the batch only if that exceeds the training set and is reduced to fit"""
    weight_decay: float = 0.2
    """only for the weights of linear and convolution layers"""
    final_weight_decay: float | None = None
    """weight decay at the end of the run, by a cosine schedule; None: constant"""
    momentum: float = 0.9
    """momentum of SGD and Muon; beta1 of LAMB and AdamW"""
    beta2: float = 0.999
    schedule: Literal["cosine", "step", "inverse-sqrt", "constant", "poly"] = "cosine"
    """schedule after the warm-up; inverse-sqrt: lr * sqrt(warm-up steps / step) (Vaswani et al. 2017, equation 3);
    poly: lr * (fraction of the remaining steps) ** power"""
    milestones: tuple[int, ...] = (30, 60, 80)
    """step schedule: epochs at which the learning rate is divided by 10"""
    power: float = 1.0
    """exponent of the poly schedule; 1: linear (BEiT), 0.9: DeepLab"""
    warmup_epochs: float = 5
    warmup_steps: int | None = None
    """optimizer steps of the warm-up, in place of epochs"""
    warmup_lr: float = 1e-6
    min_lr: float = 1e-5
    """learning rate at the end of the cosine or poly schedule"""
    clip: float | None = None
    """largest norm of the gradient; None: no clipping"""
    layer_decay: float = 1.0
    """ratio of the learning rates of a layer and the next one; the head has the full rate (0.65 to 0.9 to fine-tune)"""
    freeze_epochs: int = 0
    """first epochs in which only the head is trained"""
    only: Annotated[tuple[str, ...], MANY] = ()
    """names of the parameters that are trained, as shell patterns such as 'blocks.*.tokens.*'; default all. The others
    keep their values exactly"""

    def __post_init__(self) -> None:
        check_choices("--optim.", self)
        check_range("--optim.", self, lr=(POSITIVE, ANY), weight_decay=(0, ANY), clip=(POSITIVE, ANY))
        check_range("--optim.", self, power=(POSITIVE, ANY), momentum=(0, BELOW_ONE), beta2=(0, BELOW_ONE))
        check_range("--optim.", self, warmup_epochs=(0, ANY), warmup_lr=(0, ANY), min_lr=(0, ANY))
        check_range("--optim.", self, layer_decay=(POSITIVE, 1), freeze_epochs=(0, ANY))
        check_range("--optim.", self, final_weight_decay=(0, ANY), warmup_steps=(0, ANY))
        no_warmup = "--optim.schedule inverse-sqrt starts at the end of the warm-up, and there is no warm-up"
        length = self.warmup_epochs if self.warmup_steps is None else self.warmup_steps
        demand(self.schedule != "inverse-sqrt" or length > 0, no_warmup, "set --optim.warmup-steps, for example 4000")

    def warmup(self, steps_per_epoch: int) -> float:
        """The length of the warm-up in epochs."""
        return self.warmup_epochs if self.warmup_steps is None else self.warmup_steps / steps_per_epoch


@dataclass(frozen=True)
class Run:
    """Length, device, precision, checkpoints and logs of the run."""

    epochs: int = 400
    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """of the products; auto: bf16 on a GPU and on a CPU with units for it (AMX, avx512_bf16), else fp32. A run keeps
    the precision that it began with"""
    accumulate: int = 1
    """gradient accumulation: parts of the batch of an optimizer step"""
    ema: float | None = None
    """decay of an exponential moving average of the weights, which is evaluated as well"""
    average: int = 0
    """number of last epochs whose weights are averaged; the average is evaluated as well; 0: none"""
    quant_noise: float = 0.0
    """Quant-Noise: fraction of the weights of matrices that are rounded to 4 bits, at random in each step, as a
    preparation for resmlp compress; 0: none, 0.1 to 0.5 are usual"""
    compile: bool = False
    """torch.compile the network"""
    checkpoint_activations: bool = False
    """recompute the activations of each layer in the backward pass, to save memory"""
    eval_every: int = 1
    """epochs between evaluations; the last epoch is always evaluated"""
    save_minutes: float = 10
    """minutes between checkpoints within an epoch; each evaluation saves one as well"""
    timeout_minutes: float = 10
    """of several processes: minutes after which one that does not answer is named, and the others end"""
    log_every: int = 50
    """optimizer steps between lines of metrics.jsonl"""
    log: tuple[Tracker, ...] = ("tensorboard",)
    """trackers that also get the numbers of metrics.jsonl: tensorboard, wandb, trackio; --run.log alone: none"""

    def __post_init__(self) -> None:
        check_choices("--run.", self)
        check_range("--run.", self, epochs=(1, ANY), accumulate=(1, ANY), eval_every=(1, ANY), log_every=(1, ANY))
        check_range(
            "--run.",
            self,
            seed=(0, ANY),
            save_minutes=(0, ANY),
            timeout_minutes=(0.05, 7 * 24 * 60),
            quant_noise=(0, 1),
            ema=(POSITIVE, BELOW_ONE),
            average=(0, 2**10),
        )

    @property
    def time_limit(self) -> timedelta:
        """How long gloo and NCCL wait: longer, because they do not name the process for which they waited."""
        return timedelta(minutes=max(10, 2 * self.timeout_minutes))


@dataclass(frozen=True)
class Origin:
    """The run that another one starts from."""

    run: str
    """its folder"""
    step: int
    """the step of its checkpoint that has the weights"""
    schedule: Literal["stretch", "restart"]
    """stretch: the schedule as if the run had its epochs from the beginning, continued at `step`; restart: a new one"""
