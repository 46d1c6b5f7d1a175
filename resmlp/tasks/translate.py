"""Translation (section 2, "Sequence-to-Sequence ResMLP"; Table 5).

B sentences, S source tokens, T target tokens, V tokens in the vocabulary.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from resmlp import config
from resmlp.config import tasks as settings
from resmlp.config.model_json import Seq2SeqConfig, TranslatorModelConfig
from resmlp.config.seq2seq import EOS, PAD
from resmlp.data.text.sources import Pairs, open_pairs
from resmlp.data.text.token_batches import TokenBatches
from resmlp.data.text.tokenizer import Tokenizer
from resmlp.inference.translator import SavedTranslator, open_translator, save_translator
from resmlp.metrics import translation_scores
from resmlp.metrics.bleu import check_packages
from resmlp.metrics.bleu_tokenization import tokenization_warning
from resmlp.models import Weights, count_parameters, load_into
from resmlp.models.beam_search import translate
from resmlp.models.seq2seq import Seq2Seq
from resmlp.tasks.base import Batch, Task
from resmlp.utils.checks import demand
from resmlp.utils.devices import Process, all_gather

EVAL_SENTENCES = 64  # sentences per batch of the beam search in an evaluation
EVAL_TOKENS = 4096  # tokens per batch of the perplexity in an evaluation
PADDING_BATCHES = 100  # micro-batches for the fraction of padding in the table


class Translate(Task):
    """Cross-entropy of the next token of the target, from the source and the tokens before it, with label smoothing.

    The loss is the mean over the target tokens of a step, in all its parts and processes, and dropout has the masks of
    the whole micro-batch: any number of processes takes the same steps. The vocabulary is that of the checkpoint or is
    learned from the training text, equally in every process and at every start; its fingerprint is in each checkpoint.
    """

    model: Seq2Seq

    def __init__(self, recipe: config.TextRecipe, process: Process):
        task, data, run = cast(settings.Translate, recipe.task), recipe.data, recipe.run
        _check(recipe)
        check_packages()
        self.recipe, self.options, self.data, self.process, self.metric = recipe, task, data, process, task.metric
        self.changes, self.accumulate = recipe.model.changes(), run.accumulate
        train, self.val = open_pairs(data)
        start = open_translator(recipe.model.checkpoint) if recipe.model.checkpoint else None
        self.tokenizer, self.vocabulary = find_tokenizer(data, train, start)
        name, network = recipe.model.network()
        self.model = Seq2Seq(Seq2SeqConfig(name, network, self.tokenizer.size, recipe.model.dropout))
        self.weights = recipe.model.checkpoint or "new"
        if start:
            load_into(self.model, Weights(start.model.state_dict(), self.weights))
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
        self.val_batches = TokenBatches(
            encode(self.val.sources),
            encode(self.val.targets),
            max(EVAL_TOKENS, longest),
            longest,
            seed=0,
            long="error" if data.long_sentences == "error" else "truncate",
            location=self.val.location,
        )
        self.sentences = min(task.val_sentences or len(self.val), len(self.val))
        longest_text = longest - 1  # without the token of the end
        self.sources = [[*tokens[:longest_text], EOS] for tokens in encode(self.val.sources[: self.sentences])]
        self.steps_per_epoch = self.train.steps
        self.samples_per_step = max(1, round(self.train.pairs / self.train.steps))

    def describe(self) -> Iterator[tuple[str, str]]:
        """The network, its vocabulary, the pairs, and the tokens and padding of the batches."""
        architecture, embedding = self.model.config.architecture, count_parameters(self.model.embedding)
        layers = count_parameters(self.model) - embedding
        changed = "".join(f", {key} {value}" for key, value in self.changes.items())
        depth = f"{architecture.encoder_depth} + {architecture.decoder_depth} layers of {architecture.dim}"
        yield "model", f"{self.model.config.name}{changed}: {depth}, dropout {self.model.config.dropout:g}"
        yield "of these", f"{embedding:,} in the embedding, which is also the output matrix, {layers:,} in the layers"
        yield "weights", self.weights
        yield (
            "vocabulary",
            f"{self.tokenizer.size:,} tokens, {self.vocabulary} (fingerprint {self.tokenizer.fingerprint})",
        )
        counts = {"dropped": self.train.dropped, "truncated": self.train.truncated}
        long = "".join(
            f", {count:,} with over {architecture.max_length} tokens {how}" for how, count in counts.items() if count
        )
        long += f", {self.empty:,} with an empty side left out" if self.empty else ""
        translated = f" ({self.sentences:,} translated in an evaluation)" if self.sentences < len(self.val) else ""
        truncated = f", {self.val_batches.truncated:,} truncated" if self.val_batches.truncated else ""
        yield (
            "pairs",
            f"{self.train.pairs:,} for training{long}; {len(self.val):,} for validation{translated}{truncated}",
        )
        batches = [*islice(self.train.epoch(0, 0), PADDING_BATCHES)]
        tokens, positions = sum(b["tokens"] for b in batches), sum(b["target"][:, 1:].numel() for b in batches)
        per_step = self.process.world * self.accumulate * sum(b["mean_tokens"] for b in batches) / len(batches)
        yield "tokens", f"{per_step:,.0f} of the target per step, and {1 - tokens / positions:.1%} padding"
        if warning := tokenization_warning(self.data.target_language, self.val.targets):
            yield "note", warning

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """The shares of this process of the micro-batches (`TokenBatches`)."""
        yield from self.train.epoch(epoch, start)

    def loss(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """The smoothed cross-entropy, and `nll` without smoothing, in nats per target token."""
        smooth, nll = self.loss_sums(model, batch)
        return {"loss": smooth / batch["mean_tokens"], "nll": nll.detach() / batch["mean_tokens"]}

    def loss_sums(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The `cross_entropies` of the outputs of `model` for a micro-batch."""
        source, target = (batch[key].to(self.process.device, non_blocking=True) for key in ("source", "target"))
        return cross_entropies(model(source, target[:, :-1]), target[:, 1:], self.options.label_smoothing)

    def evaluate(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        """Scores of the translations of the first validation sentences, and the perplexity of all targets."""
        translations, references = self.translations(cast(Seq2Seq, model)), self.val.targets[: self.sentences]
        scores = dict(translation_scores(translations, references, self.data.target_language))
        yield self.metric, scores.pop(self.metric)
        yield from scores.items()
        yield "perplexity", self.perplexity(model)

    def translations(self, model: Seq2Seq) -> list[str]:
        """The best translation of each source, in order; each process translates its part and gathers all."""
        own = range(self.process.rank, self.sentences, self.process.world)
        beam, penalty = self.options.beam, self.options.length_penalty
        hypotheses = translate(model, [self.sources[i] for i in own], beam, penalty, batch_size=EVAL_SENTENCES)
        texts = {i: self.tokenizer.line(best.tokens) for i, (best, *_) in zip(own, hypotheses)}
        all_texts = {i: text for part in all_gather(texts) for i, text in part.items()}
        return [all_texts[i] if self.val.sources[i].strip() else "" for i in range(self.sentences)]

    def perplexity(self, model: nn.Module) -> float:
        """exp of the mean negative log-likelihood of a target token of the validation set."""
        own = islice(self.val_batches.epoch(0), self.process.rank, None, self.process.world)
        sums = [(self.loss_sums(model, batch)[1].item(), batch["tokens"]) for batch in own]
        nll, tokens = map(sum, zip(*(pair for part in all_gather(sums) for pair in part)))
        return math.exp(min(nll / tokens, 700))  # exp of more overflows

    def save(self, folder: Path, model: nn.Module, scores: Mapping[str, Any]) -> None:
        """Write `model.safetensors`, `model.json` and `tokenizer.json`."""
        network, task, data = cast(Seq2Seq, model), self.options, self.data
        languages = (data.source_language, data.target_language)
        config = TranslatorModelConfig(network.config, *languages, beam=task.beam, length_penalty=task.length_penalty)
        save_translator(folder, network, self.tokenizer, config)

    def notes(self) -> dict[str, str]:
        """The fingerprints of the vocabulary and of the training text."""
        return {"tokenizer": self.tokenizer.fingerprint, "training_text": self.train.fingerprint}

    def recall(self, notes: dict[str, str]) -> None:
        """Raise `UserError` for a checkpoint of another vocabulary or training text, if the files have changed."""
        for kind, now in self.notes().items():
            before, what = notes.get(kind), "vocabulary" if kind == "tokenizer" else "training text"
            other = f"the {what} differs from that of the checkpoint: its fingerprint is {now}, and was {before}"
            demand(before in (None, now), other, "restore the files, or choose another --out")


def find_tokenizer(data: config.Text, train: Pairs, start: SavedTranslator | None) -> tuple[Tokenizer, str]:
    """The vocabulary of --data.tokenizer, of the checkpoint, or a new one of both sides of the text; and its source.

    Raises `UserError` if the first two differ.
    """
    if data.tokenizer:
        tokenizer = Tokenizer.load(data.tokenizer)
        other = f"--data.tokenizer {data.tokenizer} differs from the vocabulary of --model.checkpoint"
        is_same = start is None or start.tokenizer.fingerprint == tokenizer.fingerprint
        demand(is_same, other, "leave one of them out")
        return tokenizer, f"from {data.tokenizer}"
    if start:
        return start.tokenizer, "from the checkpoint"
    lines = (line for side in (train.sources, train.targets) for line in side)
    return Tokenizer.train(lines, data.vocabulary), "learned from the training text"


def cross_entropies(logits: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Sums over the labels that are not PAD, in nats: the smoothed cross-entropy, and the negative log-likelihood.

    For logits B T V and labels B T. The smoothed target is 1 - e for the label plus e / V for each token (Szegedy et
    al. 2016, section 7).
    """
    logp = logits.float().log_softmax(-1)
    padding = labels == PAD
    nll = -logp.gather(-1, labels.unsqueeze(-1)).squeeze(-1).masked_fill(padding, 0).sum()
    uniform = -logp.mean(-1).masked_fill(padding, 0).sum()
    return (1 - smoothing) * nll + smoothing * uniform, nll


def _check(recipe: config.TextRecipe) -> None:
    """Raise `UserError` for settings that would have no effect or another one."""
    optim = recipe.optim
    stack = f"--optim.layer-decay {optim.layer_decay}: an encoder and a decoder are not a single stack of layers"
    demand(optim.layer_decay == 1, stack, "leave it out")
    head = f"--optim.freeze-epochs {optim.freeze_epochs}: a translation network has no separate head"
    demand(optim.freeze_epochs == 0, head, "leave it out")
