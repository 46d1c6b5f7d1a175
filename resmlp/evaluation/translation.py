"""The protocol of `resmlp eval` that compares translations with their references."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from resmlp.config import Text
from resmlp.config.model_config import TranslatorModelConfig
from resmlp.utils.checks import demand
from resmlp.utils.files import write_text

if TYPE_CHECKING:
    from resmlp.evaluation.evaluator import Evaluator
    from resmlp.inference.translator import Translator
    from resmlp.tasks import Place

Found = Iterator[tuple[str, Any]]


def bleu(evaluator: "Evaluator") -> Found:
    """BLEU, chrF and whole lines right, of what the run held out or of other files; and how each is counted."""
    from resmlp.data.text.sources import open_val
    from resmlp.metrics import bootstrap, translation_scores, translation_signatures
    from resmlp.metrics.bleu import check_packages

    check_packages()
    translator = open_with(evaluator)
    text = text_of(evaluator, translator.card)
    pairs = open_val(text)

    def count() -> Found:
        said = translations(evaluator.place, translator, pairs.sources)
        for name, value in translation_scores(said, pairs.targets, text.target_language):
            yield name, value
            if name == "exact_match":
                yield "exact_match_interval", bootstrap(round(value * len(said)), len(said))
        yield "sentences", len(said)
        yield from translation_signatures(text.target_language)
        if evaluator.out:
            file = evaluator.out / f"hypotheses{evaluator.suffix()}.txt"
            write_text(file, "".join(f"{line}\n" for line in said))
            yield "hypotheses", str(file)

    return count()


def open_with(evaluator: "Evaluator") -> "Translator":
    """The model with the weights that were asked for, on this process's device."""
    from resmlp.evaluation.evaluator import kept
    from resmlp.inference.translator import Translator, open_translator
    from resmlp.models import Weights, load_into
    from resmlp.models.weights import read_tensors

    saved = open_translator(evaluator.model)
    if evaluator.weights != "best":
        file = kept(evaluator.model, evaluator.weights)
        load_into(saved.model, Weights(read_tensors(file), str(file)))
    return Translator(saved, evaluator.place.device, evaluator.data.batch_size)


def text_of(evaluator: "Evaluator", card: TranslatorModelConfig) -> Text:
    """The data that is asked for: a run's own, or with --data.root and --data.val other files of its languages."""
    from resmlp.evaluation.evaluator import own_data

    own, asked = own_data(evaluator.model, Text), evaluator.data
    files: dict[str, Any] = {"val": asked.val} if asked.val else {}
    if asked.root:
        files |= {"root": asked.root, "source": "files"}
    if own:
        embedded = own.source != "files" and asked.val and not asked.root
        demand(not embedded, f"--data.val {asked.val}: the run's data is embedded", "give --data.root as well")
        return replace(own, **files)
    hint = "give --data.root, the folder of such files"
    names = " and ".join(f"{asked.val or Text.val}.{end}" for end in (card.source_language, card.target_language))
    demand(asked.root is not None, f"nothing to evaluate {evaluator.model} on, such as {names}", hint)
    return Text(source_language=card.source_language, target_language=card.target_language, **files)


def translations(place: "Place", translator: "Translator", lines: list[str]) -> list[str]:
    """The best translation of each line, in order; each process does its share, and has all in the end."""
    from resmlp.utils.devices import gather

    start, end = (len(lines) * rank // place.world for rank in (place.rank, place.rank + 1))
    found = translator.n_best(lines[start:end], 1, first=start + 1)
    return [best.text for part in gather(found) for best, *_ in part]
