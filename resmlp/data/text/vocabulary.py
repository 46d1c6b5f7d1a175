"""The vocabulary of a network that translates: the tokenizer.json beside its model.json. Loads no torch."""

from pathlib import Path

from resmlp.config.model_json import TranslatorModelConfig
from resmlp.data.text.tokenizer import FILE, Tokenizer
from resmlp.utils.checks import demand


def open_vocabulary(folder: Path, config: TranslatorModelConfig, network: str) -> Tokenizer:
    """The tokenizer in `folder`. Raises `UserError` where it is missing, or not that of the network named `network`."""
    file = folder / FILE
    demand(file.is_file(), f"no {file}", "it is the network's vocabulary: copy it as well")
    tokenizer = Tokenizer.load(file)
    other = f"{file} is not the vocabulary of the network in {network}"
    same = (tokenizer.size, tokenizer.fingerprint) == (config.model.vocabulary, config.tokenizer)
    demand(same, other, "copy the tokenizer.json of the same run")
    return tokenizer
