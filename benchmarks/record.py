"""Record a finished run as `results/NAME.json`: python benchmarks/record.py RUN_FOLDER NAME "the command"."""

import json
import sys
from pathlib import Path

from machine import conditions

RESULTS = Path(__file__).parent.parent / "results"


def record(folder: Path, command: str) -> dict:
    """What a person needs to check the claim: the numbers, what they had to reach, the command and the time."""
    summary, recipe = (json.loads((folder / name).read_text()) for name in ("summary.json", "recipe.json"))
    last, best = summary["last"][summary["weights"]], summary["best"]
    numbers = {key: value for key, value in last.items() if isinstance(value, float)}
    return {
        "what": recipe["about"][:1].upper() + recipe["about"][1:],
        "numbers": numbers,  # of the model that was saved; the best step was chosen by looking at these images
        "best": best,
        "target": dict(recipe["expected"]),
        "command": command,
        "seconds": summary["seconds"],
        "parameters": summary["parameters"],
        "seed": recipe["run"]["seed"],
        **conditions(),
        "versions": summary["versions"],
    }


if __name__ == "__main__":
    folder, name, command = sys.argv[1:]
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record(Path(folder), command), indent=2) + "\n")
    print(path)
