"""Finished rows without training."""

import json

import pytest


@pytest.fixture
def finish(tmp_path):
    """(TABLE, ROW, seed, numbers) -> the measured.json of that row at small scale in `tmp_path`."""

    def write(table: str, row: str, seed: int, **numbers):
        folder = tmp_path / table / "small" / row / f"seed-{seed}"
        folder.mkdir(parents=True)
        measured = {"numbers": numbers, "seconds": 60.0, "machine": "1 core, abacus", "versions": {"resmlp": "0"}}
        (folder / "measured.json").write_text(json.dumps(measured))
        return folder / "measured.json"

    return write
