"""A folder that `resmlp export` has written: its files, its precision, its failures. Loads no torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from resmlp.backends.runtimes import HAS
from resmlp.config.model_json import AnyExport, ExportedModelConfig, ExportedSegmenterConfig
from resmlp.config.precision import Execution, Precision
from resmlp.hub.resolve import Source
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, is_out_of_memory
from resmlp.utils.hardware import cpu_precisions, instruction_set

T = TypeVar("T", bound=AnyExport)


def open_folder(source: Source, wanted: type[T]) -> tuple[Path, T]:
    """The folder and its model.json. Raises `UserError` where it is no export of this kind, or files are missing."""
    folder, config = source.folder, source.expect(wanted)
    assert folder is not None
    assert config is not None
    for name in config.files:
        demand((folder / name).is_file(), f"no {name} in {folder}", "it was exported: copy it as well")
    program = f"{folder} is for torch.export.load, whose files may hold any program"
    demand(config.to != "torch", program, "export it to onnx or openvino, or give the run folder")
    return folder, config


def check_execution(source: Source, execution: Execution) -> None:
    """Raise `UserError` for a device or a backend that an export does not leave open."""
    device, backend = execution.device, execution.backend
    demand(device in ("auto", "cpu"), f"--device {device}: an exported network runs on the CPU", "leave it out")
    fixed = f"--backend {backend}: {source} is an exported network and fixes its backend"
    demand(backend is None, fixed, "leave it out")


def exported_precision(config: ExportedModelConfig | ExportedSegmenterConfig, execution: Execution) -> Precision:
    """The precision that is asked for; by default that of the export, if this CPU has it. Raises `UserError`."""
    present = ("int8",) if config.precision == "int8" else HAS[config.to]
    present = tuple(name for name in present if name == "int8" or name in cpu_precisions())
    if execution.precision in (None, "auto"):
        return config.precision if config.precision in present else "fp32"
    (asked,) = execution.among(present, f"this export to {config.to} on this cpu ({instruction_set('fp32')})")
    return asked


@contextmanager
def explain_failure(folder: Path) -> Iterator[None]:
    """Turn the failure of a backend into one line: a damaged file and a fault of the backend look alike."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"cannot run {folder}: {reason}", "is it whole? export it again") from error
