"""What `plan_run` returns, for people and for JSON."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

GB, MB, KB = 1e9, 1e6, 1e3
LEFT_OUT = "evaluation, checkpoints, and the memory of libraries, about 1 GB"


@dataclass(frozen=True)
class Memory:
    """Bytes of a GPU."""

    weights: float
    """with those of a teacher"""
    gradients: float
    optimizer: float
    averages: float
    activations: float
    images: float

    @property
    def total(self) -> float:
        """The sum."""
        return sum(asdict(self).values())

    def __str__(self) -> str:
        return ", ".join(f"{name} {value / GB:.1f}" for name, value in asdict(self).items() if value >= 0.05 * GB)


@dataclass(frozen=True)
class RunPlan:
    """Time, memory, storage and network of a run."""

    recipe: str
    network: str
    size: tuple[int, int]
    gpus: int
    gpu: str
    precision: str
    batch: int
    epochs: int
    images: int
    workers: int
    hours: float
    images_per_s: float
    """of all GPUs, limited by the bottleneck"""
    step_s: float
    speeds: dict[str, float]
    """images per second of a GPU that computing, decoding, and if they are given storage and network allow"""
    bottleneck: str
    """the slowest of them"""
    cores: int
    """for each GPU, so that decoding is not the bottleneck"""
    memory: Memory
    gpu_memory: float
    step_bytes: float
    """that a GPU sends and receives in a step"""
    image_bytes: float | None
    sources: dict[str, str]

    @property
    def fits(self) -> bool:
        """Whether the memory of the GPU is large enough."""
        return self.memory.total <= self.gpu_memory

    @property
    def storage_bytes_per_s(self) -> float | None:
        """That all machines together read."""
        return None if self.image_bytes is None else self.images_per_s * self.image_bytes

    @property
    def network_bits_per_s(self) -> float:
        """That a GPU, and a link between machines, needs for the gradients of a step in the time of the step."""
        return 8 * self.step_bytes / self.step_s

    def to_dict(self) -> dict[str, Any]:
        """For JSON: bytes, seconds, hours."""
        derived: dict[str, Any] = {"gpu_hours": self.gpus * self.hours, "fits": self.fits}
        derived |= {"storage_bytes_per_s": self.storage_bytes_per_s, "network_bits_per_s": self.network_bits_per_s}
        memory = {**asdict(self.memory), "total": self.memory.total}
        return {**asdict(self), "memory": memory, **derived}

    def __str__(self) -> str:
        width = max(map(len, self.sources)) + 2
        rows = [f"{name:<{width}}{text}" for name, text in self._rows()]
        sources = [f"  {name:<{width}}{text}" for name, text in self.sources.items()]
        return "\n".join([self._title(), *rows, "sources", *sources, f"not counted: {LEFT_OUT}"])

    def _title(self) -> str:
        height, width = self.size
        how = f"{self.precision}, batch {self.batch}, {self.epochs} epochs of {self.images:,} images"
        return f"{self.recipe} on {self.gpus} x {self.gpu}: {self.network} at {height}x{width}, {how}"

    def _rows(self) -> Iterator[tuple[str, str]]:
        hours = f"{self.hours:,.1f} hours, {self.gpus * self.hours:,.1f} GPU hours"
        yield "time", f"{hours}: {self.images_per_s:,.0f} images/s, {self.step_s * 1000:,.0f} ms a step (computed)"
        yield "memory", f"{self.memory.total / GB:.1f} of {self.gpu_memory / GB:g} GB a GPU: {self.memory}"
        if self.storage_bytes_per_s is None or self.image_bytes is None:
            yield "storage", "not known: give --image-kb, or --data.root"
        else:
            each = f"{self.image_bytes / KB:.0f} KB an image"
            yield "storage", f"{self.storage_bytes_per_s / MB:,.0f} MB/s for all machines together, {each}"
        yield "decoding", f"{self.cores} cores a GPU, as many as --data.workers; the recipe has {self.workers}"
        link = f"{self.network_bits_per_s / 1e9:.1f} Gbit/s a GPU, and between two machines"
        yield "network", f"{self.step_bytes / MB:,.0f} MB a step, {link}" if self.gpus > 1 else "none: one GPU"
        yield "bottleneck", self._advice()

    def _advice(self) -> str:
        """The bottleneck, and what to do."""
        speed = f"{self.speeds[self.bottleneck]:,.0f} images/s a GPU"
        if not self.fits:
            counted = ", counted in fp32" if self.precision == "bf16" else ""
            return f"memory: the GPU has less{counted} (--run.accumulate 2 or more, or --run.checkpoint-activations)"
        if self.bottleneck == "computing":
            return f"computing, {speed}"
        full = f"{self.speeds['computing']:,.0f} by computing"
        ways = {
            "decoding": f"--data.workers {self.cores}",
            "storage": "faster storage, or resmlp data pack --max-side",
            "network": "a faster network, or a larger batch",
        }
        return f"{self.bottleneck}, {speed}, not the {full} ({ways[self.bottleneck]})"
