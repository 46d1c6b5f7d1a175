"""Matrices of an OpenVINO file in 8 bits, by NNCF: one scale for each row, and products of 32 bits.

It needs no calibration. It serves networks that wait for their weights from memory, as a translator does that reads
all its matrices for each token of a sentence.
"""

import contextlib
import io
import logging
from importlib.util import find_spec
from pathlib import Path

from resmlp.backends.runtimes import openvino_core
from resmlp.utils.checks import demand
from resmlp.utils.errors import install_hint


def check_nncf() -> None:
    """Raise `UserError` where the package that rounds is missing."""
    demand(find_spec("nncf") is not None, "--precision int8 needs nncf, which is not installed", install_hint("export"))


def round_weights(file: Path) -> None:
    """Replace `file`.xml and its .bin by those with rounded matrices."""
    aside = file.with_stem(f"{file.stem}-int8")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import nncf
        import openvino

        nncf.set_log_level(logging.ERROR)
        model = openvino_core().read_model(file)
        small = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
        try:
            openvino.save_model(small, aside, compress_to_fp16=False)
        except RuntimeError as error:  # a full disk
            raise OSError(0, " ".join(str(error).split())[:200]) from None
    for ending in (".xml", ".bin"):
        aside.with_suffix(ending).replace(file.with_suffix(ending))
