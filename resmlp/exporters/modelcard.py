"""The model card of a network on the hub: what is known of it, and nothing that is not.

Every name comes from files of others. In the text each is escaped for Markdown; the head is written by a YAML emitter.
"""

import re
from typing import Any

import torch

from resmlp.config.pretrained import HUB
from resmlp.exporters.provenance import MIXER, RESMLP, UNKNOWN, Past, plain, table
from resmlp.models import Trunk, TrunkConfig, count_macs, count_parameters

SHOWN = 50  # class names; all are in config.json


def model_card(
    repo: str, config: dict[str, Any], network: TrunkConfig, classes: tuple[str, ...], past: Past, license: str | None
) -> str:
    """README.md of `repo`: `config` is its config.json, `license` an identifier of the hub's, None where not stated."""
    parts = (
        f"---\n{_head(repo, network, past, license)}\n---",
        f"# {plain(repo.rpartition('/')[2])}",
        _about(config, network, classes),
        "## Use",
        _use(repo, config, network),
        "## Training",
        past.training(),
        "## Results",
        past.results(),
        *(
            ["## Figures", *(f"![{plain(path.stem)}](figures/{path.name})" for path in past.figures)]
            if past.figures
            else []
        ),
        "## Recipe",
        past.recipe(),
        "## License",
        plain(license) if license else f"The license of these weights is {UNKNOWN}: ask whoever published them.",
    )
    return "\n\n".join(parts) + "\n"


def _head(repo: str, network: TrunkConfig, past: Past, license: str | None) -> str:
    """The YAML in front, which the hub's search reads."""
    from huggingface_hub import EvalResult, ModelCardData

    task = "image-classification" if network.num_classes else "image-feature-extraction"
    data = plain(past.measured_on).replace("\\", "") or "unknown"
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
        for name, value in past.scores().items()
    ]
    head = ModelCardData(
        license=license,
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
    named = "" if classes else f", their names {UNKNOWN}"
    paper = MIXER if network.name.startswith("mixer_") else RESMLP
    facts = (
        ("parameters", f"{count_parameters(model):,}"),
        ("multiply-adds", f"{macs / 1e6:,.1f} M for an image"),
        ("image", f"{network.size[0]}x{network.size[1]} pixels (height x width), RGB"),
        (
            "preprocessing",
            f"resized ({seen['interpolation']}) so that a center crop takes {seen['crop_pct']:g} of the shorter side",
        ),
        ("mean, std", f"{seen['mean']}, {seen['std']} of pixels in 0 to 1"),
        ("patch, dimension, depth", f"{arch.patch_size}, {arch.dim}, {arch.depth}"),
        ("mixer, norm, scale, pool", f"{arch.mixer}, {arch.norm}, {arch.scale}, {arch.pool}"),
        ("classes", f"{network.num_classes}{named}" if network.num_classes else "none: its output is features"),
    )
    names = ", ".join(map(plain, classes[:SHOWN])) + (
        f", ... ({len(classes):,} in all)" if len(classes) > SHOWN else ""
    )
    text = f"`{config['architecture']}`, a network of the family of {paper}."
    return "\n\n".join([text, table(("", ""), facts), *([f"Classes: {names}"] if names else [])])


def _use(repo: str, config: dict[str, Any], network: TrunkConfig) -> str:
    """Three ways to load it; our own names must be registered with timm first."""
    ours = "" if "stem.proj" in config["pretrained_cfg"]["first_conv"] else "import resmlp.timm  # registers the name\n"
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
