"""Every number of the tables against the text of the paper, as it was typeset, and against the recipes."""

import re
from collections import Counter

import pytest

from resmlp.paper import TABLES
from resmlp.recipes import RECIPES


@pytest.fixture(scope="module")
def text(shared) -> str:
    pages = sorted((shared.parent / "seeds").glob("002_*.txt"))
    if not pages:
        pytest.skip("no text of the paper")
    return pages[0].read_text()


def numbers(line: str) -> list[float]:
    """The cells of a line that are numbers."""
    return [float(cell) for cell in line.split("\t") if re.fullmatch(r"[0-9]+(\.[0-9]+)?", cell.strip())]


def between(text: str, start: str, end: str) -> list[str]:
    block = text[text.index(start) :]
    return block[: block.index(end)].splitlines()


def test_table1_has_the_numbers_of_the_text(text):
    """The cells of this table run into one another in the text, so numbers are counted."""
    words = " ".join(between(text, "\tArch.\t#params", "TABLE 1")).replace("\t", " ").split()
    printed = Counter(word for word in words if re.fullmatch(r"[0-9.]+", word))
    lost = {"b24": {116, 231.0, 23.0, 663.0, 81.0}, "s24": {6.0}}  # cells that are elsewhere in the text, or missing
    for row in TABLES["table1"].rows:
        for value in row.values:
            if value not in lost.get(row.name, set()):
                assert printed[str(value)] > 0, (row.name, value)
                printed[str(value)] -= 1
    assert re.search(r"^116$", text, re.MULTILINE)
    assert re.search(r"^663\.0$", text, re.MULTILINE)


def test_table2(text):
    lines = [numbers(line) for line in between(text, "Models\t$(\\times", "Classification accuracy on")]
    assert [tuple(cells) for cells in lines if cells] == [row.values for row in TABLES["table2"].rows]


def test_table3(text):
    lines = [numbers(line) for line in between(text, "Ablation\tModel\tPatch", "By default we train")]
    rows = [row.values for row in TABLES["table3"].rows]
    assert [tuple(cells[1:] if len(cells) == 6 else cells[2:]) for cells in lines if cells] == rows  # the patch first


def test_table4(text):
    values = {}
    names = {"EfficientNet": "efficientnet-b7", "ViT-B": "vit-b16", "ViT-L": "vit-l16", "Deit": "deit-b16"}
    names |= {"ResNet50": "resnet50", "Grafit": "grafit", "ResMLP-S12": "s12", "ResMLP-S24": "s24"}
    sets = ("cifar10", "cifar100", "flowers", "cars", "inat18", "inat19")
    for line in between(text, "Architecture\tFLOPs", "Classification accuracy (top-1)"):
        cells = line.split("\t")
        name = next((own for printed, own in names.items() if line.startswith(printed)), None)
        if name:
            values |= {f"{name}-{key}": float(cell) for key, cell in zip(sets, cells[3:]) if re.match("[0-9]", cell)}
    assert values == {row.name: row.values[0] for row in TABLES["table4"].rows}
    assert len(values) == 36


def test_table5(text):
    for pair, line in (("ende", "En-De\t"), ("enfr", "En-Fr\t")):
        (cells,) = [numbers(own) for own in text.splitlines() if own.startswith(line)]
        assert cells == [row.values[0] for row in TABLES["table5"].rows if row.name.endswith(pair)]


def test_table6(text):
    (cells,) = [numbers(line) for line in text.splitlines() if line.startswith("mIoU (%)")]
    assert cells == [row.values[0] for row in TABLES["table6"].rows]


def test_names_are_unique_and_every_baseline_is_a_row():
    for table in TABLES.values():
        names = [row.name for row in table.rows]
        assert len(set(names)) == len(names)
        assert {row.baseline for row in table.rows} <= {"", *names}
        assert all(len(row.values) in (0, len(table.columns)) for row in table.rows)


def test_units_are_fractions_and_counts():
    table = TABLES["table1"]
    reported = table.reported(table.row("s12"))
    assert reported == {"parameters": 15e6, "images_per_s": 1415.1, "macs": 3e9, "peak_memory": 179.5e6, "top1": 0.766}


RECIPE_OF = {
    "table1": {"s12": "imagenet-s12", "s24": "imagenet-s24", "b24": "imagenet-b24"},
    "table2": {"s12": "dino"},
    "table3": {
        **{row: f"s12-{row}" for row in ("layernorm", "classmlp", "none", "mlp", "conv3x3", "dwconv", "sepconv")},
        **{"p14": "s12-p14", "p8": "s12-p8", "oldschool": "imagenet-oldschool", "distill": "distill"},
        "b24-p8-21k": "imagenet-from21k",
    },
    "table4": {
        f"s12-{key}": f"finetune-{key}" for key in ("cifar10", "cifar100", "flowers", "cars", "inat18", "inat19")
    },
    "table5": {"resmlp6-ende": "wmt14-ende", "resmlp6-enfr": "wmt14-enfr"},
    "table6": {"s12": "ade20k", "s24": "ade20k-s24", "s36": "ade20k-s36"},
}


@pytest.mark.parametrize("name", RECIPE_OF)
def test_recipes_expect_what_the_paper_reports(name):
    """The numbers of the recipes were typed separately."""
    table = TABLES[name]
    for row, recipe in RECIPE_OF[name].items():
        for metric, value in RECIPES[recipe].expected:
            assert table.reported(table.row(row))[metric] == pytest.approx(value), row
