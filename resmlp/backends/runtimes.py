"""Engines that run exported networks on a CPU: ONNX Runtime and OpenVINO. Loads no torch."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from resmlp.backends import autotune
from resmlp.config.precision import Precision
from resmlp.utils.errors import UserError, install_hint, lookup
from resmlp.utils.hardware import cpu_precisions

INPUT, MODEL = "images", "model"
"""the name of the input of a graph; of its files, without their endings"""


def onnx_session(path: Path, threads: int) -> Any:
    """A session of ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # errors are raised as well
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class OnnxRuntime:
    """ONNX Runtime with a model.onnx."""

    name = "onnxruntime"

    def __init__(self, folder: Path, cores: int | None = None, precision: Precision = "fp32", name: str = MODEL):
        self.path, self.cores, self.precision = folder / f"{name}.onnx", cores or autotune.usable_cores(), precision

    @cached_property
    def _whole(self) -> Any:
        return onnx_session(self.path, self.cores)

    @cached_property
    def _single(self) -> Any:
        return onnx_session(self.path, 1)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.cores)

    def run(self, images: np.ndarray) -> np.ndarray:
        """B 3 H W -> B K, on all cores together."""
        return self._whole.run(None, {INPUT: images})[0]

    def run_streams(self, chunks: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run each chunk on one core."""
        return list(self._pool.map(lambda chunk: self._single.run(None, {INPUT: chunk})[0], chunks))


@cache
def openvino_core() -> Any:
    """The one of the process, which lives to its end.

    Its CPU plugin gives the thread that loads it another stack for signals, and frees it in whichever thread ends it.
    After that the next Ctrl-C would be a segmentation fault.
    """
    import openvino

    return openvino.Core()


def openvino_model(path: Path, cores: int, streams: int = 1, hint: str = "f32") -> Any:
    """A model compiled by OpenVINO for the CPU; `hint` is the precision of its products."""
    options = {
        "INFERENCE_PRECISION_HINT": hint,
        "NUM_STREAMS": str(streams),
        "INFERENCE_NUM_THREADS": str(cores),
    }
    with path.open("rb") as file:  # OpenVINO would try its readers of other formats, which print on standard error
        if file.read(1) != b"<":
            raise ValueError(f"{path.name} is not XML")
    return openvino_core().compile_model(path, "CPU", options)


class OpenVino:
    """OpenVINO with a model.xml and its model.bin. Threads take turns, because a request holds one result."""

    name = "openvino"

    def __init__(self, folder: Path, cores: int | None = None, precision: Precision = "fp32", name: str = MODEL):
        self.path, self.cores, self.precision = folder / f"{name}.xml", cores or autotune.usable_cores(), precision
        # what is not of 8 bits in a file of int8 runs in bf16 where the CPU has it
        self.hint = "bf16" if precision == "bf16" or (precision == "int8" and "bf16" in cpu_precisions()) else "f32"
        self._lock = Lock()

    def _compiled(self, streams: int) -> Any:
        return openvino_model(self.path, self.cores, streams, self.hint)

    @cached_property
    def _request(self) -> Any:
        return self._compiled(1).create_infer_request()

    @cached_property
    def _queue(self) -> Any:
        import openvino

        return openvino.AsyncInferQueue(self._compiled(self.cores), self.cores)

    def run(self, images: np.ndarray) -> np.ndarray:
        """B 3 H W -> B K, on all cores together."""
        with self._lock:
            return self._request.infer([images], share_inputs=True)[0].copy()

    def run_streams(self, chunks: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run each chunk on one core."""
        outputs: list[Any] = [None] * len(chunks)

        def keep(request: Any, number: int) -> None:
            outputs[number] = request.get_output_tensor(0).data.copy()

        with self._lock:
            self._queue.set_callback(keep)
            for number, chunk in enumerate(chunks):
                self._queue.start_async([np.ascontiguousarray(chunk)], number)
            self._queue.wait_all()
        return outputs


def _executorch(
    folder: Path, cores: int | None = None, precision: Precision = "fp32", name: str = MODEL
) -> autotune.Engine:
    from resmlp.backends.executorch import ExecuTorch  # its runtime takes tensors of torch

    return ExecuTorch(folder)


ENGINES: dict[str, Callable[..., autotune.Engine]] = {
    "onnx": OnnxRuntime,
    "openvino": OpenVino,
    "executorch": _executorch,
}
"""by export format"""
HAS: dict[str, tuple[Precision, ...]] = {"onnx": ("fp32",), "openvino": ("fp32", "bf16"), "executorch": ("fp32",)}
"""the precisions in which a file of 32 bits can run, on a CPU that has them"""
PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "executorch": "executorch"}


def open_engine(
    to: str, folder: Path, cores: int | None = None, precision: Precision = "fp32", name: str = MODEL
) -> autotune.Engine:
    """The engine for the files of an exported folder. Raises `UserError` if its package is missing."""
    make = lookup("format", to, ENGINES)
    check_package(to, folder)
    return make(folder, cores, precision, name)


def check_package(to: str, folder: Path) -> None:
    """Raise `UserError` if the package that runs the files of `folder` is missing."""
    if find_spec(PACKAGES[to]) is None:
        hint = install_hint("executorch") if to == "executorch" else install_hint("export")
        raise UserError(f"{folder} is for {PACKAGES[to]}, which is not installed", hint)
