"""A network that translates, run by torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from resmlp.config.model_json import TranslatorModelConfig
from resmlp.config.precision import Execution, Precision
from resmlp.data.text.tokenizer import FILE, Tokenizer
from resmlp.data.text.vocabulary import open_vocabulary
from resmlp.hub.resolve import Source, resolve
from resmlp.inference.runners import autocast, one_precision
from resmlp.inference.translation import Translator
from resmlp.models import Hypothesis, translate
from resmlp.models.decoding import prepare
from resmlp.models.model_files import save_network
from resmlp.models.seq2seq import Seq2Seq
from resmlp.models.translator_files import open_seq2seq
from resmlp.utils.checks import demand
from resmlp.utils.devices import find_device


@dataclass(frozen=True)
class SavedTranslator:
    """A network that translates, in evaluation mode, with the vocabulary that it was trained with."""

    model: Seq2Seq
    tokenizer: Tokenizer
    config: TranslatorModelConfig


def save_translator(folder: Path, model: Seq2Seq, tokenizer: Tokenizer, config: TranslatorModelConfig) -> None:
    """Write the three files into `folder`; what the config says of network and vocabulary is that of these two."""
    tokenizer.save(folder / FILE)
    save_network(folder, model, replace(config, model=model.config, tokenizer=tokenizer.fingerprint))


def open_translator(model: str | Path | Source) -> SavedTranslator:
    """The translator of a run folder, or of a weight file with its .json and tokenizer.json beside it.

    Raises `UserError` for a network of another kind, weights that do not fit, and the vocabulary of another run.
    """
    source = resolve(model)
    config = source.expect(TranslatorModelConfig)
    assert config is not None
    tokenizer = open_vocabulary(source.file.parent, config, str(source))
    network, _ = open_seq2seq(source)
    return SavedTranslator(network, tokenizer, config)


class TorchTranslator(Translator):
    """A network of torch, ready to translate."""

    def __init__(
        self,
        saved: SavedTranslator,
        device: torch.device,
        batch_size: int = 32,
        long: Literal["truncate", "error"] = "truncate",
        precision: Precision = "fp32",
    ):
        """`batch_size` and `long` are as of `Translator`; `precision` is that of the products over channels."""
        self.saved, self.device, self.batch_size, self.long = saved, device, batch_size, long
        model, self.tokenizer, self.config = saved.model.to(device).eval(), saved.tokenizer, saved.config
        self.precision = precision
        self.model = prepare(model, precision) if device.type == "cpu" else model

    def facts(self) -> list[str]:
        """As of `Predictor`."""
        return self._facts(str(self.device), *[self.precision] * (self.precision != "fp32"))

    def search(self, sources: Sequence[Sequence[int]], beam: int, penalty: float, n: int) -> list[list[Hypothesis]]:
        """As of `Translator`."""
        with autocast(self.device, self.precision):
            return translate(self.model, sources, beam, penalty, n, batch_size=self.batch_size)


def load_translator(source: Source, execution: Execution) -> TorchTranslator:
    """A translator ready to use; in precision auto in fp32, because its texts are not compared."""
    demand(execution.backend is None, f"--backend {execution.backend} is for classifiers", "leave it out")
    device = find_device(execution.device)
    return TorchTranslator(open_translator(source), device, precision=translator_precision(device, execution))


def translator_precision(device: torch.device, execution: Execution) -> Precision:
    """The precision that is asked for; on a CPU int8 as well. Raises `UserError`."""
    return one_precision(device, execution, ("int8",) if device.type == "cpu" else ())
