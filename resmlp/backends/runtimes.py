"""Programs that run exported networks on a CPU: onnxruntime and OpenVINO. Loads no torch."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np

from resmlp.backends import autotune
from resmlp.utils.errors import UserError, install_hint, lookup

INPUT = "images"
Precision = Literal["fp32", "bf16"]


class OnnxRuntime:
    """A model.onnx."""

    name = "onnxruntime"

    def __init__(self, folder: Path, cores: int | None = None, precision: Precision = "fp32"):
        if precision != "fp32":
            raise UserError(f"onnxruntime has no {precision} on a CPU", "openvino has")
        self.path, self.cores = folder / "model.onnx", cores or autotune.cores()

    def _session(self, threads: int) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4  # what is wrong is raised as well
        return onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])

    @cached_property
    def _whole(self) -> Any:
        return self._session(self.cores)

    @cached_property
    def _single(self) -> Any:
        return self._session(1)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.cores)

    def one(self, images: np.ndarray) -> np.ndarray:
        """B 3 H W -> B K, by all cores."""
        return self._whole.run(None, {INPUT: images})[0]

    def many(self, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Each part by a core of its own."""
        return list(self._pool.map(lambda part: self._single.run(None, {INPUT: part})[0], parts))


class OpenVino:
    """A model.xml and its model.bin. Several threads may ask; they take turns, as a request holds one answer."""

    name = "openvino"

    def __init__(self, folder: Path, cores: int | None = None, precision: Precision = "fp32"):
        self.path, self.cores = folder / "model.xml", cores or autotune.cores()
        self.hint = {"fp32": "f32", "bf16": "bf16"}[precision]  # by itself it takes bf16 where a CPU has it
        self._turn = Lock()

    def _compiled(self, streams: int) -> Any:
        import openvino

        options = {
            "INFERENCE_PRECISION_HINT": self.hint,
            "NUM_STREAMS": str(streams),
            "INFERENCE_NUM_THREADS": str(self.cores),
        }
        return openvino.Core().compile_model(self.path, "CPU", options)

    @cached_property
    def _request(self) -> Any:
        return self._compiled(1).create_infer_request()

    @cached_property
    def _queue(self) -> Any:
        import openvino

        return openvino.AsyncInferQueue(self._compiled(self.cores), self.cores)

    def one(self, images: np.ndarray) -> np.ndarray:
        """B 3 H W -> B K, by all cores."""
        with self._turn:
            return self._request.infer([images], share_inputs=True)[0].copy()

    def many(self, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Each part by a core of its own."""
        found: list[Any] = [None] * len(parts)

        def keep(request: Any, number: int) -> None:
            found[number] = request.get_output_tensor(0).data.copy()

        with self._turn:
            self._queue.set_callback(keep)
            for number, part in enumerate(parts):
                self._queue.start_async([np.ascontiguousarray(part)], number)
            self._queue.wait_all()
        return found


ENGINES: dict[str, Callable[..., autotune.Engine]] = {"onnx": OnnxRuntime, "openvino": OpenVino}
"""by what an export is to"""
PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}


def open_engine(to: str, folder: Path, cores: int | None = None, precision: Precision = "fp32") -> autotune.Engine:
    """What runs the files of an exported folder. Raises `UserError` where its package is missing."""
    make, package = lookup("format", to, ENGINES), PACKAGES[to]
    if find_spec(package) is None:
        raise UserError(f"{folder} is for {package}, which is not installed", install_hint("export"))
    return make(folder, cores, precision)
