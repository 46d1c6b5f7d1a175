"""`resmlp list`."""

import sys
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tyro.conf import Positional

from resmlp.cli.base import Verb
from resmlp.config.pretrained import PUBLISHED
from resmlp.config.seq2seq import SEQ2SEQ
from resmlp.config.vision import ARCHITECTURES, TIMM_NAMES
from resmlp.recipes import RECIPES


@dataclass(frozen=True)
class List(Verb):
    """the models, recipes and published weights there are"""

    what: Positional[Literal["all", "models", "recipes", "weights"]] = "all"

    def run(self) -> dict[str, Any]:
        """Print the tables."""
        tables = {"models": models, "recipes": recipes, "weights": weights}
        found = {name: rows() for name, rows in tables.items() if self.what in ("all", name)}
        if not self.json:
            for name, rows in found.items():
                show(name, rows)
        return found


def models() -> list[dict[str, Any]]:
    """Each model's sizes and parts, and timm's name for it; a model that translates has no patches, and two depths."""
    keep = ("patch_size", "dim", "depth", "mixer", "norm", "pool")
    vision = [
        {"name": name, **{k: v for k, v in asdict(arch).items() if k in keep}, "timm": TIMM_NAMES.get(name, "")}
        for name, arch in ARCHITECTURES.items()
    ]
    empty = dict.fromkeys(vision[0])
    translators = []
    for name, arch in SEQ2SEQ.items():
        depth = f"{arch.encoder_depth}+{arch.decoder_depth}"
        own = {"name": name, "dim": arch.dim, "depth": depth, "mixer": arch.mixer, "norm": arch.norm}
        translators.append({**empty, **own})
    return vision + translators


def recipes() -> list[dict[str, Any]]:
    """Each recipe's network, length, and what it must reach."""
    return [
        {
            "name": recipe.name,
            "model": recipe.model.name,
            "epochs": recipe.run.epochs,
            "reaches": ", ".join(f"{name} {value}" for name, value in recipe.expected),
            "paper": recipe.paper,
            "about": recipe.about,
        }
        for recipe in RECIPES.values()
    ]


def weights() -> list[dict[str, Any]]:
    """Published weights: size, what they reach on ImageNet-1k as published, license, source."""
    return [
        {
            "name": name,
            "parameters": weights.parameters,
            "classes": weights.num_classes,
            "top1": weights.top1,
            "real": weights.real,
            "v2": weights.v2,
            "crop": weights.preprocessing.crop_ratio,
            "license": weights.license,
            "source": weights.source,
            "hub": weights.repo,
        }
        for name, weights in PUBLISHED.items()
    ]


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """A table on standard output; lines are never cut where it is not a terminal."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 200, markup=False, emoji=False)
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in rows[0]:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(
            *("" if value is None else f"{value:,}" if isinstance(value, int) else str(value) for value in row.values())
        )
    with console.capture() as text:
        console.print(table, highlight=False)
    print(text.get())
