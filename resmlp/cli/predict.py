"""`resmlp predict`."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from resmlp.cli.base import Device, RunSize, Verb, print_json, print_text
from resmlp.cli.image_files import list_inputs, names_images, names_packed
from resmlp.cli.progress import progress_bar
from resmlp.config.help import default_if_any
from resmlp.config.image_size import run_size
from resmlp.config.precision import Execution, PrecisionChoice, Ran
from resmlp.utils.checks import ANY, check_range, demand
from resmlp.utils.errors import printable

if TYPE_CHECKING:
    from PIL.Image import Image

    from resmlp.imaging.image_file import ImageSource

NAMED = 6  # classes of a line
OUT = Path("predictions")
Backend = Literal["torch", "folded", "compile", "onnx", "openvino", "auto"]
Write = Callable[[str, "Image", Any], dict[str, Any]]
"""(file, image, result) -> an entry of the output"""


@dataclass(frozen=True, kw_only=True)
class Predict(Verb):
    """the classes of images, most probable first; of a segmenter the class of each pixel, as overlay PNGs"""

    model: Annotated[Positional[str], arg(metavar="[MODEL]")]
    """a run folder, a weight file, a name of `resmlp list weights`, hf-hub:ORG/NAME, timm:NAME, or an export; where an
    image or a folder of images is first, the packaged network of the ten classes of CIFAR-10"""
    files: Annotated[Positional[tuple[str, ...]], arg(metavar="FILE...", help_behavior_hint=default_if_any)]
    """images, or folders of them; for a classifier also packed data sets, in folders or at addresses"""
    top: int | None = None
    """how many classes to name; default 3, or where an image may have several labels, those from the threshold on"""
    out: Path | None = None
    """for a classifier: FILE.parquet, with a row for each image; FILE... may then be an archive, any number
    of processes share the work, and the same command continues it. For a segmenter: the folder of NAME-overlay.png and
    NAME-labels.png, in the folders of the images; default predictions/"""
    workers: int = 2
    """for FILE.parquet: processes that read the images, for a network that torch runs"""
    img_size: RunSize = None
    device: Device = "auto"
    backend: Backend | None = None
    """the backend of a classifier on a CPU: torch, folded, compile, onnx, openvino, or auto, the fastest of the
    installed ones, measured during prediction; default torch, and auto from 1,024 images on. An exported network
    fixes its backend"""
    precision: PrecisionChoice = "auto"
    """of the products: fp32, bf16, or auto, the fastest that the device has and that keeps the answers of fp32,
    measured from 1,024 images on; a segmenter runs in fp32 unless asked"""

    def __post_init__(self) -> None:
        demand(self.top is None or self.top >= 1, f"--top {self.top}", "at least 1")
        check_range("--", self, workers=(0, ANY))

    def run(self) -> dict[str, Any]:
        """Predict every file that can be read; the others are named, and make the exit code 2."""
        from resmlp.hub.packaged import CLASSIFIER, packaged_default
        from resmlp.hub.resolve import resolve
        from resmlp.imaging.decode import UnreadableImage
        from resmlp.inference import Classifier
        from resmlp.inference.model_kinds import KINDS, load_source
        from resmlp.inference.prediction import ImagePredictor, warn_untrained

        named, given = self.model, self.files
        if names_images(named):
            named, given = packaged_default(CLASSIFIER, "resmlp predict MODEL FILE..."), (named, *given)
        if self.out is not None and self.out.suffix.lower() == ".parquet":
            return self._write_parquet(named, given, self.out)
        source = resolve(named)
        demand(KINDS[source.kind].takes == "images", f"{named} translates text", "use resmlp translate")
        demand(bool(given), f"no images given for {named}", "resmlp predict MODEL FILE...")
        files = list_inputs(given)
        asked = Execution(self.device, self.backend, self.precision, len(files), run_size(self.img_size))
        predictor = load_source(source, asked)
        assert isinstance(predictor, ImagePredictor)
        classifies = isinstance(predictor, Classifier)
        several = isinstance(predictor, Classifier) and predictor.threshold is not None
        options, files, write = self._classification(files, several) if classifies else self._segmentation(files)
        warn_untrained(named, predictor.trained)
        entries, broken = list[dict[str, Any]](), list[UnreadableImage]()
        for file, image, result in predictor.stream(files, broken.append, **options):
            entries.append(write(file if isinstance(file, str) else file.name, image, result))
            if not self.json:
                print(printable(in_words(entries[-1])), flush=True)
        output = {"predictions": entries, "unreadable": [error.name for error in broken]}
        if isinstance(predictor, Classifier) and entries:
            output |= self._ran(predictor.ran)
        if broken:
            if self.json:
                print_json(output)
            failures = {str(error): error for error in broken}  # a lost shard is one for all its images
            *others, last = failures.values()
            for failure in others:
                print(f"error: {failure}", file=sys.stderr)
            raise last
        return output

    def _write_parquet(self, named: str, given: tuple[str, ...], out: Path) -> dict[str, Any]:
        """Write the predictions of all images to a file; of several processes the one that ends last has the result."""
        from resmlp.evaluation.batch_inference.predict import predict_parquet
        from resmlp.imaging.file_types import is_image_file

        demand(bool(given), "no images given", "resmlp predict MODEL FILE... --out FILE.parquet")
        whole = len(given) == 1 and not is_image_file(given[0])
        with progress_bar() as bar:
            written = predict_parquet(
                named,
                given[0] if whole else list_inputs(given),
                out,
                top=self.top,
                workers=self.workers,
                device=self.device,
                backend=self.backend,
                precision=self.precision,
                img_size=self.img_size,
                progress=bar,
            )
        if written and not self.json:
            print_text(written)
        return written.to_dict() if written else {}

    def _ran(self, ran: Ran) -> dict[str, Any]:
        """What ran the network, for the output; people are told where it is not torch in fp32."""
        if not self.json and (ran.backend, ran.precision) != ("torch", "fp32"):
            print(f"ran by {ran}", file=sys.stderr)
        return {"ran_by": ran._asdict()}

    def _classification(
        self, files: "list[str | ImageSource]", several: bool
    ) -> "tuple[dict[str, int | None], list[str | ImageSource], Write]":
        """The options of `predict`, the files, and what makes an entry of the output."""
        demand(
            self.out is None,
            f"--out {self.out} is for segmenters",
            "a classifier prints its predictions, or writes FILE.parquet",
        )
        return (
            {"top": self.top or (None if several else 3)},
            files,
            lambda file, image, result: {"file": file, **result.to_dict()},
        )

    def _segmentation(
        self, given: "Sequence[str | ImageSource]"
    ) -> "tuple[dict[str, int | None], list[str | ImageSource], Write]":
        """The same of a segmenter, whose entries name the files that were written."""
        demand(self.top is None, f"--top {self.top} is for classifiers", "a segmenter gives the class of each pixel")
        from resmlp.analysis.segmentation_files import output_names, write_segmentation

        out = self.out or OUT
        demand(not out.exists() or out.is_dir(), f"--out {out} is a file", "give a folder")
        files = {file if isinstance(file, str) else file.name: file for file in given}
        folders = [path for path in self.files if not names_packed(path)]  # of a shard, an image has its name alone
        names = output_names(list(files), out, folders)

        def write(file: str, image: "Image", result: Any) -> dict[str, Any]:
            return {"file": file, **write_segmentation(result, image, out, names[file]), **result.to_dict()}

        return {}, [files[name] for name in names], write


def in_words(entry: dict[str, Any]) -> str:
    """An entry of the output as a line for people."""
    return f"{entry.get('overlay', entry['file'])}: {', '.join(_parts(entry))}"


def _parts(entry: dict[str, Any]) -> Iterator[str]:
    shares = entry.get("probabilities") or entry.get("shares") or {}
    if "features" in entry:
        yield f"{len(entry['features'])} features"
    listed = [f"{label} {share:.3f}" for label, share in shares.items()]
    yield from listed if "probabilities" in entry else listed[:NAMED]
    if entry.get("labels") == [] and not listed:
        yield "none"
    if "shares" in entry and len(listed) > NAMED:
        yield f"and {len(listed) - NAMED} more"
