"""Graphs with several inputs and outputs, run on all cores by ONNX Runtime or OpenVINO. Loads no torch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from resmlp.backends.autotune import usable_cores
from resmlp.backends.runtimes import check_package, onnx_session, openvino_model
from resmlp.utils.errors import lookup

Graph = Callable[[dict[str, np.ndarray]], list[np.ndarray]]
"""inputs by name -> outputs in their order"""


def open_graph(to: str, folder: Path, name: str) -> Graph:
    """The graph in the files `name` of a folder. Raises `UserError` if the package that runs it is missing."""
    load = lookup("format", to, GRAPHS)
    check_package(to, folder)
    return load(folder, name)


def _open_onnx(folder: Path, name: str) -> Graph:
    session = onnx_session(folder / f"{name}.onnx", usable_cores())
    return lambda inputs: session.run(None, inputs)


def _open_openvino(folder: Path, name: str) -> Graph:
    request = openvino_model(folder / f"{name}.xml", usable_cores()).create_infer_request()

    def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        found = request.infer(inputs, share_inputs=True)
        return [found[port].copy() for port in request.model_outputs]

    return run


GRAPHS: dict[str, Callable[[Path, str], Graph]] = {"onnx": _open_onnx, "openvino": _open_openvino}
"""by export format"""
