"""Translation as an operation of the server."""

from collections.abc import Hashable, Sequence
from typing import Any

from resmlp.inference.translation import Translator
from resmlp.serving import answers
from resmlp.serving.limits import Refusal
from resmlp.serving.options import Options, TranslateOptions

LONGEST = 10_000  # characters of a sentence; a token has at least one


class Translate:
    """From sentences to their translations."""

    name = "translate"
    options: type[Options] = TranslateOptions
    holds_images = False

    def __init__(self, model: str, translator: Translator):
        self.model, self.translator, self.batch_size = model, translator, translator.batch_size

    def prepare(self, sentence: tuple[int, str]) -> str:
        """A numbered sentence. Raises `Refusal` 422 for one that is too long for the network."""
        number, text = sentence
        room, (tokens,) = self.translator.room, [[0] * LONGEST]
        if len(text) <= LONGEST:
            (tokens,) = self.translator.tokenizer.encode([text])
        if len(tokens) > room:
            raise Refusal(
                422, f"sentence {number} is longer than the {room} tokens that the network can take: divide it"
            )
        return text

    def group(self, options: TranslateOptions) -> Hashable:
        """Sentences of one batch share the width of the search."""
        return options.beam

    def run(self, kept: Sequence[str], options: Any) -> Sequence[Any]:
        """The best translation of each sentence."""
        beam = self.translator.config.beam if options is None else options
        return [best for best, *_ in self.translator.n_best(kept, 1, beam)]

    def answer(
        self, prepared: Sequence[str], results: Sequence[Any], options: TranslateOptions
    ) -> answers.Translations:
        """The translations in order."""
        return answers.Translations(self.model, tuple(answers.Translation(best.text, best.score) for best in results))
