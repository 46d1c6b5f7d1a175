"""Translation: translations against their references."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resmlp.config import Text
from resmlp.config.model_json import TranslatorModelConfig
from resmlp.evaluation.datasets import own_data
from resmlp.evaluation.evaluator import Evaluator, Scores, open_export, open_weights
from resmlp.utils.checks import demand
from resmlp.utils.errors import notice
from resmlp.utils.files import write_text

if TYPE_CHECKING:
    from resmlp.inference import Translator
    from resmlp.utils.devices import Process


def bleu(evaluator: Evaluator) -> Scores:
    """BLEU, chrF and exact match on a run's validation set or on other files, and the signature of each."""
    from resmlp.data.text.sources import open_val
    from resmlp.metrics import bootstrap, translation_scores, translation_signatures
    from resmlp.metrics.bleu import check_packages
    from resmlp.metrics.bleu_tokenization import tokenization_warning

    check_packages()
    translator = open_translator_of(evaluator)
    text = text_of(evaluator, translator.config)
    pairs = open_val(text)
    if evaluator.process.rank == 0 and (warning := tokenization_warning(text.target_language, pairs.targets)):
        notice(warning)

    def scores() -> Scores:
        outputs = translations(evaluator.process, translator, pairs.sources)
        for name, value in translation_scores(outputs, pairs.targets, text.target_language):
            yield name, value
            if name == "exact_match":
                yield "exact_match_interval", bootstrap(round(value * len(outputs)), len(outputs))
        yield "sentences", len(outputs)
        yield from translation_signatures(text.target_language, pairs.targets)
        if evaluator.out:
            file = evaluator.out / f"hypotheses{evaluator.suffix()}.txt"
            write_text(file, "".join(f"{line}\n" for line in outputs))
            yield "hypotheses", str(file)

    return scores()


def open_translator_of(evaluator: Evaluator) -> "Translator":
    """The model with the weights that were asked for, on the device of this process."""
    from resmlp.inference.translator import TorchTranslator, translator_precision

    if evaluator.source.kind == "exported-translator":
        translator: Translator = open_export(evaluator)
        translator.batch_size = evaluator.data.batch_size
        return translator
    evaluator.source.expect(TranslatorModelConfig)
    saved = open_weights(evaluator.source, evaluator.weights)
    precision = translator_precision(evaluator.process.device, evaluator.execution)
    return TorchTranslator(saved, evaluator.process.device, evaluator.data.batch_size, precision=precision)


def text_of(evaluator: Evaluator, config: TranslatorModelConfig) -> Text:
    """The text that is asked for: a run's own, or with --data.root and --data.val other files of its languages."""
    own, asked = own_data(evaluator.source, Text), evaluator.data
    files: dict[str, Any] = {"val": asked.val} if asked.val else {}
    if asked.root:
        files |= {"root": asked.root, "source": "files"}
        same = own and own.root and Path(own.root).resolve() == Path(asked.root).resolve()
        files |= {} if same else {"val_fraction": 1.0}  # of another table all pairs, as of a tree without splits
    if own:
        embedded = own.source != "files" and asked.val and not asked.root
        demand(not embedded, f"--data.val {asked.val}: the run's data is embedded", "give --data.root as well")
        return replace(own, **files)
    names = " and ".join(f"{asked.val or Text.val}.{end}" for end in (config.source_language, config.target_language))
    what = f"nothing to evaluate {evaluator.source} on, such as {names}"
    demand(asked.root is not None, what, "give --data.root, the folder of such files")
    return Text(source_language=config.source_language, target_language=config.target_language, **files)


def translations(process: "Process", translator: "Translator", lines: list[str]) -> list[str]:
    """The best translation of each line, in order; each process translates its share, and gets all in the end."""
    from resmlp.utils.devices import all_gather

    start, end = (len(lines) * rank // process.world for rank in (process.rank, process.rank + 1))
    mine = translator.n_best(lines[start:end], 1, first=start + 1)
    return [best.text for part in all_gather(mine) for best, *_ in part]
