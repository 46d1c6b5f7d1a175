"""OpenVINO beside signals, and given files that are none of its own."""

import os
import subprocess
import sys

import pytest

from resmlp.backends.runtimes import openvino_model

CODE = """
import gc, os, signal
import numpy as np
import openvino
from openvino import opset13 as ops
from pathlib import Path
from resmlp.backends.runtimes import open_engine
x = ops.parameter([-1, 3, 4, 4], np.float32)
model = openvino.Model([ops.reduce_mean(x, np.array([2, 3]))], [x], "mean")
openvino.save_model(model, "model.xml")
images = np.ones((4, 3, 4, 4), np.float32)
for _ in range(3):
    engine = open_engine("openvino", Path("."), cores=2)
    engine.run(images)
    engine.run_streams([images[:2], images[2:]])
    del engine
    gc.collect()
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_after_an_engine_is_gone(tmp_path):
    """It was a segmentation fault: the plugin had freed the stack that signals are handled on."""
    pytest.importorskip("openvino")
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env, timeout=120)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x00" * 100], ids=["empty", "text", "zeros"])
def test_a_graph_that_is_not_xml_is_refused_without_another_line(content, tmp_path, capfd):
    pytest.importorskip("openvino")
    path = tmp_path / "model.xml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="^model.xml is not XML$"):
        openvino_model(path, 1)
    assert capfd.readouterr() == ("", "")
