"""The model card of a network on the hub: what is known of it, and nothing that is not.

Every name comes from files of others. In the text each is escaped for Markdown; the head is written by a YAML emitter.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import torch

from resmlp.checks import demand
from resmlp.files import read_json
from resmlp.models import Trunk, TrunkConfig, count_macs, count_parameters
from resmlp.sources import HUB

RESMLP = "[ResMLP: Feedforward networks for image classification](https://arxiv.org/abs/2105.03404)"
MIXER = "[MLP-Mixer: An all-MLP Architecture for Vision](https://arxiv.org/abs/2105.01601)"
SHOWN = 50  # class names; all are in config.json
MARKS = re.compile(r"([\\`*_{}\[\]<>#|~&$:@!+=^])")
RECIPE = ("task", "model", "data", "augment", "optim", "run")
UNKNOWN = "not stated"


@dataclass(frozen=True)
class Run:
    """What a run folder says of itself; empty where there is none."""

    recipe: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    figures: tuple[Path, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Any of the files may be missing. Raises `UserError` for one that is broken.

        Figures of predictions are left out: they show pictures of the data, which are not ours to publish.
        """
        drawn = sorted((folder / "figures").glob("*.png"))
        figures = [path for path in drawn if path.is_file() and not path.name.startswith("predictions")]
        return cls(_object(folder / "recipe.json"), _object(folder / "summary.json"), tuple(figures))

    def scores(self) -> dict[str, float]:
        """The numbers of the very weights that are in the folder: the last evaluation's, not the best's."""
        last = _mapping(_mapping(self.summary, "last"), str(self.summary.get("weights")))
        own = {key: value for key, value in last.items() if key not in ("weights", "epoch", "step")}
        return {key: float(value) for key, value in own.items() if _is_number(value)}

    def data(self) -> str:
        """What it was trained on: the kind of data, and the last part of its path."""
        data = _mapping(self.recipe, "data")
        root = data.get("root")
        place = Path(root).name if isinstance(root, str) else ""
        source = str(data.get("source") or "")
        return f"{source}: {place}" if source and place and source != place else source or place

    def settings(self) -> Iterator[tuple[str, Any]]:
        """The recipe's fields, `data.batch_size` and so on, without the folders of whoever ran it."""
        for part in RECIPE:
            for key, value in _mapping(self.recipe, part).items():
                if value not in (None, ""):
                    yield f"{part}.{key}", _without_folder(value)


def model_card(
    repo: str, config: dict[str, Any], network: TrunkConfig, classes: tuple[str, ...], run: Run, licence: str | None
) -> str:
    """README.md of `repo`: `config` is its config.json, `licence` an identifier of the hub's, None where not stated."""
    parts = (
        f"---\n{_head(repo, network, run, licence)}\n---",
        f"# {plain(repo.rpartition('/')[2])}",
        _about(config, network, classes),
        "## Use",
        _use(repo, config, network),
        "## Training",
        _training(run),
        "## Results",
        _results(run),
        *(
            ["## Figures", *(f"![{plain(path.stem)}](figures/{path.name})" for path in run.figures)]
            if run.figures
            else []
        ),
        "## Recipe",
        _table(("field", "value"), run.settings()) or f"The recipe is {UNKNOWN}.",
        "## Licence",
        plain(licence) if licence else f"The licence of these weights is {UNKNOWN}: ask whoever published them.",
    )
    return "\n\n".join(parts) + "\n"


def plain(text: Any) -> str:
    """`text` as Markdown shows it literally, on one line."""
    printable = "".join(c if c.isprintable() else " " for c in str(text))
    return MARKS.sub(r"\\\1", " ".join(printable.split()))


def _head(repo: str, network: TrunkConfig, run: Run, licence: str | None) -> str:
    """The YAML in front, which the hub's search reads."""
    from huggingface_hub import EvalResult, ModelCardData

    task = "image-classification" if network.num_classes else "image-feature-extraction"
    data = plain(run.data()).replace("\\", "") or "unknown"
    kind = re.sub(r"[^\w.-]+", "-", data)
    results = [
        EvalResult(
            task_type=task,
            dataset_type=kind,
            dataset_name=data,
            metric_type=name,
            metric_name=name,
            metric_value=value,
        )
        for name, value in run.scores().items()
    ]
    head = ModelCardData(
        license=licence,
        library_name="timm",
        pipeline_tag=task,
        tags=["resmlp", "timm", "transformers"],
        model_name=repo.rpartition("/")[2] if results else None,  # it belongs to the results
        eval_results=results or None,
    )
    return head.to_yaml()


def _about(config: dict[str, Any], network: TrunkConfig, classes: tuple[str, ...]) -> str:
    arch, seen = network.architecture, config["pretrained_cfg"]
    with torch.device("meta"):
        model = Trunk(network)
        macs = count_macs(model, torch.empty(1, 3, *network.size))
    paper = MIXER if network.name.startswith("mixer_") else RESMLP
    facts = (
        ("parameters", f"{count_parameters(model):,}"),
        ("multiply-adds", f"{macs / 1e6:,.1f} M for a picture"),
        ("picture", f"{network.size[0]}x{network.size[1]} pixels (height x width), RGB"),
        (
            "preprocessing",
            f"resized ({seen['interpolation']}) so that a centre crop takes {seen['crop_pct']:g} of the shorter side",
        ),
        ("mean, std", f"{seen['mean']}, {seen['std']} of pixels in 0 to 1"),
        ("patch, dimension, depth", f"{arch.patch_size}, {arch.dim}, {arch.depth}"),
        ("mixer, norm, scale, pool", f"{arch.mixer}, {arch.norm}, {arch.scale}, {arch.pool}"),
        ("classes", f"{network.num_classes}" + ("" if classes else ", their names not stated")),
    )
    names = ", ".join(map(plain, classes[:SHOWN])) + (
        f", ... ({len(classes):,} in all)" if len(classes) > SHOWN else ""
    )
    text = f"`{config['architecture']}`, a network of the family of {paper}."
    return "\n\n".join([text, _table(("", ""), facts), *([f"Classes: {names}"] if names else [])])


def _use(repo: str, config: dict[str, Any], network: TrunkConfig) -> str:
    """Three ways to load it; our own names must be registered with timm first."""
    ours = "" if "stem.proj" in config["pretrained_cfg"]["first_conv"] else "import resmlp.timm  # registers the name\n"
    result = (
        'predict("picture.jpg")[0].labels' if network.num_classes else 'logits([Image.open("picture.jpg")])  # features'
    )
    auto = "AutoModelForImageClassification" if network.num_classes else "AutoModel"
    return f"""With resmlp:

```python
import resmlp

print(resmlp.load("{HUB}{repo}").{result})
```

With timm:

```python
import timm
{ours}
model = timm.create_model("{HUB}{repo}", pretrained=True)
```

With transformers:

```python
from transformers import AutoImageProcessor, {auto}
{ours}
processor = AutoImageProcessor.from_pretrained("{repo}")
model = {auto}.from_pretrained("{repo}")
```"""


def _training(run: Run) -> str:
    """On what, how long, with what."""
    settings, summary = _mapping(run.recipe, "run"), run.summary
    seconds, versions = summary.get("seconds"), _mapping(summary, "versions")
    start = _mapping(run.recipe, "model").get("checkpoint")
    facts = (
        ("recipe", run.recipe.get("name")),
        ("data", run.data()),
        ("started from", _without_folder(start) if start else "random weights" if run.recipe else None),
        ("seed", settings.get("seed")),
        ("time", f"{seconds / 60:.1f} minutes" if _is_number(seconds) else None),
        ("device", summary.get("device")),
        (
            "weights",
            {"ema": "averaged over steps (EMA)", "raw": "as the last step left them"}.get(str(summary.get("weights"))),
        ),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
    )
    return _table(("", ""), [(name, UNKNOWN if value in (None, "") else value) for name, value in facts])


def _results(run: Run) -> str:
    scores = run.scores()
    if not scores:
        return f"What it reaches is {UNKNOWN}."
    held_out = _mapping(run.summary, "pictures").get("val")
    number = f"{held_out:,}" if _is_number(held_out) else f"their number is {UNKNOWN}"
    text = f"As fractions, on the held-out pictures ({number}) of {plain(run.data()) or 'data ' + UNKNOWN}:"
    return f"{text}\n\n{_table(('metric', 'value'), ((name, f'{value:.4f}') for name, value in scores.items()))}"


def _table(head: tuple[str, str], rows: Iterable[tuple[str, Any]]) -> str:
    """Two columns; empty without rows."""
    lines = [f"| {plain(name)} | {plain(value)} |" for name, value in rows]
    return "\n".join([f"| {head[0]} | {head[1]} |", "|---|---|", *lines]) if lines else ""


def _without_folder(value: Any) -> Any:
    """A path without what lies before its last part."""
    local = isinstance(value, str) and not value.startswith(HUB)
    return re.split(r"[/\\]", value.rstrip("/\\"))[-1] if local else value


def _object(path: Path) -> dict[str, Any]:
    value = read_json(path) if path.is_file() else {}
    demand(isinstance(value, dict), f"{path} holds no JSON object", "was it changed by hand?")
    return value


def _mapping(values: dict[str, Any], key: str) -> dict[str, Any]:
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
