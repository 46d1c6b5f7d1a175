"""What runs a torch network: torch itself, or the fastest of several backends and precisions, by measurement."""

import weakref
from collections.abc import Callable
from copy import deepcopy
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from resmlp.backends import runtimes
from resmlp.backends.agreement import keep_agreeing
from resmlp.backends.autotune import Autotuned, Engine
from resmlp.backends.check_images import check_images
from resmlp.backends.pytorch import CompiledEngine, TorchEngine
from resmlp.config.precision import Execution, Precision, Ran
from resmlp.exporters.formats import FORMATS, check_packages, missing_packages, quiet, write_network
from resmlp.exporters.lowering import lower
from resmlp.inference.exported_folder import explain_failure
from resmlp.models import Trunk
from resmlp.models.count import input_channels
from resmlp.models.features import pooled
from resmlp.models.folding import fold
from resmlp.utils.checks import demand
from resmlp.utils.errors import lookup
from resmlp.utils.hardware import device_precisions, instruction_set

Size = tuple[int, int]
Network = Callable[[Tensor], Tensor]
CHUNK = 8 * 224 * 224
"""pixels of the images that torch sees at once on a CPU: the activations of more do not stay in the caches, and cost a
fifth of the speed"""
MOST = 32
"""of small images, whose activations take more bytes for each pixel"""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Runner:
    """A network on its device: float32 B 3 H W, normalized -> B K."""

    def __init__(self, network: Network, ran: Ran):
        self.network, self._ran = network, ran

    @property
    def ran(self) -> Ran:
        """What ran it."""
        return self._ran

    def __call__(self, images: Tensor) -> Tensor:
        """B 3 H W -> B K"""
        return self.network(images)


class TunedRunner(Runner):
    """Engines on the CPU: the fastest is found during use, after those of lower precision were compared with fp32."""

    def __init__(self, engines: list[Engine], size: Size, channels: int):
        self.engines, self.size, self.channels = engines, size, channels

    @cached_property
    def tuned(self) -> Autotuned:
        """Compares the answers at the first use."""
        return Autotuned(keep_agreeing(self.engines, partial(check_images, self.size, self.channels)))

    def __call__(self, images: Tensor) -> Tensor:
        """B 3 H W -> B K"""
        return torch.from_numpy(self.tuned(images.numpy()))

    @property
    def ran(self) -> Ran:
        """Of the fastest engine for the largest batch so far."""
        engine = self.tuned.fastest.engine
        return Ran(engine.name, engine.precision, instruction_set(engine.precision))


def runner(model: nn.Module, size: Size, device: torch.device, execution: Execution) -> Runner:
    """What runs the network. Raises `UserError` for a backend or precision that is not there, or not for this device.

    With torch in fp32, folded or not, the same images give the very same outputs again; where engines are measured,
    they differ by the rounding of their precisions.
    """
    backend = execution.backend or ("torch" if execution.few or execution.precision != "auto" else "auto")
    lookup("backend", backend, dict.fromkeys([*BACKENDS, "auto"]))
    if device.type != "cpu":
        return _on_device(model, size, device, execution)
    precisions = execution.among(device_precisions("cpu"), f"this cpu ({_unit(device)})")
    if backend in ("torch", "folded") and precisions == ("fp32",):  # nothing is to be measured
        network = model if backend == "torch" else lowered(model)
        return Runner(partial(in_chunks, network), Ran(backend, "fp32", _unit(device)))
    return TunedRunner(make_engines(model, size, backend, execution, precisions), size, input_channels(model))


def in_chunks(network: Network, images: Tensor) -> Tensor:
    """B 3 H W -> B K, of so many images at once that there are about `CHUNK` pixels, at most `MOST`."""
    count = min(MOST, max(1, CHUNK // (images.shape[-2] * images.shape[-1])))
    return network(images) if len(images) <= count else torch.cat([network(part) for part in images.split(count)])


def make_engines(
    model: nn.Module, size: Size, backend: str, execution: Execution, precisions: tuple[Precision, ...] = ("fp32",)
) -> list[Engine]:
    """The network by one backend, or for auto by each that is installed; in each of the precisions that it has."""
    installed = [name for name in AUTO if name not in FORMATS or not missing_packages(name)]
    names = installed if backend == "auto" else [backend]
    if backend != "auto":
        precisions = tuple(name for name in execution.among(HAS[backend], f"--backend {backend}") if name in precisions)
    return [
        BACKENDS[name](model, size, precision) for precision in precisions for name in names if precision in HAS[name]
    ]


def in_precision(model: nn.Module, precision: Precision) -> nn.Module:
    """A network for images of float32: in bf16 a `Trunk` is folded in fp32 first, so that no scale is rounded alone."""
    if precision == "fp32":
        return model
    return Rounded(lowered(model) if isinstance(model, Trunk) else deepcopy(model), DTYPES[precision])


class Rounded(nn.Module):
    """A network whose weights and activations are of a lower precision."""

    def __init__(self, network: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.network, self.dtype = network.to(dtype), dtype

    def forward(self, images: Tensor) -> Tensor:
        """float32 B 3 H W -> float32 B K"""
        return self.network(images.to(self.dtype)).float()


def _on_device(model: nn.Module, size: Size, device: torch.device, execution: Execution) -> Runner:
    """On an accelerator: torch, or for backend auto the fastest way for images like the first."""
    backend = execution.backend or "torch"
    demand(backend in ("torch", "auto"), f"--backend {backend} on {device.type}: it is for a CPU", "--device cpu")
    precisions = execution.among(device_precisions(device.type), f"this {device.type} ({_unit(device)})")
    engines: list[Engine] = [DeviceEngine(in_precision(model, name), name, device) for name in precisions]
    chosen = keep_agreeing(engines, partial(check_images, size, input_channels(model)))[-1]
    assert isinstance(chosen, DeviceEngine)
    accelerate = backend == "auto" and device.type == "cuda"
    run = _accelerated(chosen.network, chosen.precision) if accelerate else chosen.network
    return Runner(run, Ran(backend, chosen.precision, _unit(device)))


class DeviceEngine(TorchEngine):
    """A torch network on any device, for arrays."""

    def __init__(self, network: Network, precision: Precision, device: torch.device):
        super().__init__(network, "torch", precision)
        self.device = device

    @torch.inference_mode()
    def run(self, images: np.ndarray) -> np.ndarray:
        """B 3 H W -> B K"""
        return self.network(torch.from_numpy(images).to(self.device)).float().cpu().numpy()


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Products in bf16 where that is the precision; the weights stay as they are."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def feature_precision(model: nn.Module, size: Size, device: torch.device, execution: Execution) -> Precision:
    """The precision of features by torch, by autocast: the fastest whose features agree with those of fp32."""
    precisions = execution.among(device_precisions(device.type), f"this {device.type} ({_unit(device)})")
    if len(precisions) == 1:
        return precisions[0]

    def cast(precision: Precision) -> Network:
        def run(images: Tensor) -> Tensor:
            with autocast(device, precision):
                return pooled(model)(images)

        return run

    engines: list[Engine] = [DeviceEngine(cast(name), name, device) for name in precisions]
    fastest = Autotuned(keep_agreeing(engines, partial(check_images, size, input_channels(model)))).tune(
        next(check_images(size, input_channels(model)))
    )
    return fastest.engine.precision


def one_precision(device: torch.device, execution: Execution, also: tuple[Precision, ...] = ()) -> Precision:
    """The precision that is asked for, fp32 for auto; a network may have others `also`. Raises `UserError`."""
    present = (*device_precisions(device.type), *also)
    return execution.among(present, f"this {device.type} ({_unit(device)})")[0]


def _unit(device: torch.device) -> str:
    """The instruction set of the CPU for fp32, or the name of another device."""
    if device.type == "cpu":
        return instruction_set("fp32")
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _accelerated(network: Network, precision: Precision) -> Network:
    """The fastest way for images like the first."""
    from resmlp.inference.gpu import fastest

    found = list[Network]()
    inner = network.network if isinstance(network, Rounded) else network
    assert isinstance(inner, nn.Module)

    def run(images: Tensor) -> Tensor:
        images = images.to(DTYPES[precision])
        if not found:
            found.append(fastest(inner, images))
        return found[0](images)

    return run


def _plain(model: nn.Module, size: Size, precision: Precision) -> Engine:
    return TorchEngine(in_precision(model, precision), "torch", precision)


def _folded(model: nn.Module, size: Size, precision: Precision) -> Engine:
    return TorchEngine(in_precision(lowered(model), precision), "folded", precision)


def lowered(model: nn.Module) -> nn.Module:
    """A `Trunk` folded, for products from the left; another network as it is."""
    return lower(fold(model)) if isinstance(model, Trunk) else model


def _compiled(model: nn.Module, size: Size, precision: Precision) -> Engine:
    return CompiledEngine(in_precision(fold(model) if isinstance(model, Trunk) else model, precision), precision)


def _exported(to: str, model: nn.Module, size: Size, precision: Precision) -> Engine:
    """Written to a temporary folder, which exists as long as the engine."""
    check_packages(to, "--backend")
    place = TemporaryDirectory(prefix="resmlp-run-")
    folder = Path(place.name)
    with explain_failure(folder), quiet():
        write_network(model.cpu(), size, to, folder)
    engine = runtimes.open_engine(to, folder, precision=precision)
    weakref.finalize(engine, place.cleanup)
    return engine


BACKENDS: dict[str, Callable[[nn.Module, Size, Precision], Engine]] = {
    "torch": _plain,
    "folded": _folded,
    "compile": _compiled,
    "onnx": partial(_exported, "onnx"),
    "openvino": partial(_exported, "openvino"),
}
"""what runs a network for images of its size on a CPU; torch in fp32 runs it as it is, all others folded where it is
ours"""
AUTO = ("folded", "onnx", "openvino")
"""those that need no compiler"""
HAS: dict[str, tuple[Precision, ...]] = dict.fromkeys(BACKENDS, ("fp32", "bf16")) | runtimes.HAS
"""the precisions of the backends, on a CPU that has them"""
