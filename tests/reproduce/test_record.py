"""Means, differences and rank correlations of runs made by hand, and the pages of them."""

import random

import pytest
from markdown_it import MarkdownIt
from scipy.stats import spearmanr

from resmlp.paper import TABLES
from resmlp.reproduce import small
from resmlp.reproduce.pages import html, markdown
from resmlp.reproduce.ranks import ranks, spearman
from resmlp.reproduce.record import make_record


def record(out, table="table3", failed=None):
    return make_record(
        table, TABLES[table], small.PLANS[table], "small", out, failed or {}, lambda model: {"macs": 7e9}
    )


def row(found, name):
    return next(own for own in found["rows"] if own["row"] == name)


def test_spearman_is_scipys():
    generator = random.Random(0)
    for count in (3, 5, 13, 40):
        a = [generator.randrange(8) for _ in range(count)]  # with ties
        b = [generator.gauss(0, 1) for _ in range(count)]
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert ranks([3.0, 1.0, 3.0, 2.0]) == [3.5, 1.0, 3.5, 2.0]


def test_spearman_of_too_few_or_of_equal_ones_is_none():
    assert spearman([1, 2], [1, 2]) is None
    assert spearman([1, 1, 1], [1, 2, 3]) is None


def test_means_spreads_and_differences_by_hand(tmp_path, finish):
    for seed, (base, none, mlp, layernorm) in {0: (0.70, 0.50, 0.71, 0.69), 1: (0.72, 0.54, 0.75, 0.70)}.items():
        finish("table3", "s12", seed, top1=base, top5=0.9)
        finish("table3", "none", seed, top1=none)
        finish("table3", "mlp", seed, top1=mlp)
        finish("table3", "layernorm", seed, top1=layernorm)
    finish("table3", "mlp", 2, top1=0.80)  # the baseline has no such seed
    found = record(tmp_path)
    assert row(found, "s12")["ours"]["top1"] == {
        "mean": pytest.approx(0.71),
        "spread": pytest.approx(0.0141421, rel=1e-5),
        "n": 2,
    }
    assert row(found, "s12")["difference"] is None
    assert row(found, "none")["difference"]["paper"] == pytest.approx(-0.201)
    ours = {"mean": pytest.approx(-0.19), "spread": pytest.approx(0.0141421, rel=1e-5), "n": 2}
    assert row(found, "none")["difference"]["ours"] == ours
    assert row(found, "mlp")["difference"]["ours"]["mean"] == pytest.approx(0.02)  # of the seeds that both have
    assert row(found, "mlp")["seeds"] == [0, 1, 2]
    assert found["other_signs"] == ["layernorm"]
    assert found["spearman"] == pytest.approx(0.5)  # the paper: none < mlp < layernorm; ours: none < layernorm < mlp
    assert found["numbers"]["spearman"] == 0.5
    assert found["seconds"] == 9 * 60
    assert "top5" not in row(found, "s12")["ours"]
    assert row(found, "s24")["ours"]["macs"]["mean"] == 7e9
    assert row(found, "mlp")["command"].endswith("--row mlp --data.root PATH --seeds 0 1 2")


@pytest.mark.parametrize(
    "hostile", ["", "[]", '{"numbers": []}', '{"numbers": {"top1": NaN}}', '{"numbers": {"top1": "0.9"}}', "[" * 99_999]
)
def test_what_is_not_ours_counts_for_nothing(tmp_path, finish, hostile):
    finish("table3", "s12", 0, top1=0.5).write_text(hostile)
    finish("table3", "s12", 1, top1=0.7)
    (tmp_path / "table3" / "small" / "s12" / "seed-x").mkdir()
    found = record(tmp_path)
    assert row(found, "s12")["seeds"] == [1]


def test_pages_say_what_the_record_says(tmp_path, finish):
    finish("table3", "s12", 0, top1=0.7)
    finish("table3", "s12", 1, top1=0.71)
    finish("table3", "none", 0, top1=0.5)
    found = record(tmp_path, failed={"mlp": "no <b>|picture|"})
    page = markdown(found)
    line = next(line for line in page.splitlines() if line.startswith("| none"))
    assert [cell.strip() for cell in line.split("|")[1:-1]] == [
        *("none", "linear → none", "14.9", "2.8", "7.00", "56.5", "50.00", "63.4", "43.1", "-20.1", "-20.00", "0"),
        "1 min 0 s" if "1 min 0 s" in line else "1 min",
    ]
    assert "70.50 ± 0.71" in page
    assert "mlp failed: no <b>\\|picture\\|" in page
    table = MarkdownIt().enable("table").parse(page)
    cells = [sum(token.type == "td_open" for token in group) for group in _rows(table)]
    assert set(cells) == {len(_head(page))}
    whole = html(found, tmp_path)
    assert "&lt;b&gt;" in whole
    assert "<b>" not in whole
    assert "70.50 ± 0.71" in whole


def _head(page):
    return next(line for line in page.splitlines() if line.startswith("| row")).split("|")[1:-1]


def _rows(tokens):
    group = []
    for token in tokens:
        if token.type == "tr_open":
            group = []
        group.append(token)
        if token.type == "tr_close" and any(own.type == "td_open" for own in group):
            yield group


def test_an_empty_record_has_a_page(tmp_path):
    for table in TABLES:
        found = record(tmp_path, table)
        assert found["numbers"] == {}
        assert markdown(found).startswith("# ")
        assert "<h1>" in html(found, tmp_path)
