"""How long the first answer takes: from the start of `resmlp serve`, and of `resmlp predict`, without a MODEL.

Both run the packaged classifier in a process of its own, in turns; the image is a photo of 500 x 375. Seconds are those
of the clock from the start of the process until the answer is read; medians and quartiles of all rounds.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from machine import conditions
from serving import photo

RESULT = Path(__file__).parent.parent / "results" / "first_answer.json"
RESMLP = [sys.executable, "-m", "resmlp"]
MOST = {"serve": 1.5, "predict": 1.0}
"""seconds"""


def serve(file: Path) -> float:
    """Start the server and ask it; returns when the answer was there."""
    process = subprocess.Popen([*RESMLP, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        address = next(found[0] for line in process.stdout if (found := re.search(r"http://[\d.]+:\d+", line)))
        request = urllib.request.Request(f"{address}/v1/predict", file.read_bytes(), {"Content-Type": "image/jpeg"})
        answer = urllib.request.urlopen(request)
        assert len(json.load(answer)["predictions"]) == 1
        return time.monotonic()
    finally:
        process.terminate()
        process.communicate()


def predict(file: Path) -> float:
    """Run the command; returns when it had ended."""
    subprocess.run([*RESMLP, "predict", str(file)], check=True, capture_output=True)
    return time.monotonic()


def seconds(run: Callable[[Path], float], file: Path) -> float:
    """From the start of the process to the answer."""
    started = time.monotonic()
    return run(file) - started


def main() -> int:
    """Returns 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    taken: dict[str, list[float]] = {run.__name__: [] for run in (serve, predict)}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "photo.jpg"
        file.write_bytes(photo(0))
        for number in range(options.rounds + 1):
            for run in (serve, predict):
                value = seconds(run, file)
                if number:  # the first one reads the files of the package from the disk
                    taken[run.__name__].append(value)
    numbers = {f"{name}_seconds": round(statistics.median(values), 3) for name, values in taken.items()}
    reached = all(numbers[f"{name}_seconds"] <= most for name, most in MOST.items())
    result = {
        "what": "Seconds from the start of a process to its first answer, with the packaged classifier",
        "numbers": numbers,
        "target": {f"{name}_seconds": f"at most {most}" for name, most in MOST.items()},
        "reached": reached,
        "command": "python benchmarks/first_answer.py",
        "quartiles": {name: [round(q, 3) for q in statistics.quantiles(values)] for name, values in taken.items()},
        **conditions("starlette", "uvicorn"),
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(numbers), file=sys.stderr)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
