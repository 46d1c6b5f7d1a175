"""A network that translates as two files, encoder and step, compared with the network in torch (`translator_graphs`).

In int8 the files hold matrices of 8 bits, one scale for each row; their products are of 32 bits (`int8_weights`).

B sentences, S source tokens, K hypotheses of each sentence, T target tokens, V tokens in the vocabulary.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from resmlp.backends.agreement import Agreement, agreement
from resmlp.backends.graphs import open_graph
from resmlp.config.model_json import ExportedTranslatorConfig, Target
from resmlp.config.precision import Precision
from resmlp.config.seq2seq import BOS, EOS, PAD
from resmlp.data.text.tokenizer import FILE
from resmlp.data.text.vocabulary import open_vocabulary
from resmlp.exporters.checked_files import check_difference, check_out, put_in_place, share_of_range, written_aside
from resmlp.exporters.formats import WriteGraph, check_packages, write_onnx, write_openvino
from resmlp.exporters.int8_weights import check_nncf, round_weights
from resmlp.exporters.translator_graphs import graphs_of
from resmlp.hub.resolve import Source
from resmlp.models.seq2seq import Seq2Seq
from resmlp.models.translator_files import open_seq2seq
from resmlp.utils.checks import demand
from resmlp.utils.files import disk_errors

WRITERS: dict[str, WriteGraph] = {"onnx": write_onnx, "openvino": write_openvino}
ENDINGS = {"onnx": ("onnx",), "openvino": ("xml", "bin")}
INPUTS = {"encoder": ("source",), "step": ("tokens", "position", "source", "memory", "cache")}
OUTPUTS = {"encoder": ("memory",), "step": ("logits", "new_cache")}
"""names of the graphs and of what they take and give"""
SHORTEST = 4
"""tokens; torch takes a length of 1 for a special case"""


def export_translator(
    source: Source, folder: Path, to: Target, tolerance: float, precision: str = "fp32"
) -> ExportedTranslatorConfig:
    """Write the translator of `source` and its vocabulary into `folder`, as `export` does.

    In int8, the fp32 files are compared with torch first, and then the rounded ones with these.
    """
    demand(to in WRITERS, f"--to {to} is not for translators", "use onnx or openvino")
    kept = choose_precision(precision, to)
    check_packages(to)
    if kept == "int8":
        check_nncf()
    files = tuple(f"{name}.{ending}" for name in INPUTS for ending in ENDINGS[to])
    check_out(folder, to, (*files, FILE), ExportedTranslatorConfig)
    model, own = open_seq2seq(source)
    longest = own.model.architecture.max_length
    demand(longest >= SHORTEST, f"{source} takes {longest} tokens", f"an export needs a network for {SHORTEST} or more")
    tokenizer = open_vocabulary(source.file.parent, own, str(source))
    with written_aside() as aside:
        with disk_errors(folder):
            write_graphs(model, to, aside)
            tokenizer.save(aside / FILE)
        error = largest_difference(model, to, aside)
        check_difference(error, tolerance, "logits", to)
        config = ExportedTranslatorConfig(own, to, files, error, kept)
        if kept == "int8":
            with disk_errors(folder):
                for name in INPUTS:
                    round_weights(aside / f"{name}.xml")
            config = replace(config, agreement=str(agreement_with(model, to, aside)))
        put_in_place(aside, folder, config, (FILE,))
    return config


def choose_precision(asked: str, to: str) -> Precision:
    """fp32 for auto as well: what int8 costs shows only in translations. Raises `UserError` for another precision."""
    what = f"--precision {asked}: a translator is exported in fp32, or to openvino in int8"
    demand(asked in ("fp32", "auto") or (asked, to) == ("int8", "openvino"), what, "leave it out")
    return "int8" if asked == "int8" else "fp32"


def write_graphs(model: Seq2Seq, to: str, folder: Path) -> None:
    """Write both graphs, for any number of sentences, hypotheses and tokens."""
    arch = model.config.architecture
    encoder, step = graphs_of(model)
    # torch takes the longest length of all for a special case; the graph does not, as the comparison shows
    most = arch.max_length - 1
    sentences, hypotheses, length, places = Dim("B"), Dim("K"), Dim("S", max=most), Dim("C", max=most)
    source = torch.full((2, min(3, most)), EOS)
    memory = encoder(source)
    first = torch.full((2, 3), BOS), torch.tensor([0])
    cache = torch.zeros(arch.decoder_depth, 2, 3, min(5, most), model.decoder[0].tokens.fn.cache_width * arch.dim)
    by_sentence = {0: sentences, 1: length}
    programs = {
        "encoder": _export(encoder, (source,), (by_sentence,)),
        "step": _export(
            step,
            (*first, source, memory, cache),
            (
                {0: sentences, 1: hypotheses},
                None,
                by_sentence,
                {2: sentences, 4: length},
                {1: sentences, 2: hypotheses, 3: places},
            ),
        ),
    }
    for name, program in programs.items():
        WRITERS[to](program, folder / name, INPUTS[name], OUTPUTS[name])


def largest_difference(model: Seq2Seq, to: str, folder: Path) -> float:
    """Largest `share_of_range` of the logits of the written graphs; nan if any is nan."""
    return float(np.max([share_of_range(found, expected) for found, expected in compared(model, to, folder)]))


def agreement_with(model: Seq2Seq, to: str, folder: Path) -> Agreement:
    """How near the logits of the written graphs are, over all positions."""
    rows = [[logits.reshape(-1, logits.shape[-1]) for logits in pair] for pair in compared(model, to, folder)]
    found, expected = (np.concatenate(each) for each in zip(*rows))
    return agreement(expected, found, "token")


@torch.no_grad()
def compared(model: Seq2Seq, to: str, folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Logits B K V of the written graphs and of torch, at all positions of random sentences.

    Some of these are as long as they may be and some are padded.
    """
    encode, step = (open_graph(to, folder, name) for name in INPUTS)
    arch, width = model.config.architecture, model.decoder[0].tokens.fn.cache_width
    generator = torch.Generator().manual_seed(0)
    for sentences, length, hypotheses in ((1, 1, 1), (3, arch.max_length, 2)):
        size = (sentences, hypotheses, length)
        source, text = (
            torch.randint(model.config.vocabulary, shape, generator=generator) for shape in (size[::2], size)
        )
        source[source == PAD] = EOS
        source[0, length // 2 + 1 :] = PAD
        expected = torch.stack([model(source, text[:, k]) for k in range(hypotheses)], 1).numpy()  # B K T V
        (memory,) = encode({"source": source.numpy()})
        cache = np.zeros((arch.decoder_depth, *size, width * arch.dim), np.float32)
        for t in range(length):
            given = {"tokens": text[:, :, t].numpy(), "position": np.array([t]), "source": source.numpy()}
            logits, cache = step(given | {"memory": memory, "cache": cache})
            yield logits, expected[:, :, t]


def _export(network: nn.Module, example: tuple[Any, ...], shapes: tuple[Any, ...]) -> ExportedProgram:
    return torch.export.export(network, example, dynamic_shapes=shapes)
