"""Means, differences and rank correlations of prepared rows, and the pages of a record."""

import json
import random

import pytest
from markdown_it import MarkdownIt
from scipy.stats import spearmanr

from resmlp.paper import TABLES
from resmlp.reproduction import small
from resmlp.reproduction.pages import html, markdown
from resmlp.reproduction.record import make_record
from resmlp.reproduction.statistics import Stat, ranks, spearman


def record(out, table="table3", failed=None):
    return make_record(
        table, TABLES[table], small.PLANS[table], "small", out, failed or {}, lambda model: {"macs": 7e9}
    )


def row(record, name):
    return next(row for row in record.rows if row.row == name)


def test_spearman_agrees_with_scipy():
    generator = random.Random(0)
    for count in (3, 5, 13, 40):
        a = [generator.randrange(8) for _ in range(count)]  # with ties
        b = [generator.gauss(0, 1) for _ in range(count)]
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert ranks([3.0, 1.0, 3.0, 2.0]) == [3.5, 1.0, 3.5, 2.0]


def test_spearman_of_few_or_equal_values_is_none():
    assert spearman([1, 2], [1, 2]) is None
    assert spearman([1, 1, 1], [1, 2, 3]) is None


def test_means_spreads_and_differences_by_hand(tmp_path, finish):
    for seed, (base, none, mlp, layernorm) in {0: (0.70, 0.50, 0.71, 0.69), 1: (0.72, 0.54, 0.75, 0.70)}.items():
        finish("table3", "s12", seed, top1=base, top5=0.9)
        finish("table3", "none", seed, top1=none)
        finish("table3", "mlp", seed, top1=mlp)
        finish("table3", "layernorm", seed, top1=layernorm)
    finish("table3", "mlp", 2, top1=0.80)  # the baseline has no seed 2
    result = record(tmp_path)
    std = pytest.approx(0.0141421, rel=1e-5)
    assert row(result, "s12").ours["top1"] == Stat(pytest.approx(0.71), std, 2)
    assert row(result, "s12").difference is None
    assert row(result, "none").difference.paper == pytest.approx(-0.201)
    assert row(result, "none").difference.ours == Stat(pytest.approx(-0.19), std, 2)
    assert row(result, "mlp").difference.ours.mean == pytest.approx(0.02)  # over the seeds that both rows have
    assert row(result, "mlp").seeds == (0, 1, 2)
    assert result.opposite_sign == ("layernorm",)
    head = "resmlp reproduce table3 --scale small --row"
    several = f"{head} s12 layernorm none --data.root PATH --seeds 0 1", f"{head} mlp --data.root PATH --seeds 0 1 2"
    assert set(result.command.split(" && ")) == set(several)
    assert result.spearman == pytest.approx(0.5)  # the paper: none < mlp < layernorm; ours: none < layernorm < mlp
    assert result.numbers["spearman"] == 0.5
    assert result.seconds == 9 * 60
    assert "top5" not in row(result, "s12").ours
    assert row(result, "s24").ours["macs"].mean == 7e9
    assert row(result, "mlp").command.endswith("--row mlp --data.root PATH --seeds 0 1 2")


def test_equal_differences_are_ties_and_zero_has_no_sign(tmp_path, finish):
    """0.8 - 0.7 and 0.3 - 0.2 differ in the last bit; ranks need exact equality."""
    differences = {"none": 0.1, "mlp": 0.2, "dwconv": 0.4, "conv3x3": 0.0}
    finish("table3", "s12", 0, top1=0.2)
    finish("table3", "s12", 1, top1=0.7)
    for name, more in differences.items():
        if name != "mlp":
            finish("table3", name, 0, top1=0.2 + more)
    finish("table3", "mlp", 1, top1=0.8)
    result = record(tmp_path)
    ours = {name: row(result, name).difference.ours.mean for name in differences}
    assert ours == {"none": 0.1, "mlp": 0.1, "dwconv": 0.4, "conv3x3": 0.0}
    paper = [row(result, name).difference.paper for name in differences]
    assert result.spearman == pytest.approx(spearmanr(paper, list(ours.values())).statistic)
    assert list(result.opposite_sign) == [name for name, less in zip(differences, paper) if less * ours[name] < 0]
    assert "conv3x3" not in result.opposite_sign


def test_the_command_of_a_record(tmp_path, finish):
    assert record(tmp_path).command == "resmlp reproduce table3 --scale small --data.root PATH"
    finish("table3", "none", 0, top1=0.5)
    finish("table3", "none", 3, top1=0.5)
    assert record(tmp_path).command.endswith("--scale small --row none --data.root PATH --seeds 0 3")
    for name, plan in small.PLANS["table3"].items():
        for seed in (0, 3) if not isinstance(plan, str) and name != "none" else ():
            finish("table3", name, seed, top1=0.5)
    assert record(tmp_path).command == "resmlp reproduce table3 --scale small --data.root PATH --seeds 0 3"


def test_a_row_says_how_its_mixers_were_initialized(tmp_path):
    result = record(tmp_path)
    local = "; the token mixers start as 3x3 convolutions (init local)"
    assert row(result, "s12").run.endswith(local)
    assert row(result, "ssl").run.endswith(local)
    assert not row(result, "mlp").run.endswith(local)
    page = markdown(record(tmp_path, "figure2"))
    assert "the weights near a patch were large from the beginning" in page
    assert "from the beginning" not in markdown(result)


def broken(**parts):
    return json.dumps({"numbers": {"top1": 0.5}, **parts})


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "[]",
        "[" * 99_999,
        broken(numbers=[]),
        broken(numbers={"top1": float("nan")}),
        broken(numbers={"top1": "0.9"}),
        broken(numbers={"top1": True}),
        broken(numbers={"top1": 10**400}),
        broken(numbers={"top1": 1e308}),
        broken(seconds="x"),
        broken(seconds=None),
        broken(seconds=float("inf")),
        broken(seconds=-1),
        broken(machine=["1 core"]),
        broken(versions=[1]),
        broken(versions={"torch": 2}),
        broken(figure=5),
        broken(figure="../../../s12/seed-0/filters.png"),
        broken(figure="x)](javascript:alert(1).png"),
        broken(figure="a\0b.png"),
        broken(top1_interval="abc"),
        broken(top1_interval=[1]),
        broken(v2_interval=[0.5, None]),
    ],
)
def test_an_invalid_file_is_ignored(tmp_path, finish, hostile):
    finish("table3", "s12", 0, top1=0.5).write_text(hostile)
    finish("table3", "s12", 1, top1=0.7)
    (tmp_path / "table3" / "small" / "s12" / "seed-x").mkdir()
    result = record(tmp_path)
    assert row(result, "s12").seeds == (1,)
    assert "70.00" in markdown(result)
    assert "70.00" in html(result, tmp_path)


def test_pages_have_the_numbers_of_the_record(tmp_path, finish):
    finish("table3", "s12", 0, top1=0.7)
    finish("table3", "s12", 1, top1=0.71)
    finish("table3", "none", 0, top1=0.5)
    result = record(tmp_path, failed={"mlp": "no <b>|[image](https://x.y)|"})
    page = markdown(result)
    line = next(line for line in page.splitlines() if line.startswith("| none"))
    assert [cell.strip() for cell in line.split("|")[1:-1]] == [
        *("none", "linear → none", "14.9", "2.8", "7.00", "56.5", "50.00", "63.4", "43.1", "-20.1", "-20.00", "0"),
        "1 min 0 s" if "1 min 0 s" in line else "1 min",
    ]
    assert "70.50 ± 0.71" in page
    (remark,) = [line for line in page.splitlines() if "mlp failed" in line]
    assert MarkdownIt("gfm-like", {"linkify": False}).render(remark) == (
        "<ul>\n<li>mlp failed: no &lt;b&gt;|[image](https://x.y)|</li>\n</ul>\n"
    )
    assert "https://" not in remark  # would become a link
    table = MarkdownIt().enable("table").parse(page)
    cells = [sum(token.type == "td_open" for token in group) for group in _rows(table)]
    assert set(cells) == {len(_head(page))}
    whole = html(result, tmp_path)
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
        result = record(tmp_path, table)
        assert result.numbers == {}
        assert markdown(result).startswith("# ")
        assert "<h1>" in html(result, tmp_path)
