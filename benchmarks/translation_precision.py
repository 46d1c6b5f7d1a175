"""What fewer bits cost a translation: BLEU of one trained network in fp32, in 8 bits, and in bf16 if the CPU has it.

python benchmarks/translation_precision.py --data PATH   writes results/translation_precision.json

PATH holds Multi30k. A network of recipe `multi30k` is trained for some of its epochs unless there is a run; its
translations of test2016 are compared with the reference in each precision, by beam search as the recipe has it; also
those of its export to OpenVINO with matrices of 8 bits.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from machine import conditions
from options import data_parser
from rivals import RESULTS, resmlp

from resmlp.utils.hardware import cpu_precisions

TEST = ("--data.val", "test_2016_flickr")
MOST = 0.2  # BLEU that a lower precision may lose


def main(root: str, folder: str, epochs: int) -> dict:
    """Train unless there is a run, evaluate in each precision; returns what is recorded."""
    begun = time.perf_counter()
    if not (Path(folder) / "summary.json").is_file():
        length = ("--run.epochs", str(epochs), "--run.eval-every", str(epochs))
        resmlp("train", "multi30k", "--data.root", root, "--out", folder, *length)
    scores = {}
    for precision in ("fp32", "int8", *sorted({"bf16"} & {*cpu_precisions()})):
        scores[precision] = resmlp("eval", folder, "--data.root", root, *TEST, "--precision", precision)["bleu"]
        print(precision, scores[precision], file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as export:
        resmlp("export", folder, "--to", "openvino", "--precision", "int8", "--out", export)
        scores["int8_openvino"] = resmlp("eval", export, "--data.root", root, *TEST)["bleu"]
    lost = {f"{name}_lost": round(scores["fp32"] - bleu, 4) for name, bleu in scores.items() if name != "fp32"}
    return {
        "what": f"Multi30k, English to German after {epochs} epochs: sacreBLEU on test2016 by precision",
        "numbers": {name: round(bleu, 4) for name, bleu in scores.items()} | lost,
        "target": dict.fromkeys(lost, f"at most {MOST}"),
        "reached": all(value <= MOST for value in lost.values()),
        "command": "python benchmarks/translation_precision.py --data PATH",
        "seconds": round(time.perf_counter() - begun, 1),
        "seed": 0,
        **conditions(),
    }


if __name__ == "__main__":
    parser = data_parser(__doc__, "Multi30k: train.en, train.de, ...", runs="translation_precision")
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    result = main(str(options.data), str(options.runs), options.epochs)
    (RESULTS / "translation_precision.json").write_text(json.dumps(result, indent=2) + "\n")
    raise SystemExit(0 if result["reached"] else f"error: short of {result['target']}: {result['numbers']}")
