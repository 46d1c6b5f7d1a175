"""The model card of a network on the hub: README.md, a YAML head and Markdown.

Names come from files of others: in the text they are escaped, and a YAML emitter writes the head.
"""

import re
from typing import Any

import torch

from resmlp.config.pretrained import HUB
from resmlp.exporters.provenance import MIXER, RESMLP, UNKNOWN, Provenance, escape, table
from resmlp.models import Trunk, TrunkConfig, count_macs, count_parameters

COLORS = {1: "gray", 3: "RGB"}
SHOWN = 50
"""class names on the card; config.json has all"""


def model_card(
    repo: str,
    config: dict[str, Any],
    network: TrunkConfig,
    classes: tuple[str, ...],
    provenance: Provenance,
    license: str | None,
) -> str:
    """README.md of `repo`: `config` is its config.json, `license` an identifier of the hub or None for "not stated"."""
    parts = (
        f"---\n{_head(repo, network, provenance, license)}\n---",
        f"# {escape(repo.rpartition('/')[2])}",
        _about(config, network, classes),
        "## Use",
        _use(repo, config, network),
        "## Training",
        provenance.training(),
        "## Results",
        provenance.results(),
        *_figures(provenance),
        "## Recipe",
        provenance.recipe(),
        "## License",
        escape(license) if license else f"The license of these weights is {UNKNOWN}: ask the publisher.",
    )
    return "\n\n".join(parts) + "\n"


def _figures(provenance: Provenance) -> list[str]:
    figures = [f"![{escape(path.stem)}](figures/{path.name})" for path in provenance.figures]
    return ["## Figures", *figures] if figures else []


def _head(repo: str, network: TrunkConfig, provenance: Provenance, license: str | None) -> str:
    """The YAML head, which the hub searches."""
    from huggingface_hub import EvalResult, ModelCardData

    task = "image-classification" if network.num_classes else "image-feature-extraction"
    data = escape(provenance.measured_on).replace("\\", "") or "unknown"
    data_type = re.sub(r"[^\w.-]+", "-", data)
    results = [
        EvalResult(
            task_type=task,
            dataset_type=data_type,
            dataset_name=data,
            metric_type=name,
            metric_name=name,
            metric_value=value,
        )
        for name, value in provenance.scores().items()
    ]
    head = ModelCardData(
        license=license,
        library_name="timm",
        pipeline_tag=task,
        tags=["resmlp", "timm", "transformers"],
        model_name=repo.rpartition("/")[2] if results else None,  # required with results
        eval_results=results or None,
    )
    return head.to_yaml()


def _about(config: dict[str, Any], network: TrunkConfig, classes: tuple[str, ...]) -> str:
    """A sentence, a table of facts, and class names."""
    arch, preprocessing = network.architecture, config["pretrained_cfg"]
    with torch.device("meta"):
        model = Trunk(network)
        macs = count_macs(model, torch.empty(1, arch.in_chans, *network.size))
    unnamed = "" if classes else f", names {UNKNOWN}"
    crop = f"center crop of {preprocessing['crop_pct']:g} of the shorter side"
    paper = MIXER if network.name.startswith("mixer_") else RESMLP
    facts = (
        ("parameters", f"{count_parameters(model):,}"),
        ("multiply-adds", f"{macs / 1e6:,.1f} M per image"),
        ("image", f"{network.size[0]}x{network.size[1]} pixels (height x width), {COLORS[arch.in_chans]}"),
        ("preprocessing", f"resize ({preprocessing['interpolation']}), {crop}"),
        ("mean, std", f"{preprocessing['mean']}, {preprocessing['std']}, for pixels from 0 to 1"),
        ("patch, dimension, depth", f"{arch.patch_size}, {arch.dim}, {arch.depth}"),
        ("mixer, norm, scale, pool", f"{arch.mixer}, {arch.norm}, {arch.scale}, {arch.pool}"),
        ("classes", f"{network.num_classes}{unnamed}" if network.num_classes else "none: the output is features"),
    )
    names = ", ".join(map(escape, classes[:SHOWN])) + (
        f", ... ({len(classes):,} in all)" if len(classes) > SHOWN else ""
    )
    text = f"`{config['architecture']}`, a network of the family in {paper}."
    return "\n\n".join([text, table(("", ""), facts), *([f"Classes: {names}"] if names else [])])


def _use(repo: str, config: dict[str, Any], network: TrunkConfig) -> str:
    """Three ways to load the network. Names of resmlp must be registered with timm first."""
    timm_has_it = "stem.proj" in config["pretrained_cfg"]["first_conv"]
    register = "" if timm_has_it else "import resmlp.timm  # registers the name\n"
    labels = f'print(resmlp.load("{HUB}{repo}").predict("image.jpg").labels)'
    features = f'print(resmlp.load("{HUB}{repo}").logits([Image.open("image.jpg")]))  # features'
    first = "import resmlp" if network.num_classes else "from PIL import Image\n\nimport resmlp"
    auto = "AutoModelForImageClassification" if network.num_classes else "AutoModel"
    return f"""With resmlp:

```python
{first}

{labels if network.num_classes else features}
```

With timm:

```python
import timm
{register}
model = timm.create_model("{HUB}{repo}", pretrained=True)
```

With transformers:

```python
from transformers import AutoImageProcessor, {auto}
{register}
processor = AutoImageProcessor.from_pretrained("{repo}")
model = {auto}.from_pretrained("{repo}")
```"""
