"""Other programs that translate, with a Transformer of the shape of ours: CTranslate2 and Hugging Face's Marian."""

import sys
import tempfile
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from resmlp.config.seq2seq import BOS, EOS, PAD, UNK
from resmlp.models import Seq2Seq
from resmlp.nn import Sinusoids

Sentences = Sequence[Sequence[int]]
Translate = Callable[[Sentences, int, int], list[list[int]]]
"""token numbers with `EOS` last, beam, tokens wanted -> token numbers of each translation"""


def array(tensor: Tensor) -> np.ndarray:
    """What CTranslate2 takes."""
    return tensor.detach().float().contiguous().numpy()


def fill(spec, part: nn.Module) -> None:
    """A linear layer, or a LayerNorm, whose weight they call gamma and whose bias beta."""
    if isinstance(part, nn.LayerNorm):
        spec.gamma, spec.beta = array(part.weight), array(part.bias)
    else:
        spec.weight, spec.bias = array(part.weight), array(part.bias)


def fill_attention(spec, sublayer: nn.Module, names: Sequence[str]) -> None:
    """Attention and the norm before it."""
    fill(spec.layer_norm, sublayer.norm)
    for linear, name in zip(spec.linear, names):
        fill(linear, getattr(sublayer.fn, name))


def fill_stack(spec, model: Seq2Seq, layers: nn.ModuleList, norm: nn.Module) -> None:
    """What an encoder and a decoder have in common."""
    arch = model.config.architecture
    spec.position_encodings.encodings = array(Sinusoids()(torch.zeros(1, arch.max_length, arch.dim))[0])
    fill(spec.layer_norm, norm)
    for into, layer in zip(spec.layer, layers):
        fill_attention(into.self_attention, layer.tokens, ("qkv", "proj"))
        fill(into.ffn.layer_norm, layer.channels.norm)
        fill(into.ffn.linear_0, layer.channels.fn.fc1)
        fill(into.ffn.linear_1, layer.channels.fn.fc2)


def ctranslate2_transformer(model: Seq2Seq, threads: int, kind: str = "float32") -> Translate:
    """Our `transformer_mt*`, the very weights, in CTranslate2, which computes with numbers of this kind."""
    try:
        import ctranslate2
    except ImportError:
        sys.exit("error: CTranslate2 is not installed (pip install ctranslate2)")
    arch = model.config.architecture
    spec = ctranslate2.specs.TransformerSpec.from_config(
        (arch.encoder_depth, arch.decoder_depth),
        arch.heads,
        pre_norm=True,
        activation=ctranslate2.specs.Activation.GELU,
    )
    fill_stack(spec.encoder, model, model.encoder, model.encoder_norm)
    fill_stack(spec.decoder, model, model.decoder, model.decoder_norm)
    for into, layer in zip(spec.decoder.layer, model.decoder):
        fill_attention(into.attention, layer.source, ("q", "kv", "proj"))
    shared = array(model.embedding.weight)
    spec.encoder.embeddings[0].weight = spec.decoder.embeddings.weight = spec.decoder.projection.weight = shared
    names = {PAD: "<pad>", BOS: "<s>", EOS: "</s>", UNK: "<unk>"}
    words = [names.get(number, str(number)) for number in range(model.config.vocabulary)]
    numbers = {word: number for number, word in enumerate(words)}
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    spec.config.layer_norm_epsilon = model.decoder_norm.eps
    with tempfile.TemporaryDirectory() as folder:
        spec.validate()
        spec.optimize()
        spec.save(folder)
        there = ctranslate2.Translator(folder, device="cpu", compute_type=kind, inter_threads=1, intra_threads=threads)

    def translate(sources: Sentences, beam: int, length: int) -> list[list[int]]:
        found = there.translate_batch(
            [[words[number] for number in source] for source in sources],
            beam_size=beam,
            min_decoding_length=length,
            max_decoding_length=length,
            length_penalty=0.6,
        )
        return [[numbers[word] for word in one.hypotheses[0]] for one in found]

    return translate


def marian(model: Seq2Seq) -> Translate:
    """Hugging Face's Marian of the shape of ours, of random weights."""
    try:
        from transformers import MarianConfig, MarianMTModel
    except ImportError:
        sys.exit("error: Hugging Face's transformers is not installed (pip install transformers)")
    arch = model.config.architecture
    sizes = {
        f"{half}_{name}": size
        for half, depth in (("encoder", arch.encoder_depth), ("decoder", arch.decoder_depth))
        for name, size in (("layers", depth), ("ffn_dim", arch.hidden), ("attention_heads", arch.heads))
    }
    there = MarianMTModel(
        MarianConfig(
            vocab_size=model.config.vocabulary,
            d_model=arch.dim,
            max_position_embeddings=arch.max_length,
            activation_function="gelu",
            scale_embedding=True,
            pad_token_id=PAD,
            eos_token_id=EOS,
            forced_eos_token_id=None,
            decoder_start_token_id=BOS,
            **sizes,
        )
    ).eval()

    @torch.inference_mode()
    def translate(sources: Sentences, beam: int, length: int) -> list[list[int]]:
        tokens = nn.utils.rnn.pad_sequence([torch.tensor(source) for source in sources], True, PAD)
        options = {"num_beams": beam, "do_sample": False, "min_new_tokens": length, "max_new_tokens": length}
        found = there.generate(tokens, attention_mask=(tokens != PAD).long(), length_penalty=0.6, **options)
        return found[:, 1:].tolist()

    return translate
