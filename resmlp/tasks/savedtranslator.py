"""`model.safetensors`, `model.json` and `tokenizer.json`: all that translating with a trained network needs."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from resmlp.cards import TranslatorCard, read_card
from resmlp.checks import demand
from resmlp.data.tokenizer import FILE, Tokenizer
from resmlp.models.saved import check_folder, save_network
from resmlp.models.seq2seq import Seq2Seq
from resmlp.models.weights import Weights, check_state, load_into, read_tensors
from resmlp.sources import exists, file_of


@dataclass(frozen=True)
class SavedTranslator:
    """A network that translates, in evaluation mode, with the vocabulary that it was trained with."""

    model: Seq2Seq
    tokenizer: Tokenizer
    card: TranslatorCard


def save_translator(folder: Path, model: Seq2Seq, tokenizer: Tokenizer, card: TranslatorCard) -> None:
    """Write the three files into `folder`; what the card says of network and vocabulary is that of these two."""
    tokenizer.save(folder / FILE)
    save_network(folder, model, replace(card, model=model.config, tokenizer=tokenizer.fingerprint))


def open_translator(source: str | Path) -> SavedTranslator:
    """The translator of a run folder, or of a file of weights with its .json and tokenizer.json beside it.

    Raises `UserError`: nothing there, a network of another kind, weights that do not fit, another run's vocabulary.
    """
    source = str(source)
    demand(exists(source), f"no translator at {source}", "give the run folder of one, or its model.safetensors")
    check_folder(source)
    file = file_of(source)
    described = file.with_suffix(".json")
    demand(described.is_file(), f"no {described}", "it says which network the weights are of: copy it as well")
    card, words = read_card(described, TranslatorCard), file.with_name(FILE)
    demand(words.is_file(), f"no {words}", "it is the network's vocabulary: copy it as well")
    tokenizer = Tokenizer.load(words)
    other = f"{words} is another vocabulary than the network's of {described}"
    hint = "copy the tokenizer.json of the same run"
    demand((tokenizer.size, tokenizer.fingerprint) == (card.model.vocabulary, card.tokenizer), other, hint)
    state = read_tensors(file)
    check_state(file, state)
    with torch.device("meta"):  # nothing is allocated before all shapes have been compared
        model = Seq2Seq(card.model)
    load_into(model, Weights(state, source))
    return SavedTranslator(model.eval(), tokenizer, card)
