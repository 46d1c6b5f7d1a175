"""Translation (section 2, "Sequence-to-Sequence ResMLP"; Table 5).

B sentences, S source and T target tokens, V tokens there are.
"""

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import cast

from torch import Tensor, nn

from resmlp import config
from resmlp.config import tasks as settings
from resmlp.config.model_config import Seq2SeqConfig, TranslatorModelConfig
from resmlp.config.seq2seq import EOS, PAD
from resmlp.data.text.sources import Pairs, open_pairs
from resmlp.data.text.token_batches import TokenBatches
from resmlp.data.text.tokenizer import Tokenizer
from resmlp.inference.translator import SavedTranslator, open_translator, save_translator
from resmlp.metrics import translation_scores
from resmlp.metrics.bleu import check_packages
from resmlp.models import Weights, count_parameters, load_into
from resmlp.models.beam_search import translate
from resmlp.models.seq2seq import Seq2Seq
from resmlp.tasks.base import Batch, Task
from resmlp.utils.checks import demand
from resmlp.utils.devices import Process, all_gather

AT_ONCE = 64  # sentences that are translated at once in an evaluation
READ_AT_ONCE = 4096  # tokens of which the likelihood is reckoned at once
LOOKED_AT = 100  # micro-batches from which the share of padding is told


class Translate(Task):
    """The next token of the target, given those before it and the source, with label smoothing.

    A loss is the mean over the target tokens of a whole step, in all its parts and processes: a sentence counts by its
    length, and nothing depends on how a step is split. The vocabulary is learned from the training text, the same in
    every process and at every start, or is the checkpoint's; a checkpoint remembers which.
    """

    model: Seq2Seq

    def __init__(self, recipe: config.TextRecipe, process: Process):
        task, data, run = cast(settings.Translate, recipe.task), recipe.data, recipe.run
        _check(recipe)
        check_packages()
        self.recipe, self.options, self.data, self.process, self.metric = recipe, task, data, process, task.metric
        self.changes, self.accumulate = recipe.model.changes(), run.accumulate
        train, self.val = open_pairs(data)
        begun = open_translator(recipe.model.checkpoint) if recipe.model.checkpoint else None
        self.tokenizer, self.vocabulary = find_tokenizer(data, train, begun)
        name, network = recipe.model.network()
        self.model = Seq2Seq(Seq2SeqConfig(name, network, self.tokenizer.size, recipe.model.dropout))
        self.weights = recipe.model.checkpoint or "new"
        if begun:
            load_into(self.model, Weights(begun.model.state_dict(), self.weights))
        encode, longest = self.tokenizer.stream, network.max_length
        self.train = TokenBatches(
            encode(train.sources),
            encode(train.targets),
            data.batch_size,
            longest,
            seed=run.seed,
            rank=process.rank,
            world=process.world,
            accumulate=run.accumulate,
            long=data.long_sentences,
            location=train.location,
        )
        self.empty = len(train.empty_lines)
        self.held_out = TokenBatches(
            encode(self.val.sources),
            encode(self.val.targets),
            max(READ_AT_ONCE, longest),
            longest,
            seed=0,
            long="error" if data.long_sentences == "error" else "truncate",
            location=self.val.location,
        )
        self.sentences = min(task.val_sentences or len(self.val), len(self.val))
        room = longest - 1  # the end is a token as well
        self.sources = [[*tokens[:room], EOS] for tokens in encode(self.val.sources[: self.sentences])]
        self.steps_per_epoch = self.train.steps
        self.samples_per_step = max(1, round(self.train.pairs / self.train.steps))

    def describe(self) -> Iterator[tuple[str, str]]:
        """The network, its vocabulary, the pairs and how they fill the batches."""
        architecture, words = self.model.config.architecture, count_parameters(self.model.embedding)
        rest = count_parameters(self.model) - words
        changed = "".join(f", {key} {value}" for key, value in self.changes.items())
        depth = f"{architecture.encoder_depth} + {architecture.decoder_depth} layers of {architecture.dim}"
        yield "model", f"{self.model.config.name}{changed}: {depth}, dropout {self.model.config.dropout:g}"
        yield "of these", f"{words:,} of the embedding, which is the output matrix as well, {rest:,} of the layers"
        yield "weights", self.weights
        yield (
            "vocabulary",
            f"{self.tokenizer.size:,} tokens, {self.vocabulary} (fingerprint {self.tokenizer.fingerprint})",
        )
        counts = {"dropped": self.train.dropped, "truncated": self.train.truncated}
        long = "".join(
            f", {count:,} of over {architecture.max_length} tokens {how}" for how, count in counts.items() if count
        )
        long += f", {self.empty:,} with an empty side left out" if self.empty else ""
        less = f" ({self.sentences:,} translated in an evaluation)" if self.sentences < len(self.val) else ""
        cut = f", {self.held_out.truncated:,} truncated" if self.held_out.truncated else ""
        yield "pairs", f"{self.train.pairs:,} to learn from{long}; {len(self.val):,} held out{less}{cut}"
        sizes = [(b["tokens"], b["target"][:, 1:].numel()) for b in islice(self.train.epoch(0, 0), LOOKED_AT)]
        told, room = map(sum, zip(*sizes))
        parts = self.process.world * self.accumulate
        yield "tokens", f"{parts * told / len(sizes):,.0f} of the target a step, beside {1 - told / room:.1%} padding"

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """Micro-batches: "source" B S, "target" B T, "tokens" in it, and "mean_tokens" of the step's micro-batches."""
        yield from self.train.epoch(epoch, start)

    def loss(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """The smoothed cross-entropy and, as `nll`, that without smoothing, in nats per target token."""
        smooth, nll = self.read(model, batch)
        return {"loss": smooth / batch["mean_tokens"], "nll": nll.detach() / batch["mean_tokens"]}

    def read(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """`cross_entropies` of what `model` says of a micro-batch."""
        source, target = (batch[key].to(self.process.device, non_blocking=True) for key in ("source", "target"))
        return cross_entropies(model(source, target[:, :-1]), target[:, 1:], self.options.label_smoothing)

    def evaluate(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        """How near the translations of the first held-out sentences are; the perplexity of all held-out targets."""
        said, references = self.translations(cast(Seq2Seq, model)), self.val.targets[: self.sentences]
        scores = dict(translation_scores(said, references, self.data.target_language))
        yield self.metric, scores.pop(self.metric)
        yield from scores.items()
        yield "perplexity", self.perplexity(model)

    def translations(self, model: Seq2Seq) -> list[str]:
        """The best translation of each source, in order; each process does its share, and has all in the end."""
        mine = range(self.process.rank, self.sentences, self.process.world)
        beam, penalty = self.options.beam, self.options.length_penalty
        found = translate(model, [self.sources[i] for i in mine], beam, penalty, batch_size=AT_ONCE)
        said = {i: self.tokenizer.line(best.tokens) for i, (best, *_) in zip(mine, found)}
        everyone = {i: text for part in all_gather(said) for i, text in part.items()}
        return [everyone[i] if self.val.sources[i].strip() else "" for i in range(self.sentences)]

    def perplexity(self, model: nn.Module) -> float:
        """exp of the mean negative log-likelihood of a held-out target token, given all before it."""
        mine = islice(self.held_out.epoch(0), self.process.rank, None, self.process.world)
        sums = [(self.read(model, batch)[1].item(), batch["tokens"]) for batch in mine]
        nll, tokens = map(sum, zip(*(pair for part in all_gather(sums) for pair in part)))
        return math.exp(min(nll / tokens, 700))  # above, no float holds it

    def save(self, folder: Path, model: nn.Module) -> None:
        """`model.safetensors`, `model.json` and `tokenizer.json`."""
        network, task, data = cast(Seq2Seq, model), self.options, self.data
        spoken = (data.source_language, data.target_language)
        card = TranslatorModelConfig(network.config, *spoken, beam=task.beam, length_penalty=task.length_penalty)
        save_translator(folder, network, self.tokenizer, card)

    def notes(self) -> dict[str, str]:
        """Which vocabulary the weights are of, and which tokens they have learned from."""
        return {"tokenizer": self.tokenizer.fingerprint, "training_text": self.train.fingerprint}

    def recall(self, notes: dict[str, str]) -> None:
        """Refuse the checkpoint of another vocabulary, or of other training text: the files have changed."""
        for kind, now in self.notes().items():
            before, what = notes.get(kind), "vocabulary" if kind == "tokenizer" else "training text"
            other = f"the {what} is not the checkpoint's: its fingerprint is now {now}, and was {before}"
            demand(before in (None, now), other, "bring back the files it began with, or choose another --out")


def find_tokenizer(data: config.Text, train: Pairs, begun: SavedTranslator | None) -> tuple[Tokenizer, str]:
    """The vocabulary of --data.tokenizer, of the checkpoint, or a new one of both sides of the text; and whose it is.

    Raises `UserError` where the first two differ.
    """
    if data.tokenizer:
        given = Tokenizer.load(data.tokenizer)
        other = f"--data.tokenizer {data.tokenizer} is another vocabulary than that of --model.checkpoint"
        same = begun is None or begun.tokenizer.fingerprint == given.fingerprint
        demand(same, other, "leave out one of the two")
        return given, f"of {data.tokenizer}"
    if begun:
        return begun.tokenizer, "the checkpoint's"
    lines = (line for side in (train.sources, train.targets) for line in side)
    return Tokenizer.train(lines, data.vocabulary), "learned from the training text"


def cross_entropies(logits: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Sums over the labels that are not PAD, in nats: the smoothed cross-entropy, and the negative log-likelihood.

    Of logits B T V and labels B T. Smoothed, a label's target is 1 - e for itself and e / V for each of all tokens
    (Szegedy et al. 2016, section 7).
    """
    logp = logits.float().log_softmax(-1)
    padding = labels == PAD
    nll = -logp.gather(-1, labels.unsqueeze(-1)).squeeze(-1).masked_fill(padding, 0).sum()
    uniform = -logp.mean(-1).masked_fill(padding, 0).sum()
    return (1 - smoothing) * nll + smoothing * uniform, nll


def _check(recipe: config.TextRecipe) -> None:
    """Refuse settings that would have no effect, or another than they say."""
    optim = recipe.optim
    whole = f"--optim.layer-decay {optim.layer_decay}: an encoder and a decoder are no single stack of layers"
    demand(optim.layer_decay == 1, whole, "leave it out")
    head = f"--optim.freeze-epochs {optim.freeze_epochs}: the network has no head of its own"
    demand(optim.freeze_epochs == 0, head, "leave it out")
