"""`resmlp export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from resmlp.cli.base import SIZE_HELP, Verb, print_text
from resmlp.config.help import default_if_any
from resmlp.config.model_json import Target
from resmlp.config.precision import PrecisionChoice
from resmlp.utils.checks import ANY, POSITIVE, check_range, demand


@dataclass(frozen=True, kw_only=True)
class Export(Verb):
    """export a network to ONNX, OpenVINO, torch.export or ExecuTorch: for any batch, compared with torch"""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """a run folder, a file of weights, a name of `resmlp list weights`, or hf-hub:ORG/NAME"""
    to: Target = "onnx"
    """file format; segmenters also have torch, translators onnx and openvino, and only classifiers executorch"""
    out: Path | None = None
    """output folder; default RUN/export for a run folder, else export/NAME"""
    repository: Path | None = None
    """in place of --out: a model repository, of NVIDIA Triton (onnx) or OpenVINO Model Server (openvino); writes the
    next version of the network, with preprocessing"""
    name: str | None = None
    """of the network in the repository; default that of the run folder or of the weights"""
    with_preprocessing: bool = False
    """take uint8 pixels, 0 to 255, and, of a classifier, give probabilities"""
    img_size: Annotated[
        tuple[str, ...],
        arg(metavar="SIZE...", help=f"{SIZE_HELP}. Several: a graph for each", help_behavior_hint=default_if_any),
    ] = ()
    tolerance: float = 1e-4
    """largest allowed difference of an output from the output in torch"""
    images: Annotated[tuple[str, ...], arg(metavar="FILE...", help_behavior_hint=default_if_any)] = ()
    """images, or folders of images, for the comparison with torch"""
    precision: PrecisionChoice = "fp32"
    """in which the export runs by default, where the CPU has it: fp32, bf16 (openvino, not of translators), or auto, of
    a classifier the fastest on this CPU that keeps the answers; resmlp compress --to int8-openvino writes int8"""

    def __post_init__(self) -> None:
        check_range("--", self, tolerance=(POSITIVE, ANY))
        both = self.out is not None and self.repository is not None
        demand(not both, "--out and --repository", "give one of them")
        demand(self.name is None or self.repository is not None, f"--name {self.name}", "only with --repository")

    def run(self) -> dict[str, Any]:
        """Write the files and model.json."""
        options: dict[str, Any] = {name: getattr(self, name) for name in ("tolerance", "images", "precision")}
        options["img_size"] = self.img_size or None
        if self.repository is not None:
            from resmlp.exporters.repository import export_repository

            result = export_repository(self.model, self.to, self.repository, self.name, **options)
        else:
            from resmlp.exporters.export import export

            result = export(self.model, self.to, self.out, with_preprocessing=self.with_preprocessing, **options)
        if not self.json:
            print_text(result)
        return result.to_dict()
