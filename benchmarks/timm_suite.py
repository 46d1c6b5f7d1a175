"""Run timm's own tests of models over our networks: python benchmarks/timm_suite.py [timm-X.tar.gz].

The tests lie in timm's source distribution: without a path it is downloaded for the installed version. Nothing of it is
kept. Writes results/timm_suite.json.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tarfile
from collections import Counter, defaultdict
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import timm
import torch
from machine import conditions

import resmlp.timm  # noqa: F401  registers them
from resmlp.config.vision import ARCHITECTURES

RESULT = Path(__file__).parent.parent / "results" / "timm_suite.json"
FILES = ("conftest.py", "test_models.py")
NEEDS_HUB = ("test_model_load_pretrained", "test_model_features_pretrained", "test_model_inference")


def is_ours(name: str) -> bool:
    """Whether `name`, with or without a tag, is one of our networks."""
    return name.split(".")[0] in ARCHITECTURES


def source_distribution(folder: Path) -> Path:
    """timm's, of the installed version, downloaded into `folder`."""
    what = f"timm=={timm.__version__}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*pip, "--dest", str(folder), what], check=True)
    return next(folder.glob("timm-*.tar.gz"))


def unpack_tests(archive: Path, folder: Path) -> Path:
    """The test module, and the conftest beside it, out of `archive`; the rest of it is never written."""
    with tarfile.open(archive) as tar:
        for name in FILES:
            member = next((m for m in tar.getmembers() if m.name.endswith(f"/tests/{name}") and m.isfile()), None)
            if member is None:
                sys.exit(f"error: {archive} has no tests/{name} (give timm's source distribution, timm-X.tar.gz)")
            tar.extract(member.replace(name=name), folder, filter="data")
    return folder / "test_models.py"


class OurNetworks:
    """A plugin of pytest's: keeps the tests over our networks, and counts what ran and what did not."""

    def __init__(self, names: list[str], depth: int | None):
        self.names = names
        self.depth = depth
        self.outcomes: dict[str, Counter] = defaultdict(Counter)
        self.networks: dict[str, set[str]] = defaultdict(set)
        self.elsewhere: dict[str, str] = {}
        self.skips: Counter = Counter()

    def list_models(self, filter="", module="", pretrained=False, exclude_filters="", **others) -> list[str]:
        """timm's, with our names alone; `module` chooses families of timm's, whose protocol ours speak as well."""
        found = self.original(filter, "", pretrained, exclude_filters, **others)
        return [name for name in found if is_ours(name) and any(fnmatch(name.split(".")[0], p) for p in self.names)]

    def create_model(self, name: str, *others, **options) -> torch.nn.Module:
        """timm's, with so many layers; its create_model leaves out what is None."""
        return self.original_create(name, *others, num_blocks=self.depth, **options)

    def __enter__(self):
        self.original, self.original_create = timm.list_models, timm.create_model
        timm.list_models, timm.create_model = self.list_models, self.create_model
        return self

    def __exit__(self, *_):
        timm.list_models, timm.create_model = self.original, self.original_create

    def reason(self, item: pytest.Item) -> str | None:
        """Why the test says nothing about our networks; None where it does."""
        if item.originalname in NEEDS_HUB:
            return "downloads published weights"
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        name = parameters.get("model_name")
        if isinstance(name, str):
            return None if is_ours(name) else "tests timm networks that it names"
        if "model_name" in parameters:
            return "selects networks by name, none of them from resmlp"
        return "tests one network or module of timm"

    def pytest_collection_modifyitems(self, config, items):
        kept = []
        for item in items:
            if (why := self.reason(item)) is None:
                kept.append(item)
                self.networks[item.originalname].add(item.callspec.params["model_name"].split(".")[0])
            else:
                self.elsewhere[item.originalname] = why
        items[:] = kept

    def pytest_runtest_logreport(self, report):
        test = report.nodeid.split("::")[-1].split("[")[0]
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[test][report.outcome] += 1
        if report.skipped:
            self.skips[report.longrepr[2]] += 1


def command(options: argparse.Namespace) -> str:
    """What repeats the run, wherever the archive lies."""
    chosen = ["--names", *options.names] if options.names != ["*"] else []
    chosen += ["--tests", options.tests] if options.tests else []
    chosen += ["--depth", str(options.depth)] if options.depth else []
    return shlex.join(["python", "benchmarks/timm_suite.py", *chosen])


def main() -> int:
    """Returns 1 where a test failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", nargs="?", type=Path, help="timm's source distribution; downloaded if not given")
    parser.add_argument("--names", nargs="+", default=["*"], help="patterns of our networks")
    parser.add_argument("--tests", default="", help="pytest -k")
    parser.add_argument("--depth", type=int, help="layers of every network, 3 at least, where the whole takes too long")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    with TemporaryDirectory() as temporary, OurNetworks(options.names, options.depth) as ours:
        folder = Path(temporary)
        file = unpack_tests(options.archive or source_distribution(folder), folder)
        quiet = ["-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:timeout", "-W", "ignore", "--tb", "short"]
        arguments = [str(file), "--rootdir", temporary, "-c", "/dev/null", *quiet, "-k", options.tests]
        status = pytest.main(arguments, plugins=[ours])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        sys.exit(f"error: the tests did not run to their end ({status!r}), nothing is written (see above)")
    total = sum(ours.outcomes.values(), Counter())
    numbers = {outcome: total[outcome] for outcome in ("passed", "failed", "skipped")}
    for test, outcomes in ours.outcomes.items():
        print(f"{test}: {dict(outcomes)}, {len(ours.networks[test])} of {len(ARCHITECTURES)} networks")
    for test, why in ours.elsewhere.items():
        print(f"not run: {test} {why}")
    print(numbers, dict(ours.skips))
    result = {
        "what": f"timm's own model tests, version {timm.__version__}, on the networks of resmlp",
        "numbers": numbers,
        "target": {"failed": "0"},
        "tests": {
            test: dict(outcomes) | {"networks": len(ours.networks[test])} for test, outcomes in ours.outcomes.items()
        },
        "not_run": ours.elsewhere,
        "networks": sorted(set().union(*ours.networks.values())),
        "command": command(options),
        **conditions("timm"),
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    return int(numbers["failed"] > 0 or numbers["passed"] == 0)


if __name__ == "__main__":
    raise SystemExit(main())
