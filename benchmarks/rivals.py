"""ResMLP beside an attention network of its shape: one recipe, one seed, about as long, a test set that neither saw.

python benchmarks/rivals.py multi30k|camvid --data PATH   trains what is not yet there; writes results/multi30k.json or
camvid.json
"""

import json
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


def contest(recipe: str, match: Match, name: str, root: str, out: Path) -> dict:
    """Train one of the two unless it is trained, and evaluate it."""
    folder = out / name
    if not (folder / "summary.json").is_file():
        flags = match.flags if name == match.rival else ()
        resmlp("train", recipe, "--data.root", root, "--out", str(folder), *flags)
    summary = json.loads((folder / "summary.json").read_text())
    test = resmlp("eval", str(folder), "--data.root", root, *match.test)
    kept = {key: value for key, value in test.items() if isinstance(value, float | str | dict) and key != "hypotheses"}
    minutes = round(summary["seconds"] / 60, 1)
    return {"test": kept, "validation": summary["best"], "minutes": minutes, "parameters": summary["parameters"]}


def main(recipe: str, root: str, out: Path) -> dict:
    """Both networks; returns what is recorded."""
    match = MATCHES[recipe]
    found = {name: contest(recipe, match, name, root, out) for name in ("resmlp", match.rival)}
    mine, theirs = (round(found[name]["test"][match.metric], 4) for name in found)
    numbers = {"resmlp": mine, match.rival: theirs}
    numbers |= {f"{name}_validation": round(one["validation"][match.metric], 4) for name, one in found.items()}
    if match.behind is not None:
        numbers["behind"] = round(theirs - mine, 4)
    reached = mine >= match.needed and (match.behind is None or numbers["behind"] <= match.behind)
    return {
        "what": match.what,
        "numbers": numbers,
        "target": match.bounds,
        "reached": reached,
        "command": f"python benchmarks/rivals.py {recipe} --data PATH",
        "seconds": round(sum(one["minutes"] for one in found.values()) * 60, 1),
        "seed": 0,
        "networks": found,
        **conditions(),
        "versions": json.loads((out / "resmlp" / "summary.json").read_text())["versions"],
    }


if __name__ == "__main__":
    parser = data_parser(__doc__, "the recipe's data set", runs="RECIPE")
    parser.add_argument("recipe", choices=MATCHES)
    options = parser.parse_args()
    folder = options.runs.with_name(options.recipe) if options.runs.name == "RECIPE" else options.runs
    result = main(options.recipe, str(options.data), folder)
    (RESULTS / f"{options.recipe}.json").write_text(json.dumps(result, indent=2) + "\n")
    raise SystemExit(0 if result["reached"] else f"error: short of {result['target']}: {result['numbers']}")
