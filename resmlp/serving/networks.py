"""The networks of a server by their names, and what each of them does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from PIL import Image

from resmlp.config.image_size import Size, shown
from resmlp.config.precision import Execution
from resmlp.hub.names import on_disk
from resmlp.hub.resolve import Source, resolve
from resmlp.inference.model_kinds import KINDS, load_source
from resmlp.inference.prediction import Classifier, ImagePredictor, Predictor, warn_untrained
from resmlp.serving import answers
from resmlp.serving.limits import Refusal
from resmlp.serving.look import Look
from resmlp.serving.metrics import Metrics
from resmlp.serving.operations import Embed, Predict, Segment
from resmlp.serving.sizes import at_size, sizes_of
from resmlp.utils.checks import demand
from resmlp.utils.errors import did_you_mean
from resmlp.utils.run_folder import WEIGHTS

LONGEST = 80  # characters of a name


@dataclass(frozen=True)
class Network:
    """One network, loaded."""

    name: str
    predictor: Predictor
    operations: Mapping[str, Any]
    """by their names: predict, embed, segment, translate"""
    look: Look | None = None
    sizes: tuple[Size, ...] = ()
    """of the images that it takes, the smallest first"""
    moved: dict[Size, "Network"] = field(default_factory=dict, repr=False)
    """the same network for others of its sizes, those that were asked for"""
    moving: Lock = field(default_factory=Lock, repr=False)

    def at(self, size: str | None) -> "Network":
        """The network for images of a size, `HEIGHTxWIDTH`; None: its own. It is moved at the first use.

        Raises `Refusal` 422 for a size that is not one of `sizes`.
        """
        if size is None:
            return self
        wanted = next((each for each in self.sizes if shown(each) == size), None)
        if wanted is None:
            raise Refusal(422, f"size {size}: {self.name} takes {', '.join(map(shown, self.sizes)) or 'no images'}")
        with self.moving:
            if wanted not in self.moved:
                self.moved[wanted] = self._at(wanted)
            return self.moved[wanted]

    def _at(self, size: Size) -> "Network":
        assert isinstance(self.predictor, ImagePredictor)
        if size == self.predictor.preprocessing.size:
            return self
        predictor = at_size(self.predictor, size)
        operations = {name: each.of(predictor) for name, each in self.operations.items()}
        return Network(self.name, predictor, operations, Look(self.name, predictor))

    def warm_up(self) -> None:
        """Run each operation once, so that the first request does not wait for what is prepared at the first use."""
        _ = self.info
        for operation in self.operations.values():
            if isinstance(self.predictor, ImagePredictor):
                gray = Image.new("RGB", self.predictor.preprocessing.size[::-1], "gray")
                operation.run([self.predictor.keep(gray)], ())
            else:
                operation.run(["a"], None)

    @cached_property
    def info(self) -> answers.Model:
        """Of /v1/models."""
        layers = self.look.listed() if self.look else ()
        names = (*self.operations, *["look"] * bool(layers))
        if not isinstance(self.predictor, ImagePredictor):
            return answers.Model(self.name, tuple(self.predictor.facts()), names, None, (), False, (), ())
        preprocessing = self.predictor.preprocessing
        classes = tuple(getattr(self.predictor, "words", ()) or getattr(self.predictor, "classes", ()))
        size, upright = preprocessing.size, preprocessing.exif == "apply"
        about = tuple(self.predictor.facts())
        return answers.Model(self.name, about, names, size, self.sizes, upright, classes, layers)


@dataclass
class Networks:
    """Those of one server; empty until they are loaded."""

    by_name: dict[str, Network] = field(default_factory=dict)

    def choose(self, operation: str, name: str | None) -> Network:
        """The network that does `operation`. Raises `Refusal`: 404 for none, 422 where it has to be named."""
        if name is not None and name not in self.by_name:
            raise Refusal(404, f"no model {name!r} ({did_you_mean(name, self.by_name)})")
        able = [network for network in self.by_name.values() if operation in network.info.operations]
        if name is not None:
            if self.by_name[name] not in able:
                raise Refusal(404, f"model {name!r} does not {operation}")
            return self.by_name[name]
        if not able:
            raise Refusal(404, f"no model of this server can {operation}")
        if len(able) > 1:
            names = ", ".join(network.name for network in able)
            raise Refusal(422, f"several models can {operation}: give model, one of {names}")
        return able[0]


def name_sources(models: Sequence[str]) -> dict[str, Source]:
    """The name of each network of the server: that of `NAME=MODEL`, else the last part of MODEL. Raises `UserError`."""
    named = dict[str, Source]()
    for model in models:
        name, sign, path = model.partition("=")
        if not sign or on_disk(model):
            name, path = _short(model), model
        source = resolve(path)
        allowed = name.isprintable() and 0 < len(name) <= LONGEST and "/" not in name
        demand(allowed, f"{name!r} cannot be the name of a model", "give NAME=MODEL, NAME without a slash")
        demand(name not in named, f"two models are called {name}", f"give another name to one: NAME={path}")
        named[name] = source
    return named


def _short(model: str) -> str:
    """The last part of a path or of an address: nobody is told where the disk has it."""
    if not on_disk(model):
        return Path(model).name.rpartition(":")[2]
    path = Path(model).resolve()
    if path.is_dir():
        return path.name
    return path.parent.name if path.name == WEIGHTS else path.stem


def load_network(name: str, source: Source, execution: Execution, metrics: Metrics) -> Network:
    """A network ready to answer. Raises `UserError` for one that cannot be loaded."""
    takes_text = KINDS[source.kind].takes == "text"
    predictor = load_source(source, _for_text(execution) if takes_text else execution)
    warn_untrained(source.name, predictor.trained)
    if takes_text:
        from resmlp.inference.translation import Translator
        from resmlp.serving.text import Translate

        assert isinstance(predictor, Translator)
        return Network(name, predictor, {"translate": Translate(name, predictor)})
    assert isinstance(predictor, ImagePredictor)
    kinds: list[Any] = [Segment]
    if isinstance(predictor, Classifier):
        embeds = hasattr(predictor, "features") or not predictor.has_classifier
        kinds = [Predict] * predictor.has_classifier + [Embed] * embeds
    operations = {kind.name: kind(name, predictor, metrics) for kind in kinds}
    return Network(name, predictor, operations, Look(name, predictor), sizes_of(predictor))


def _for_text(execution: Execution) -> Execution:
    """Backends are those of classifiers."""
    return Execution(execution.device, None, execution.precision, execution.images)
