"""Tokens a second of translation on the CPU, beside CTranslate2 and Hugging Face's Marian, of the same shape.

All have 6 + 6 layers of 512 channels, a vocabulary of 32,000 and random weights; CTranslate2 has those of our
transformer_mt6, and must find its translations with it. Products are of 32 bits, and of 8 where a name ends so; each
peer is compared with ours in its own precision. They translate the same sentences to the same length in
turns, so that a noisy machine disturbs them alike. The ratio of each turn is taken; reported are the median and the
quartiles. Ours runs in torch, as a run folder does, and as `resmlp export --to openvino` writes it. A goal is for the
one that its setting asks for: torch for batches with a beam, the graphs for a single sentence. Needs `pip install
ctranslate2 transformers`.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from decoding_peers import Sentences, Translate, ctranslate2_transformer, marian
from machine import conditions
from torch import Tensor

from resmlp.backends.graphs import open_graph
from resmlp.config.model_json import Seq2SeqConfig
from resmlp.config.seq2seq import EOS, SEQ2SEQ
from resmlp.exporters.int8_weights import round_weights
from resmlp.exporters.translator import INPUTS, write_graphs
from resmlp.inference.exported_translator import ExportedDecoder
from resmlp.models import Seq2Seq, translate
from resmlp.models.decoding import prepare
from resmlp.models.search import Search, search_all

VOCABULARY, LENGTH, SHORTEST, LONGEST = 32_000, 30, 20, 36  # tokens: of a translation, and of a source sentence
BATCHES, BEAMS = (1, 32), (1, 4)
OURS, GRAPHS, INT8 = "resmlp_mt6", "resmlp_mt6_openvino", "_int8"
MAIN, GREEDY = "batch 32, beam 4", "batch 1, beam 1"
BOUNDS = {
    "ctranslate2": (MAIN, OURS, "ctranslate2", 1.5),
    "ctranslate2_int8": (MAIN, OURS + INT8, "ctranslate2_int8", 1.5),
    "marian": (MAIN, OURS, "marian", 3.0),
    "ctranslate2_greedy": (GREEDY, GRAPHS, "ctranslate2", 1.0),
    "ctranslate2_int8_greedy": (GREEDY, GRAPHS + INT8, "ctranslate2_int8", 1.0),
}
"""the setting, ours, the peer, and the least of how many times as fast ours is"""
RESULT = Path(__file__).parent.parent / "results" / "decoding.json"


def network(name: str) -> Seq2Seq:
    """One of ours, of random weights: fresh ones would say the same token again and again."""
    torch.manual_seed(0)
    model = Seq2Seq(Seq2SeqConfig(name, SEQ2SEQ[name], VOCABULARY)).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith(("bias", "beta")):
                parameter.normal_(std=0.02)
        last = next(model.decoder_norm.parameters())
        last *= torch.randint(2, last.shape) * 2 - 1  # else the likeliest token is the one that was put in
    return model


def ours(model: Seq2Seq) -> Translate:
    """Our search, in which no sentence ends before the last step."""
    logits = model.logits

    def endless(states: Tensor) -> Tensor:
        values = logits(states)
        values[..., EOS] -= 1e4
        return values

    def run(sources: Sentences, beam: int, length: int) -> list[list[int]]:
        found = translate(model, sources, beam=beam, max_length=length, batch_size=len(sources))
        return [[*best.tokens, EOS] for (best,) in found]

    model.logits = endless
    return run


def exported(folder: Path, precision: str) -> Translate:
    """Ours as `resmlp export --to openvino` writes it, into `folder`; its search has no end either."""
    model = network(OURS)
    write_graphs(model, "openvino", folder)
    if precision == "int8":
        for name in INPUTS:
            round_weights(folder / f"{name}.xml")
    encode, step = (open_graph("openvino", folder, name) for name in INPUTS)

    def endless(given: dict[str, np.ndarray]) -> list[np.ndarray]:
        logits, cache = step(given)
        logits[..., EOS] -= 1e4
        return [logits, cache]

    def start(source: np.ndarray) -> ExportedDecoder:
        return ExportedDecoder(encode, endless, source, model.config.architecture)

    def run(sources: Sentences, beam: int, length: int) -> list[list[int]]:
        found = search_all(start, sources, Search(beam, limit=length), model.config, len(sources))
        return [[*best.tokens, EOS] for (best,) in found]

    return run


def peers(threads: int, folder: Path) -> dict[str, Translate]:
    """All that are measured; graphs are written into `folder`."""
    transformer = network("transformer_mt6")
    for name in ("fp32", "int8"):
        (folder / name).mkdir()
    return {
        OURS: ours(prepare(network(OURS))),
        OURS + INT8: ours(prepare(network(OURS), "int8")),
        GRAPHS: exported(folder / "fp32", "fp32"),
        GRAPHS + INT8: exported(folder / "int8", "int8"),
        "transformer_mt6": ours(prepare(transformer)),
        "resmlp_mt6_unprepared": ours(network(OURS)),
        "ctranslate2": ctranslate2_transformer(transformer, threads),
        "ctranslate2" + INT8: ctranslate2_transformer(transformer, threads, "int8"),
        "marian": marian(transformer),
    }


def sentences(count: int) -> Sentences:
    """Random tokens, of various lengths."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(SHORTEST, LONGEST + 1, (count,), generator=generator).tolist()
    return [[*torch.randint(4, VOCABULARY, (n - 1,), generator=generator).tolist(), EOS] for n in lengths]


def agreement(all_peers: dict[str, Translate], count: int = 32) -> tuple[int, int]:
    """Of how many sentences CTranslate2's greedy translation is our Transformer's, and how many of ours differ."""
    names = ("transformer_mt6", "ctranslate2")
    mine, theirs = ([one[: LENGTH - 1] for one in all_peers[name](sentences(count), 1, LENGTH)] for name in names)
    return sum(one == other for one, other in zip(mine, theirs)), len(set(map(tuple, mine)))


def turns(all_peers: dict[str, Translate], batch: int, beam: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each peer in each round; one round more warms up. Each begins a round once, then another does."""
    sources, names = sentences(batch), list(all_peers)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-1, rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            since = time.perf_counter()
            found = all_peers[name](sources, beam, LENGTH)
            took = time.perf_counter() - since
            if {len(one) for one in found} != {LENGTH} or len(found) != batch:
                sys.exit(f"error: {name} did not translate {batch} sentences to {LENGTH} tokens each")
            if turn >= 0:
                seconds[name].append(took)
    return seconds


def compared(seconds: dict[str, list[float]], batch: int) -> dict:
    """Tokens a second of each, and how many times as fast ours are as the peers of their precision."""
    mine = [name for name in seconds if name.startswith(OURS) and not name.endswith("unprepared")]
    ratios = {
        own: {
            peer: spread([other / one for other, one in zip(seconds[peer], seconds[own])])
            for peer in seconds
            if peer != own and peer.endswith(INT8) == own.endswith(INT8)
        }
        for own in mine
    }
    speeds = {name: round(batch * LENGTH / statistics.median(some), 1) for name, some in seconds.items()}
    return {"tokens_per_second": speeds, "times_as_fast_as": ratios}


def spread(quotients: list[float]) -> dict[str, float]:
    """The median and the quartiles."""
    low, median, high = statistics.quantiles(quotients, n=4)
    return {"ratio": round(median, 3), "quartile_low": round(low, 3), "quartile_high": round(high, 3)}


def main() -> int:
    """Returns 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="of each setting")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each peer")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds: 2 at least, for quartiles")
    torch.set_num_threads(options.threads)
    folder = tempfile.TemporaryDirectory()
    all_peers = peers(options.threads, Path(folder.name))
    same, distinct = agreement(all_peers)
    print(
        f"CTranslate2 gives {same} of our Transformer's 32 translations, {distinct} of them distinct", file=sys.stderr
    )
    if same < 30 or distinct < 30:  # in two, tokens may have been as likely as each other
        sys.exit("error: CTranslate2 runs another network than ours, or one that says nothing: nothing is measured")
    settings = {}
    for batch in BATCHES:
        for beam in BEAMS:
            name = f"batch {batch}, beam {beam}"
            settings[name] = compared(turns(all_peers, batch, beam, options.rounds), batch)
            print(name, json.dumps(settings[name]), file=sys.stderr, flush=True)
    reached = {
        name: settings[setting]["times_as_fast_as"][own][peer]["ratio"]
        for name, (setting, own, peer, _) in BOUNDS.items()
    }
    result = {
        "what": f"Translation on a CPU with {OURS}, beam 4, batches of 32 sentences in torch (greedy: beam 1, one "
        "sentence, exported to OpenVINO): speed relative to other programs in the same precision",
        "numbers": reached,
        "target": {name: f"at least {bound}" for name, (*_, bound) in BOUNDS.items()},
        "command": "python benchmarks/decoding.py",
        "settings": settings,
        "agreement": {"as_ctranslate2": same, "distinct": distinct, "sentences": 32},
        "rounds": options.rounds,
        "tokens_each": LENGTH,
        **conditions("ctranslate2", "transformers", "openvino", "nncf"),
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(reached), file=sys.stderr)
    return int(any(reached[name] < bound for name, (*_, bound) in BOUNDS.items()))


if __name__ == "__main__":
    raise SystemExit(main())
