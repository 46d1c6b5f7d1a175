"""Model repositories: the folders that NVIDIA Triton and OpenVINO Model Server load networks from.

`DIR/NAME/VERSION/` has the files of an export with preprocessing in the graph, and model.json: `resmlp predict` takes
it. Triton reads `DIR/NAME/config.pbtxt`, OpenVINO Model Server `DIR/config.json`. Both ignore other files.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from resmlp.backends.runtimes import onnx_session
from resmlp.config.image_size import ImageSize, image_sizes
from resmlp.config.model_json import MODEL_JSON, AnyExport, ExportedModelConfig, ExportedSegmenterConfig, Target
from resmlp.exporters.export import TOLERANCE, ExportResult, export
from resmlp.exporters.formats import check_packages
from resmlp.hub.default_out import default_out
from resmlp.hub.resolve import Source, read_config, resolve
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, printable
from resmlp.utils.files import read_json, write_folder, write_json, write_text

TRITON, MODEL_SERVER, LABELS = "config.pbtxt", "config.json", "labels.txt"
MAX_BATCH = 32
"""images of the largest batch that Triton puts together, for a start"""
HINTS = {"fp32": "f32", "bf16": "bf16"}
"""precision -> what OpenVINO calls it: without it, a CPU with units for bf16 takes those"""
TYPES = {"tensor(uint8)": "TYPE_UINT8", "tensor(float)": "TYPE_FP32"}
"""ONNX Runtime's names of types -> Triton's"""


class Port(NamedTuple):
    """An input or output of a graph."""

    name: str
    type: str
    """in ONNX Runtime's words"""
    shape: tuple[int, ...]
    """without the batch"""


@dataclass(frozen=True)
class Repository:
    """Where a network goes in a repository."""

    folder: Path
    name: str
    to: Target

    @property
    def model(self) -> Path:
        """The folder of all versions of the network."""
        return self.folder / self.name

    def versions(self) -> list[int]:
        """The numbers of the versions that are there, in order."""
        folders = self.model.iterdir() if self.model.is_dir() else ()
        return sorted(int(path.name) for path in folders if re.fullmatch("[1-9][0-9]{0,8}", path.name, re.ASCII))

    def last(self) -> AnyExport | None:
        """The newest version; None where there is no network of this name.

        Raises `UserError` for a folder that something else wrote, and for an export to another format.
        """
        demand(not self.folder.exists() or self.folder.is_dir(), f"{self.folder} is a file", "give a folder")
        if not self.model.exists():
            return None
        versions = self.versions()
        file = self.model / str(versions[-1] if versions else 1) / MODEL_JSON
        config = read_config(file) if file.is_file() else None
        foreign = f"{self.model} has no version that export wrote"
        if not isinstance(config, ExportedModelConfig | ExportedSegmenterConfig):
            raise UserError(foreign, "give another --name")
        demand(config.to == self.to, f"{self.model} holds exports to {config.to}", "give another --name")
        return config


def export_repository(
    model: str | Path | Source,
    to: Target,
    folder: str | Path,
    name: str | None = None,
    *,
    tolerance: float = TOLERANCE,
    images: Sequence[str | Path] = (),
    precision: str = "fp32",
    img_size: ImageSize | Sequence[ImageSize] | None = None,
) -> ExportResult:
    """Export MODEL into the model repository `folder` as the next version of `name`: a new folder, or nothing.

    `to` onnx: for Triton; openvino: for OpenVINO Model Server. The graph takes uint8 B 3 H W, 0 to 255. A configuration
    that is there is kept, so that the settings of the server stay. Raises `UserError` as `export` does, for a
    translator, and for a new version with other inputs, outputs or classes than the last one.
    """
    source = resolve(model)
    demand(to in ("onnx", "openvino"), f"--to {to} has no model repository", "use onnx or openvino")
    demand(source.kind != "translator", f"{source} translates, by a search over two graphs", "use resmlp serve")
    several = "a network of a model repository has one size, and --img-size gives several"
    demand(len(image_sizes(img_size)) < 2, several, "give one, or a --name for each")
    check_packages(to)
    name = _default_name(source) if name is None else name
    plain = re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", name, re.ASCII)
    demand(bool(plain), f"--name {name!r}", "letters, digits, '_', '-' and '.', a letter or digit first")
    repository = Repository(Path(folder), name, to)
    before, number = repository.last(), max(repository.versions(), default=0) + 1
    served = _served(repository) if to == "openvino" else {}
    options = {"tolerance": tolerance, "images": images, "precision": precision, "img_size": img_size}
    results = []

    def write(aside: Path) -> None:
        results.append(export(source, to, aside, with_preprocessing=True, **options))  # type: ignore[arg-type]
        if before:
            _check_same(before, read_config(aside / MODEL_JSON), repository)

    def write_all(aside: Path) -> None:
        write(aside / str(number))
        _describe(aside, repository, aside / str(number))

    if before:
        write_folder(repository.model / str(number), write)
    else:
        write_folder(repository.model, write_all)
    if to == "openvino":
        _serve(repository, served, results[0])
    return replace(results[0], out=repository.model / str(number))


def _default_name(source: Source) -> str:
    """The name of the run folder, the file or the published weights."""
    out = default_out(source.name, "export")
    name = source.folder.absolute().name if source.folder else out.name
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII).lstrip("._-") or "model"


def _check_same(before: AnyExport, now: Any, repository: Repository) -> None:
    """Raise `UserError` where the new version is not to be called as the last one is."""
    if _interface(before) != _interface(now):
        what = f"{repository.model} has versions with other inputs, outputs or classes"
        raise UserError(what, "give another --name, for which clients get a new address")


def _interface(config: Any) -> tuple[Any, ...]:
    """What clients see of a network: the sizes of its input and output, and its classes."""
    if isinstance(config, ExportedSegmenterConfig):
        own = config.segmenter
        return (own.model.size, len(own.preprocessing.mean), own.classes)
    width = config.model.num_classes or config.model.architecture.dim
    return (config.model.size, len(config.preprocessing.mean), width, config.output, config.classes)


def _describe(model: Path, repository: Repository, version: Path) -> None:
    """Write the names of the classes, and for Triton the configuration, into the folder of a new network."""
    config: Any = read_config(version / MODEL_JSON)
    classifies = isinstance(config, ExportedModelConfig)
    classes = (config.words or config.classes) if classifies else config.segmenter.classes
    if classes:
        write_text(model / LABELS, "".join(f"{printable(label)}\n" for label in classes))
    if repository.to == "onnx":
        labels = LABELS if classes and classifies else None
        write_text(model / TRITON, triton_config(repository.name, *graph_ports(version / "model.onnx"), labels))


def graph_ports(path: Path) -> tuple[Port, Port]:
    """The input and the output of a model.onnx."""
    session = onnx_session(path, 1)
    (given,), (result,) = session.get_inputs(), session.get_outputs()
    one, other = (Port(port.name, port.type, tuple(port.shape[1:])) for port in (given, result))
    return one, other


def triton_config(name: str, given: Port, result: Port, labels: str | None) -> str:
    """The text of config.pbtxt: any batch up to `MAX_BATCH`, put together from requests that wait at the same time."""

    def block(what: str, port: Port, more: Sequence[str] = ()) -> str:
        dims = ", ".join(map(str, port.shape))
        fields = [f'name: "{port.name}"', f"data_type: {TYPES[port.type]}", f"dims: [ {dims} ]", *more]
        return f"{what} [\n  {{\n" + "".join(f"    {field}\n" for field in fields) + "  }\n]\n"

    named = [f'label_filename: "{labels}"'] if labels else []
    head = f'name: "{name}"\nplatform: "onnxruntime_onnx"\nmax_batch_size: {MAX_BATCH}\n'
    return head + block("input", given) + block("output", result, named) + "dynamic_batching { }\n"


def _served(repository: Repository) -> dict[str, Any]:
    """The contents of config.json, the networks under "model_config_list". Raises `UserError` for another file."""
    path = repository.folder / MODEL_SERVER
    values = read_json(path) if path.exists() else {"model_config_list": []}
    served = values.get("model_config_list") if isinstance(values, dict) else None
    whole = isinstance(served, list) and all(isinstance(each, dict) for each in served)
    demand(whole, f"{path} has no model_config_list", "it is not of OpenVINO Model Server: give another --repository")
    return dict(values)


def _serve(repository: Repository, contents: dict[str, Any], result: ExportResult) -> None:
    """Add the network to the contents of config.json, unless it is there; all else in the file stays."""
    served = contents["model_config_list"]
    if any(isinstance(each.get("config"), dict) and each["config"].get("name") == repository.name for each in served):
        return
    hint = {"INFERENCE_PRECISION_HINT": HINTS[result.precision]}
    own = {"name": repository.name, "base_path": repository.name, "plugin_config": hint}  # relative to the file
    write_json(repository.folder / MODEL_SERVER, contents | {"model_config_list": [*served, {"config": own}]})
