"""Frozen dataclasses to JSON and back: nothing is lost, and wrong values are refused."""

import dataclasses
import json

import pytest

from resmlp.config import Augment, Data, ImageRecipe, Model, Optim, Recipe, Run
from resmlp.config.preprocessing import Preprocessing
from resmlp.config.tasks import Supervised, Task
from resmlp.recipes import RECIPES
from resmlp.utils.errors import UserError, did_you_mean, lookup
from resmlp.utils.serialization import difference, from_dict, to_dict


def through_json(value):
    return json.loads(json.dumps(to_dict(value)))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_round_trips(name):
    assert from_dict(Recipe, through_json(RECIPES[name])) == RECIPES[name]


@pytest.mark.parametrize(
    "value",
    [
        Model("resmlp_24_224", checkpoint="a b/ż.pth", drop_path=0.1, dim=48, mixer="dwconv", pos_embed=False),
        Data(root="/x", img_size=(32, 64), mean=(0, 0.5, 1)),
        Augment(scale=(0.4, 1.0), policy="three"),
        Optim("sgd", milestones=(), clip=None),
        Run(ema=0.5, seed=3),
        Preprocessing((8, 12), 1.0, "nearest"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_round_trip(value):
    assert from_dict(type(value), through_json(value)) == value


def test_types_come_back_as_written_in_the_class():
    back = from_dict(Data, {"img_size": [32], "crop_ratio": 1, "mean": [0, 0, 1]})
    assert back.img_size == (32,)
    assert type(back.crop_ratio) is float
    assert back.mean == (0.0, 0.0, 1.0)
    assert all(type(v) is float for v in back.mean)


def test_missing_fields_take_their_defaults():
    assert from_dict(ImageRecipe, {"name": "x"}) == ImageRecipe("x")


@dataclasses.dataclass(frozen=True)
class Inner:
    size: int
    name: str
    depth: int = 1


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner
    sizes: list = dataclasses.field(default_factory=list)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "missing inner ("),
        ({"inner": {}}, "missing inner.size and inner.name ("),
        ({"inner": {"name": "x"}}, "missing inner.size ("),
    ],
)
def test_missing_fields_are_named_as_in_the_file(values, words):
    with pytest.raises(UserError) as caught:
        from_dict(Outer, values)
    assert str(caught.value).startswith(words)


def test_a_task_keeps_its_kind():
    described = through_json(ImageRecipe("x", task=Supervised(label_smoothing=0.3)))
    assert described["task"] == {"kind": "supervised", "label_smoothing": 0.3, "consistency": 0.0, "balance": 0.0}
    assert from_dict(Task, described["task"]) == Supervised(0.3)


def changed(path, value):
    described = through_json(RECIPES["digits"])
    node = described
    *parents, last = path.split(".")
    for key in parents:
        node = node[key]
    node[last] = value
    return described


WRONG = [
    ("name", 1),
    ("name", None),
    ("model", "resmlp_s12"),
    ("model", []),
    ("model", None),
    ("model.name", ["resmlp_s12"]),
    ("model.drop_path", "0.1"),
    ("model.drop_path", True),
    ("model.depth", 2.0),
    ("model.depth", True),
    ("model.mixer", "Linear"),
    ("model.mixer", 0),
    ("model.mixer", {}),
    ("model.pos_embed", 1),
    ("data.img_size", 8),
    ("data.img_size", "8"),
    ("data.img_size", [8.0]),
    ("data.img_size", [[8]]),
    ("data.img_size", [8, 8, 8]),
    ("data.img_size", []),
    ("data.mean", [0.5, 0.5]),
    ("data.mean", [0.5, 0.5, 0.5, 0.5]),
    ("data.mean", {"r": 0.5}),
    ("data.batch_size", "64"),
    ("data.batch_size", 0),
    ("data.strict", "yes"),
    ("data.strict", 0),
    ("data.root", 5),
    ("augment.scale", [0.1]),
    ("augment.policy", None),
    ("optim.lr", "fast"),
    ("optim.lr", None),
    ("optim.lr", [0.1]),
    ("optim.lr", 10**400),
    ("optim.milestones", [1, "2"]),
    ("run.seed", 0.5),
    ("run.ema", "no"),
    ("run.ema", 2),
    ("task", 3),
    ("task.kind", "superviced"),
    ("task.kind", 3),
    ("task.kind", []),
    ("task.label_smoothing", "0.1"),
    ("expected", [["top1"]]),
    ("expected", [["top1", "high"]]),
    ("expected", {"top1": 0.9}),
]


@pytest.mark.parametrize(("path", "value"), WRONG, ids=[f"{p}={v!r}"[:50] for p, v in WRONG])
def test_wrong_values_are_refused(path, value):
    with pytest.raises(UserError):
        from_dict(ImageRecipe, changed(path, value))


@pytest.mark.parametrize("path", ["model.depth", "data.mean", "augment.policy", "run.seed", "task.label_smoothing"])
def test_the_field_is_named(path):
    with pytest.raises(UserError, match=path.replace(".", r"\.")):
        from_dict(ImageRecipe, changed(path, "?"))


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("optim.learning_rate", None),
        ("optim.weight_deacy", "weight_decay"),
        ("data.batchsize", "batch_size"),
        ("modle", "model"),
        ("task.label_smothing", "label_smoothing"),
        ("data.size", None),
        ("data.__class__", None),
        ("model.architecture", None),
    ],
)
def test_unknown_fields_are_named_with_the_similar_one(path, meant):
    with pytest.raises(UserError, match=f"unknown field {path}".replace(".", r"\.")) as error:
        from_dict(ImageRecipe, changed(path, 1))
    assert meant is None or meant in error.value.hint


def test_a_missing_field_is_named():
    with pytest.raises(UserError, match="name"):
        from_dict(ImageRecipe, {})
    with pytest.raises(UserError, match="size"):
        from_dict(Preprocessing, {})


@pytest.mark.parametrize("value", [None, 1, "x", [], [["name", "x"]]], ids=repr)
def test_what_is_no_object_is_refused(value):
    with pytest.raises(UserError, match="JSON object"):
        from_dict(ImageRecipe, value)


@pytest.mark.parametrize("kind", [[], {}, 3, None], ids=repr)
def test_a_kind_that_is_no_name_is_refused(kind):
    with pytest.raises(UserError, match="task"):
        from_dict(Task, {"kind": kind})


def test_difference_names_the_fields():
    ours = RECIPES["digits"]
    theirs = dataclasses.replace(ours, data=dataclasses.replace(ours.data, batch_size=128, root="/x"))
    lines = difference(through_json(ours), through_json(theirs))
    assert lines == ["data.root: None -> /x", "data.batch_size: 64 -> 128"]
    assert difference(through_json(ours), through_json(ours)) == []


def test_difference_includes_fields_of_one_side_only():
    assert difference({"a": 1}, {"b": 2}) == ["a: 1 -> None", "b: None -> 2"]


# did you mean


def test_did_you_mean():
    assert "resmlp_s12" in did_you_mean("resmpl_s12", ["resmlp_s12", "mixer_b16"])
    assert did_you_mean("zzz", ["b", "a"]) == "choose from a, b"
    assert did_you_mean("zzz", map(str, range(100, 200))) == "no known name is similar"
    assert did_you_mean("zzz", [])


def test_lookup():
    assert lookup("fruit", "apple", {"apple": 3}) == 3
    with pytest.raises(UserError, match="unknown fruit 'aple'") as error:
        lookup("fruit", "aple", {"apple": 3}, "see the list")
    assert "apple" in error.value.hint
    assert "see the list" in error.value.hint


def test_user_error_is_one_line_of_what_and_hint():
    error = UserError("no file x", "check the path")
    assert str(error) == "no file x (check the path)"
    assert (error.what, error.hint) == ("no file x", "check the path")
