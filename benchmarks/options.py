"""The options that benchmarks with data sets share."""

import argparse
from pathlib import Path


def data_parser(doc: str, data: str, runs: str = "", several: bool = False) -> argparse.ArgumentParser:
    """A parser with `--data PATH`, described by `data`; with `several`, one path or more.

    With `runs`, the name of a folder, also `--runs`: where the benchmark trains what is not yet there.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    count = "+" if several else None
    parser.add_argument("--data", required=True, type=existing, nargs=count, metavar="PATH", help=data)
    if runs:
        default = Path("runs") / "benchmarks" / runs
        parser.add_argument(
            "--runs", type=Path, default=default, help=f"folder of its training runs (default: {default})"
        )
    return parser


def existing(path: str) -> Path:
    """The path of a file or folder that exists; argparse reports the error in one line."""
    if not Path(path).exists():
        raise argparse.ArgumentTypeError(f"{path}: no such file or folder")
    return Path(path)
