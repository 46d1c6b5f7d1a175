"""ResMLP beside an attention network of its shape: one recipe, the same seeds, a test set that neither saw.

python benchmarks/rivals.py multi30k|camvid --data PATH   trains what is not yet there; writes results/multi30k.json or
camvid.json

All trainings are kept in --runs, and the same command continues them. Numbers are means over the seeds.
"""

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import conditions
from options import data_parser

RESULTS = Path(__file__).parent.parent / "results"


@dataclass(frozen=True)
class Match:
    """What is compared, and on what."""

    what: str
    metric: str
    rival: str
    """its name in the numbers"""
    flags: tuple[str, ...]
    """that make the recipe's network the rival"""
    test: tuple[str, ...]
    """flags of `resmlp eval`"""
    bounds: dict[str, Any]
    needed: float
    """least of the metric"""
    behind: float | None = None
    """how far ResMLP may be behind the rival"""


SHAPE = ("--model.patch-size", "8", "--model.dim", "192", "--model.depth", "6", "--model.heads", "4")
MATCHES = {
    "multi30k": Match(
        what="Multi30k, English to German: sacreBLEU on test2016 of ResMLP and of a Transformer of the same shape",
        metric="bleu",
        rival="transformer",
        flags=("--model", "transformer_mt_small", "--run.epochs", "12", "--run.eval-every", "4"),  # a fifth slower
        test=("--data.val", "test_2016_flickr"),
        bounds={"resmlp": 33.0, "behind": "at most 1.0"},
        needed=33.0,
        behind=1.0,
    ),
    "camvid": Match(
        what="CamVid, trained from scratch: test mIoU of UPerNet on a ResMLP and on a DeiT of the same shape",
        metric="miou",
        rival="deit",
        flags=("--model", "deit_s", *SHAPE),
        test=("--data.split", "test"),
        bounds={"resmlp": 0.45},
        needed=0.45,
    ),
}


def resmlp(*args: str) -> dict:
    """What a command of resmlp prints with --json. It inherits standard error."""
    done = subprocess.run([sys.executable, "-m", "resmlp", *args, "--json"], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def contest(recipe: str, match: Match, name: str, seed: int, options: argparse.Namespace) -> dict:
    """Train one of the two with a seed unless it is trained, and evaluate it."""
    folder, root = options.runs / f"{name}-{seed}", str(options.data)
    if not (folder / "summary.json").is_file():
        flags = match.flags if name == match.rival else ()
        resmlp("train", recipe, "--data.root", root, "--out", str(folder), "--run.seed", str(seed), *flags)
    summary = json.loads((folder / "summary.json").read_text())
    test = resmlp("eval", str(folder), "--data.root", root, *match.test)
    kept = {key: value for key, value in test.items() if isinstance(value, float | str | dict) and key != "hypotheses"}
    minutes = round(summary["seconds"] / 60, 1)
    return {"test": kept, "validation": summary["best"], "minutes": minutes, "parameters": summary["parameters"]}


def means(found: dict[str, list[dict]], match: Match) -> dict[str, float]:
    """Of each network over its seeds: the metric on the test and on the validation set, and the test's deviation."""
    numbers = {}
    for name, seeds in found.items():
        test = [one["test"][match.metric] for one in seeds]
        numbers[name] = statistics.mean(test)
        numbers[f"{name}_validation"] = statistics.mean(one["validation"][match.metric] for one in seeds)
        if len(test) > 1:
            numbers[f"{name}_std"] = statistics.stdev(test)
    if match.behind is not None:
        numbers["behind"] = numbers[match.rival] - numbers["resmlp"]
    return {name: round(value, 4) for name, value in numbers.items()}


def result_of(recipe: str, found: dict[str, list[dict]], seeds: list[int]) -> dict:
    """What is recorded of both networks, each with all seeds."""
    match = MATCHES[recipe]
    numbers = means(found, match)
    reached = numbers["resmlp"] >= match.needed and (match.behind is None or numbers["behind"] <= match.behind)
    return {
        "what": match.what,
        "numbers": numbers,
        "target": match.bounds,
        "reached": reached,
        "command": f"python benchmarks/rivals.py {recipe} --data PATH --seeds {' '.join(map(str, seeds))}",
        "seconds": round(sum(one["minutes"] for several in found.values() for one in several) * 60, 1),
        "seeds": seeds,
        "networks": {name: dict(zip(map(str, seeds), several)) for name, several in found.items()},
        **conditions("accelerate", "timm"),
    }


def main() -> str | None:
    """Train what is missing, and write; returns what was missed, if anything."""
    parser = data_parser(__doc__, "the recipe's data set", runs="RECIPE")
    parser.add_argument("recipe", choices=MATCHES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    if options.runs.name == "RECIPE":
        options.runs = options.runs.with_name(options.recipe)
    match = MATCHES[options.recipe]
    found = {
        name: [contest(options.recipe, match, name, seed, options) for seed in options.seeds]
        for name in ("resmlp", match.rival)
    }
    result = result_of(options.recipe, found, options.seeds)
    (RESULTS / f"{options.recipe}.json").write_text(json.dumps(result, indent=2) + "\n")
    return None if result["reached"] else f"error: short of {result['target']}: {result['numbers']}"


if __name__ == "__main__":
    raise SystemExit(main())
