"""Write the figures of `resmlp plan` that we measured, and tables of its results in docs/*.md; --check only compares.

resmlp/analysis/planning/measured.json has what results/*.json say, as the installed package has no results/.
`<!-- plan imagenet-s12 a100 -->` and `<!-- /plan -->` enclose the table of a recipe on one kind of GPU.
"""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MEASURED = ROOT / "resmlp" / "analysis" / "planning" / "measured.json"
TABLE = re.compile(r"(<!-- plan ([\w-]+) (\w+) -->\n).*?(<!-- /plan -->)", re.DOTALL)
GPUS = (1, 2, 4, 8, 16, 32, 64)
TITLES = ("GPUs", "hours", "images/s", "GB a GPU", "storage, MB/s", "cores a GPU", "network, MB a step", "Gbit/s a GPU")


def result(name: str) -> tuple[dict[str, Any], str]:
    """A result, and how its numbers are cited."""
    found = json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))
    machine = found["machine"]
    threads = machine["threads"]
    return found, f"results/{name}.json ({machine['cpu']}; {threads} thread{'s' * (threads != 1)})"


def measured() -> str:
    """The text of measured.json."""
    pipeline, cited = result("input_pipeline")
    rates, (width, height) = pipeline["images_per_second"], pipeline["files"]["size"]
    step, step_cited = result("training_step")
    figures = {
        "train_images_per_core": (rates["train"], f"{cited}: JPEGs of {width}x{height}, RandAugment"),
        "decoded_images_per_core": (rates["decode"], f"{cited}: JPEGs of {width}x{height}, decoded and cropped"),
        "small_images_per_core": (rates["cifar10"], f"{cited}: CIFAR-10, decoded in memory"),
        "activation_bytes_resmlp_s12": (step["kept_bytes"]["ours"] / step["batch"], step_cited),
    }
    named = {name: {"value": value, "source": source} for name, (value, source) in figures.items()}
    return json.dumps(named, indent=2) + "\n"


def table(name: str, gpu: str) -> str:
    """A row for each number of GPUs, with as many loader processes as one GPU needs."""
    from resmlp.analysis.planning.plan import plan_run
    from resmlp.config.place import Place
    from resmlp.recipes import RECIPES

    recipe = RECIPES[name]
    cores = plan_run(recipe, Place(1, gpu)).cores
    recipe = replace(recipe, data=replace(recipe.data, workers=cores))
    rows = [TITLES, ("---",) * len(TITLES)]
    for gpus in GPUS:
        plan = plan_run(recipe, Place(gpus, gpu))
        link = (f"{plan.step_bytes / 1e6:,.0f}", f"{plan.network_bits_per_s / 1e9:.1f}") if gpus > 1 else ("", "")
        numbers = (f"{plan.hours:,.1f}", f"{plan.images_per_s:,.0f}", f"{plan.memory.total / 1e9:.1f}")
        storage = f"{(plan.storage_bytes_per_s or 0) / 1e6:,.0f}"
        rows.append((str(gpus), *numbers, storage, str(plan.cores), *link))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> int:
    """Return 0, or 1 if --check finds a stale file."""
    texts = {MEASURED: measured()}
    if not MEASURED.exists():
        MEASURED.write_text(texts[MEASURED], encoding="utf-8")
    for page in sorted((ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        texts[page] = TABLE.sub(lambda match: match[1] + table(match[2], match[3]) + match[4], text)
    stale = [path for path, text in texts.items() if path.read_text(encoding="utf-8") != text]
    if stale and "--check" in sys.argv:
        print(f"error: stale: {', '.join(path.name for path in stale)} (run: make docs)", file=sys.stderr)
        return 1
    for path in stale:
        path.write_text(texts[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
