"""Recheck: networks that are kept with the numbers they must have are evaluated again and compared."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from resmlp.config import Text
from resmlp.config.evaluation import EvalData
from resmlp.config.model_json import MODEL_JSON
from resmlp.data.text.sources import open_val
from resmlp.evaluation.evaluate import evaluate
from resmlp.hub.packaged import FOLDER
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError
from resmlp.utils.files import read_json, write_text

EXPECTED = "expected.json"
"""beside the weights: `{"data": NAME, "options": {...}, "numbers": {...}}`, where NAME is a folder of data sets or one
of `EMBEDDED`, options are fields of `EvalData`, and numbers those of `resmlp eval`"""
TOLERANCE = 0.1
"""points: hundredths of a fraction, such as top1, and of a score from 0 to 100, such as bleu"""
SCORES = ("bleu", "chrf", "tokenized_bleu")
"""numbers from 0 to 100; all others are fractions"""


def numbers_files(folder: Path) -> None:
    """Write the validation pairs of the embedded numbers, English to German, as text files."""
    text = Text(source="numbers")
    pairs = open_val(text)
    for language, lines in ((text.source_language, pairs.sources), (text.target_language, pairs.targets)):
        write_text(folder / f"{text.val}.{language}", "".join(f"{line}\n" for line in lines))


EMBEDDED: dict[str, Callable[[Path], None]] = {"numbers": numbers_files}
"""data that the package makes itself -> what writes them into a folder"""


@dataclass(frozen=True)
class Check:
    """A number of a network."""

    network: str
    metric: str
    expected: float
    measured: float

    @property
    def points(self) -> float:
        """How far the measured number is above the expected one, in points."""
        return (self.measured - self.expected) * (1 if self.metric in SCORES else 100)

    @property
    def holds(self) -> bool:
        """Whether both are equal up to `TOLERANCE`; a NaN is equal to nothing."""
        return abs(self.points) <= TOLERANCE + 1e-9

    def __str__(self) -> str:
        verdict = "ok" if self.holds else f"{self.points:+.2f} points"
        return f"{self.network} {self.metric}: {self.measured:.4f}, expected {self.expected:.4f}: {verdict}"


@dataclass(frozen=True)
class Verification:
    """What was checked."""

    checks: tuple[Check, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"checks": [asdict(check) | {"holds": check.holds} for check in self.checks]}

    def __str__(self) -> str:
        return "\n".join(map(str, self.checks))

    def raise_for_differences(self) -> None:
        """Raise `UserError` if a number is not as expected."""
        wrong = [f"{check.network} {check.metric}" for check in self.checks if not check.holds]
        what = f"{', '.join(wrong)} differ{'s' * (len(wrong) == 1)} by more than {TOLERANCE} points"
        demand(not wrong, what, "compare versions and data with results/")


def verify(root: str | Path | None, folders: Sequence[str | Path] = (FOLDER,), device: str = "auto") -> Verification:
    """Evaluate each network in `folders` that has `EXPECTED`, on data below `root` or embedded.

    Raises `UserError` if there is none, if data are missing, or if `EXPECTED` is not as above. Numbers that differ are
    in the result.
    """
    networks = [path.parent for folder in folders for path in sorted(Path(folder).glob(f"*/{EXPECTED}"))]
    where = ", ".join(map(str, folders))
    demand(bool(networks), f"no network with {EXPECTED} in {where}", f"name folders of {MODEL_JSON} and {EXPECTED}")
    wanted = [_expected(network) for network in networks]  # a wrong file is reported before anything runs
    return Verification(
        tuple(check for network, entry in zip(networks, wanted) for check in _check(network, entry, root, device))
    )


def _expected(network: Path) -> tuple[str, EvalData, dict[str, float]]:
    """The name of the data, the options and the numbers."""
    path = network / EXPECTED
    value = read_json(path)
    try:
        data, numbers = value["data"], {str(name): float(number) for name, number in value["numbers"].items()}
        options = EvalData(**value.get("options", {}))
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise UserError(f"{path} is not as it should be: {error}", 'it has "data", "options" and "numbers"') from None
    plain = isinstance(data, str) and data == Path(data).name and data not in ("", ".", "..")
    demand(plain and bool(numbers), f"{path} names no data or no numbers", "give the name of a folder, and numbers")
    return data, options, numbers


def _check(network: Path, entry: tuple[str, EvalData, dict[str, float]], root: Any, device: str) -> list[Check]:
    name, options, numbers = entry
    with TemporaryDirectory(prefix="resmlp-verify-") as place:
        folder = Path(place)
        if name in EMBEDDED:
            EMBEDDED[name](folder)
        else:
            demand(
                root is not None, f"{network.name} is checked on {name}", "give --data.root, the folder of data sets"
            )
            folder = Path(root) / name
        found = evaluate(network, folder, data=options, out=Path(place) / "figures", device=device)
    assert found is not None  # of one process
    scores = found.to_dict()
    missing = sorted(numbers.keys() - scores.keys())
    demand(not missing, f"{network / EXPECTED} names {', '.join(missing)}", f"resmlp eval gives {', '.join(scores)}")
    return [Check(network.name, metric, number, float(scores[metric])) for metric, number in numbers.items()]
