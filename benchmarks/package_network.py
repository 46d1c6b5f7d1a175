"""Put the network of a run into the package, in 8 bits: python benchmarks/package_network.py RUN NAME.

It writes `resmlp/packaged/NAME/`: weights, model.json, tokenizer.json of a translator, a card, README.md, and
expected.json, the number that `resmlp reproduce --verify` compares. Matrices have 8 bits, one step for each row; all
else has 16 bits. The validation set of the run measures both networks.
"""

import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import load_file, save

from resmlp.config.model_json import TranslatorModelConfig
from resmlp.evaluation.evaluate import evaluate
from resmlp.hub.packaged import FOLDER
from resmlp.hub.resolve import Source, resolve
from resmlp.models import open_model
from resmlp.models.quantize import in_8_bits, matrices, packed_state
from resmlp.models.translator_files import open_seq2seq
from resmlp.reproduction.verify import EXPECTED
from resmlp.utils.checks import demand
from resmlp.utils.files import write_folder, write_json
from resmlp.utils.run_folder import CONFIG, RECIPE, WEIGHTS

RESULTS = Path(__file__).parent.parent / "results"
TOKENIZER, CARD = "tokenizer.json", "README.md"
LIMITS = {"translator": 1_000_000, "classifier": 1_200_000}
"""bytes of all files, by the kind of network"""
TOLERANCE = 0.002
"""largest loss of accuracy by rounding, a fraction of the validation set"""


def package(run: Path, name: str, place: Path = FOLDER, results: Path = RESULTS) -> Path:
    """Write the packaged form of `run` as `place/NAME`, in place of an earlier one.

    Raises `UserError` where it would be too large, or less accurate than `run` or than `results/NAME.json` says.
    """
    source = resolve(run)
    demand(source.kind in LIMITS, f"{run} is a {source.kind}", "give a run of a classifier or a translator")
    metric = "exact_match" if source.kind == "translator" else "top1"
    with TemporaryDirectory(prefix="resmlp-package-") as temporary:
        aside = Path(temporary) / name
        write_network(source, aside)
        shutil.copyfile(run / RECIPE, aside / RECIPE)  # so that evaluation finds the data
        before, after = (score(folder, metric) for folder in (run, aside))
        (aside / RECIPE).unlink()
        least = published(results / f"{name}.json", metric)
        demand(after >= before - TOLERANCE, f"8 bits lose accuracy: {before:.4f} to {after:.4f}", "train another run")
        demand(
            after >= least - TOLERANCE, f"{after:.4f} is below {least:.4f} of results/{name}.json", "train it longer"
        )
        (aside / CARD).write_text(card(name, aside, run, metric, after), encoding="utf-8")
        write_json(aside / EXPECTED, {"data": name, "numbers": {metric: round(after, 4)}})
        size, limit = sum(file.stat().st_size for file in aside.iterdir()), LIMITS[source.kind]
        demand(size < limit, f"{size:,} bytes, and the limit is {limit:,}", "train a smaller network")
        shutil.rmtree(place / name, ignore_errors=True)
        write_folder(place / name, lambda part: shutil.copytree(aside, part, dirs_exist_ok=True))
    return place / name


def write_network(source: Source, folder: Path) -> None:
    """Write the weights in 8 bits, and copy model.json and the vocabulary."""
    network = open_seq2seq(source)[0] if source.kind == "translator" else open_model(source).model
    kept = load_file(source.file).keys()  # a tied or computed tensor is stored once
    state = {key: tensor for key, tensor in network.state_dict().items() if key in kept}
    small = {key: in_8_bits(weight) for key, weight in matrices(network).items() if key in kept}
    folder.mkdir()
    (folder / WEIGHTS).write_bytes(
        save({key: tensor.contiguous() for key, tensor in packed_state(state, small).items()})
    )
    for name in (CONFIG, TOKENIZER):
        if (source.file.parent / name).is_file():
            shutil.copyfile(source.file.parent / name, folder / name)


def score(folder: Path, metric: str) -> float:
    """The accuracy on the validation set of the run."""
    with TemporaryDirectory(prefix="resmlp-package-") as figures:
        evaluation = evaluate(folder, out=Path(figures))
    assert evaluation is not None
    return float(evaluation.to_dict()[metric])


def published(file: Path, metric: str) -> float:
    """The recorded accuracy; 0 where there is none."""
    return float(json.loads(file.read_text())["numbers"][metric]) if file.is_file() else 0.0


def card(name: str, folder: Path, run: Path, metric: str, accuracy: float) -> str:
    """The text of README.md."""
    config, recipe = resolve(folder).config, json.loads((run / RECIPE).read_text(encoding="utf-8"))
    translates = isinstance(config, TranslatorModelConfig)
    knows = f"{config.source_language} to {config.target_language}" if translates else ", ".join(config.classes)
    return f"""# packaged:{name}

{recipe["about"]}.

- Network: {config.model.name}, its matrices in 8 bits (one step for each row), all else in 16 bits.
- {"Languages" if translates else "Classes"}: {knows}.
- Accuracy: {metric} {accuracy:.4f} on the validation set, in this form; `results/{name}.json` has that of 32 bits.
- Data: {DATA.get(name, recipe["data"].get("source") or "the training set of the recipe")}.
- Training: recipe `{recipe["name"]}`, seed {recipe["run"]["seed"]}, by the command in `results/{name}.json`; then
  `benchmarks/package_network.py`.
- License of the weights: Apache-2.0, as of the package.
- For a first look, not for decisions: it knows nothing but the above, and answers to any input all the same.
"""


DATA = {
    "numbers": "number words that the package makes itself, English and German, no text of others",
    "cifar10": "the training set of CIFAR-10 (Krizhevsky, 2009), 50,000 images of 32 x 32 pixels",
}

if __name__ == "__main__":
    print(package(Path(sys.argv[1]), sys.argv[2]))
