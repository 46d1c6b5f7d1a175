"""Whether `resmlp profile` says what a loop written by hand says: python benchmarks/profile_check.py

They take turns, so that a slow moment of the machine is as likely to hit the one as the other.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import torch
from machine import conditions

import resmlp
from resmlp.analysis.profiling.profile import profile

MODEL, BATCH, PAIRS, SECONDS = "resmlp_s12", 8, 7, 4.0
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TARGET = {"ratio": "within 0.05 of 1"}


@torch.inference_mode()
def by_hand() -> float:
    """Images per second of a plain loop."""
    model = resmlp.create_model(MODEL).eval().to(DEVICE)
    images = torch.rand(BATCH, 3, 224, 224, device=DEVICE)
    for _ in range(2):
        model(images)
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    done, start = 0, time.perf_counter()
    while done < 3 or time.perf_counter() - start < SECONDS:
        model(images)
        done += 1
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
    return BATCH * done / (time.perf_counter() - start)


def main() -> None:
    """Measure and write results/profile_check.json."""
    pairs = []
    for number in range(PAIRS):
        ours = profile(MODEL, batch=BATCH, seconds=SECONDS, device=DEVICE.type).rows[0].images_per_s
        pairs.append((ours, by_hand()))
        print(f"{number + 1} of {PAIRS}: {ours:.3f} images/s, by hand {pairs[-1][1]:.3f}", file=sys.stderr)
    low, ratio, high = statistics.quantiles([ours / theirs for ours, theirs in pairs], n=4, method="inclusive")
    result = {
        "what": f"Images per second measured by resmlp profile relative to a plain loop, {MODEL} at batch {BATCH}",
        "numbers": {"ratio": round(ratio, 4), "quartile_low": round(low, 4), "quartile_high": round(high, 4)},
        "target": TARGET,
        "command": "python benchmarks/profile_check.py",
        "pairs": [[round(rate, 3) for rate in pair] for pair in pairs],
        **conditions(),
    }
    path = Path(__file__).parent.parent / "results" / "profile_check.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["numbers"]), file=sys.stderr)


if __name__ == "__main__":
    main()
