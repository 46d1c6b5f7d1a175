"""How a network is trained, whatever it learns from."""

from dataclasses import dataclass
from typing import Literal

from resmlp.utils.checks import ANY, BELOW_ONE, POSITIVE, check_choices, check_range, demand


@dataclass(frozen=True)
class Optim:
    """Optimizer and schedule; both are functions of the step."""

    name: Literal["lamb", "adamw", "sgd", "adagrad"] = "lamb"
    lr: float = 5e-3
    """peak learning rate; scaled with the batch only if that exceeds the training set and is reduced to fit"""
    weight_decay: float = 0.2
    """for the weights of linear and convolution layers alone"""
    final_weight_decay: float | None = None
    """end of a cosine of the weight decay over the whole run; None: it stays as it is"""
    momentum: float = 0.9
    """of SGD; beta1 of LAMB and AdamW"""
    beta2: float = 0.999
    schedule: Literal["cosine", "step", "inverse-sqrt", "constant", "poly"] = "cosine"
    """after the warm-up; inverse-sqrt: a step n at sqrt(warm-up steps / n) of the rate (Vaswani et al. 2017, eq. 3);
    poly: the share of the steps that is left, to the power of --optim.power, of the rate"""
    milestones: tuple[int, ...] = (30, 60, 80)
    """step schedule: epochs at which the rate is divided by 10"""
    power: float = 1.0
    """of the poly schedule; 1 is a line (BEiT), 0.9 is DeepLab's"""
    warmup_epochs: float = 5
    warmup_steps: int | None = None
    """optimizer steps of the warm-up, in place of its epochs"""
    warmup_lr: float = 1e-6
    min_lr: float = 1e-5
    """end of the cosine, or of poly"""
    clip: float | None = None
    """largest gradient norm"""
    layer_decay: float = 1.0
    """each layer learns at this share of the next one's rate, the head at the full rate (0.65 to 0.9 to fine-tune)"""
    freeze_epochs: int = 0
    """first epochs in which the head alone learns"""

    def __post_init__(self):
        check_choices("--optim.", self)
        check_range("--optim.", self, lr=(POSITIVE, ANY), weight_decay=(0, ANY), clip=(POSITIVE, ANY))
        check_range("--optim.", self, power=(POSITIVE, ANY), momentum=(0, BELOW_ONE), beta2=(0, BELOW_ONE))
        check_range("--optim.", self, warmup_epochs=(0, ANY), warmup_lr=(0, ANY), min_lr=(0, ANY))
        check_range("--optim.", self, layer_decay=(POSITIVE, 1), freeze_epochs=(0, ANY))
        check_range("--optim.", self, final_weight_decay=(0, ANY), warmup_steps=(0, ANY))
        endless = "--optim.schedule inverse-sqrt falls from the end of the warm-up on, and there is none"
        given = self.warmup_epochs if self.warmup_steps is None else self.warmup_steps
        demand(self.schedule != "inverse-sqrt" or given > 0, endless, "set --optim.warmup-steps, 4000 or so")

    def warmup(self, steps_per_epoch: int) -> float:
        """Epochs of the warm-up."""
        return self.warmup_epochs if self.warmup_steps is None else self.warmup_steps / steps_per_epoch


@dataclass(frozen=True)
class Run:
    """How long, where, and what is written down."""

    epochs: int = 400
    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    accumulate: int = 1
    """parts that an optimizer step's batch is split into"""
    ema: float | None = None
    """decay of an average of the weights, evaluated beside them"""
    average: int = 0
    """epochs at whose ends the weights are taken, the last so many; their mean is evaluated beside them; 0: none"""
    quant_noise: float = 0.0
    """share of the weights of matrices that are rounded to 4 bits, others in each step, before resmlp compress rounds
    them all (Quant-Noise); 0 is off, 0.1 to 0.5 are usual"""
    compile: bool = False
    """torch.compile the network"""
    checkpoint_activations: bool = False
    """recompute each layer in the backward pass instead of keeping its activations"""
    eval_every: int = 1
    """epochs between evaluations; the last epoch is always evaluated"""
    save_minutes: float = 10
    """minutes between checkpoints inside an epoch; each evaluated epoch is saved as well"""
    log_every: int = 50
    """optimizer steps between lines of metrics.jsonl"""
    tensorboard: bool = True
    wandb: bool = False
    """also log to Weights & Biases, where it is installed"""

    def __post_init__(self):
        check_choices("--run.", self)
        check_range("--run.", self, epochs=(1, ANY), accumulate=(1, ANY), eval_every=(1, ANY), log_every=(1, ANY))
        check_range(
            "--run.",
            self,
            seed=(0, ANY),
            save_minutes=(0, ANY),
            quant_noise=(0, 1),
            ema=(POSITIVE, BELOW_ONE),
            average=(0, 2**10),
        )
