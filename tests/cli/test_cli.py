"""The command line: exit codes, one line for every mistake, one JSON object, and what each verb says."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from colored import COLORS, color, plant
from PIL import Image

from resmlp.cli import VERBS
from resmlp.cli.main import main
from resmlp.inference import load
from resmlp.recipes import RECIPES
from resmlp.utils.files import read_json, write_json

# nothing heavy for help and for mistakes of typing

LIGHT = {
    "import resmlp": "import resmlp, resmlp.config, resmlp.recipes",
    **{
        " ".join(args): f"from resmlp.cli.main import main; main({args!r})"
        for args in (
            ["--help"],
            ["--version"],
            ["list"],
            ["train", "--help"],
            ["train", "digits", "--help"],
            ["eval", "--help"],
            ["predict", "--help"],
            ["trian"],
            ["train", "digit"],
            ["train", "digits", "--optim.lrr", "1"],
        )
    },
}


def test_help_and_mistakes_of_typing_load_no_torch():
    """All in one process, for speed: the first that loads it is named."""
    code = [
        "import contextlib, io, sys",
        f"for name, line in {LIGHT!r}.items():",
        "    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):",
        "        with contextlib.suppress(SystemExit): exec(line)",
        "    heavy = {'torch', 'numpy', 'timm', 'accelerate', 'matplotlib', 'PIL'} & set(sys.modules)",
        "    assert not heavy, f'{name} loads {heavy}'",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(code)], check=True)


@pytest.mark.parametrize("args", [[], ["-h"], ["--help"], ["help"]], ids=str)
def test_help_names_every_verb(resmlp, args):
    ended = resmlp(*args)
    assert ended.code == 0
    assert all(f"\n  {verb} " in ended.out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(resmlp, verb):
    ended = resmlp(verb, "--help")
    assert ended.code == 0
    assert f"usage: resmlp {verb}" in ended.out
    assert "(default: )" not in ended.out


# mistakes


def one_line(ended, *words: object) -> None:
    """Exit code 2, nothing on standard output, and on standard error one line that has the words."""
    assert ended.code == 2, ended.err
    assert ended.out == ""
    assert ended.err.count("\n") == 1, ended.err
    for word in words:
        assert str(word) in ended.error


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["trian"], ["unknown verb 'trian'", "did you mean train"]),
        (["--json"], ["unknown verb"]),
        (["train"], ["needs a recipe", "resmlp train digits"]),
        (["train", "--run.epochs", "3"], ["needs a recipe"]),
        (["train", "o/nope", "--run.epochs", "6"], ["no folder o/nope", "run folder that exists"]),
        (["train", "nope", "--run.epochs", "6"], ["unknown recipe 'nope'", "a run folder of this name"]),
        (["train", __file__], ["is a file, not a recipe", "run folder"]),
        (["train", "digit"], ["unknown recipe 'digit'", "did you mean digits"]),
        (["train", "nowhere.json"], ["no file nowhere.json"]),
        (["train", "digits", "--optim.lrr", "1"], ["unknown field", "--optim.lrr", "did you mean --optim.lr?"]),
        (["train", "digits", "--run.out", "runs/f"], ["unknown field --run.out (did you mean --out? see"]),
        (["train", "digits", "--run.img-size", "32"], ["unknown field --run.img-size (did you mean --data.img-size?"]),
        (["train", "digits", "--trian", "1", "--outt", "x"], ["unknown fields --trian, --outt (see"]),
        (["train", "digits", "--run.epochs", "many"], ["--run.epochs", "many"]),
        (["train", "digits", "--run.epochs"], ["--run.epochs"]),
        (["train", "digits", "--optim.name", "adam"], ["--optim.name", "adamw"]),
        (["train", "digits", "--model", "resmlp_s13"], ["unknown model 'resmlp_s13'", "did you mean", "resmlp_s12"]),
        (["train", "digits", "--model.mixer", "linaer"], ["--model.mixer", "linear"]),
        (["list", "everything"], ["everything"]),
        (["eval"], ["MODEL", "--help"]),
        (["eval", "resmlp_s13"], ["unknown model 'resmlp_s13'", "did you mean", "resmlp_s12"]),
        (["eval", "runs/nothing"], ["no model at runs/nothing"]),
        (["eval", "nothing.safetensors"], ["nothing.safetensors"]),
        (["eval", "mixer_s32", "--data.root", "x", "--data.rooot", "y"], ["--data.rooot", "did you mean"]),
        (["predict"], ["MODEL"]),
        (["predict", "mixer_s32"], ["images"]),
        (["predict", "mixer_s32", "nothing.png"], ["no image at nothing.png"]),
        (["predict", "mixer_s32", ".", "--top", "0"], ["--top 0"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0] in (*VERBS, "trian", "--json") else "",
)
def test_a_mistake_is_one_line_that_says_what_was_meant(resmlp, args, words):
    one_line(resmlp(*args), *words)


WRONG = [
    ("--run.epochs", "0"),
    ("--run.accumulate", "3"),
    ("--run.ema", "1.5"),
    ("--run.save-minutes", "-1"),
    ("--run.save-minutes", "nan"),
    ("--data.img-size", "9"),
    ("--data.img-size", "0"),
    ("--data.batch-size", "0"),
    ("--data.workers", "-1"),
    ("--data.val-fraction", "1"),
    ("--data.crop-ratio", "0"),
    ("--data.source", "cifar11"),
    ("--data.std", "0", "0", "0"),
    ("--model.patch-size", "0"),
    ("--model.depth", "-1"),
    ("--model.dim", "0"),
    ("--model.mlp-ratio", "0"),
    ("--model.drop-path", "1"),
    ("--model.checkpoint", "nowhere.pth"),
    ("--augment.erasing", "2"),
    ("--augment.mixup", "-1"),
    ("--augment.cutmix", "nan"),
    ("--augment.jitter", "-1"),
    ("--augment.scale", "0.5", "0.1"),
    ("--augment.repeats", "0"),
    ("--augment.policy", "rand", "--augment.magnitudes", "strong"),
    ("--optim.lr", "0"),
    ("--optim.lr", "nan"),
    ("--optim.weight-decay", "-1"),
    ("--optim.momentum", "2"),
    ("--optim.beta2", "1.5"),
    ("--optim.clip", "-1"),
    ("--optim.warmup-epochs", "-1"),
    ("--task.label-smoothing", "2"),
]


@pytest.mark.parametrize("flags", WRONG, ids=" ".join)
def test_a_value_that_cannot_be_is_named_before_anything_is_done(train, tmp_path, flags):
    ended = train(*flags)
    assert ended.code == 2, ended.err[-400:]
    flag = flags[-2] if flags[0] == "--augment.policy" else flags[0]
    assert flag in ended.error or flags[-1] in ended.error
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize("flags", [("--data.batch-size", "0"), ("--data.workers", "-1"), ("--data.crop-ratio", "0")])
def test_eval_checks_its_values_too(resmlp, trained, flags):
    one_line(resmlp("eval", trained, *flags), *flags[:1])


def test_a_size_that_the_patch_does_not_divide_is_answered_with_sizes_that_it_does(train):
    one_line(train("--data.img-size", "9", "14"), "9x14", "patches of 2", "8x14", "10x14")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there(train, resmlp, trained):
    one_line(train("--run.device", "cuda"), "device cuda")
    one_line(resmlp("predict", trained, ".", "--device", "cuda"), "no images")


# the data


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (None, ["no such file or folder"]),
        ([], ["is empty"]),
        (["readme.txt", "a/notes.txt"], ["holds no images", "2 other files"]),
        (["1.png", "2.png"], ["2 images lie directly in"]),
        (["cat/1.png", "cat/2.png"], ["a single class, cat"]),
        (["cat/1.png", "cat/2.png", "dog/notes.txt"], ["without images: dog"]),
        (["train/a/1.png", "train/b/1.png", "val/a/1.png"], ["lacks b"]),
        (["train/a/1.png", "train/b/1.png", "val/a/1.png", "val/b/1.png", "val/c/1.png"], ["lacks c"]),
        (["cat/1.png", "cat/2.png", "dog/1.png"], ["cannot be split: dog"]),
    ],
    ids=[
        "missing",
        "empty",
        "no images",
        "flat",
        "one class",
        "bare class",
        "not in val",
        "not in train",
        "one",
    ],
)
def test_a_tree_that_will_not_do_is_one_line(train, tmp_path, files, words):
    root = tmp_path / "data"
    for file in [] if files is None else ["", *files]:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        root.mkdir(exist_ok=True)
        if file.endswith(".png"):
            color("red", 0).save(root / file)
        elif file:
            (root / file).write_text("no image")
    ended = train("--data.root", root)
    one_line(ended, *words)
    assert not (tmp_path / "run").exists()


def test_no_root_at_all(resmlp):
    one_line(resmlp("train", "folder"), "--data.root is not given")


def divided(root: Path, broken: str | None = None) -> Path:
    """train/ and val/, with one image of train/ or val/ broken."""
    plant(root / "train", count=8)
    plant(root / "val", count=2, seed=50)
    if broken:
        (root / broken).write_bytes(b"\x89PNG and then nothing")
    return root


def test_training_goes_on_past_a_image_that_cannot_be_read(train, tmp_path):
    root = divided(tmp_path / "data", "train/red/03.png")
    ended = train("--data.root", root, "--run.epochs", 2, "--data.workers", 1)
    assert ended.code == 0, ended.err
    assert read_json(tmp_path / "run" / "summary.json")["unreadable"] == {str(root / "train/red/03.png"): 2}


def test_a_image_that_cannot_be_read_is_named_while_training(train, tmp_path):
    ended = train("--data.root", divided(tmp_path / "data", "train/red/03.png"))
    assert "train/red/03.png" in ended.err.replace("\n", "")


def test_a_held_out_image_that_cannot_be_read_is_named(train, tmp_path):
    ended = train("--data.root", divided(tmp_path / "data", "val/red/01.png"))
    assert ended.code == 0
    assert "val/red/01.png" in str(read_json(tmp_path / "run" / "summary.json")["unreadable"])


@pytest.mark.parametrize("broken", ["train/red/03.png", "val/red/01.png"])
@pytest.mark.parametrize("workers", [0, 1])
def test_strict_training_stops_at_a_image_that_cannot_be_read(train, tmp_path, broken, workers):
    root = divided(tmp_path / "data", broken)
    ended = train("--data.root", root, "--data.strict", "--data.workers", workers)
    assert ended.code == 2
    assert str(root / broken) in ended.error


# the run folder and checkpoints


def test_an_out_that_is_a_file_or_cannot_be_made(train, tmp_path):
    (tmp_path / "file").write_text("")
    one_line(train("--out", tmp_path / "file"), "is a file", "--out")
    for place in ("/proc/nowhere", tmp_path / "file" / "below"):
        ended = train("--out", place)
        assert ended.code == 2
        assert str(place) in ended.error


def test_a_run_folder_of_another_recipe_names_the_fields(train, trained):
    ended = train("--out", trained, "--run.epochs", 9, "--optim.lr", 0.5)
    one_line(ended, "run of another recipe", "run.epochs: 8 -> 9", "optim.lr: 0.003 -> 0.5")
    assert "workers" not in ended.error


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": 3}', '{"name": "x", "color": 1}'], ids=repr)
def test_a_recipe_file_that_is_broken(resmlp, tmp_path, text):
    (tmp_path / "recipe.json").write_text(text)
    one_line(resmlp("train", tmp_path / "recipe.json"))


def test_a_recipe_that_a_run_wrote_trains_again(resmlp, trained, tmp_path):
    ended = resmlp("train", trained / "recipe.json", "--run.epochs", 1, "--out", tmp_path / "again")
    assert ended.code == 0, ended.err
    assert read_json(tmp_path / "again" / "recipe.json")["optim"] == read_json(trained / "recipe.json")["optim"]


def test_a_checkpoint_of_another_network_is_refused(train, trained):
    one_line(train("--model.depth", 2, "--model.checkpoint", trained), str(trained), "blocks.1", "another model")


def test_a_checkpoint_of_other_classes_gives_all_but_its_head(resmlp, train, trained, tmp_path):
    two = plant(tmp_path / "two", ("blue", "red"))
    ended = train("--data.root", two, "--model.checkpoint", trained, "--optim.lr", 1e-12, "--run.epochs", 1)
    assert ended.code == 0, ended.err
    old, new = (load(path, "cpu").model.state_dict() for path in (trained, tmp_path / "run"))
    torch.testing.assert_close(new["blocks.0.tokens.fn.weight"], old["blocks.0.tokens.fn.weight"])
    assert new["head.weight"].shape == (2, 64)


def test_the_same_command_again_does_nothing_and_says_the_same(train):
    first, second = train("--json"), train("--json")
    assert json.loads(first.out) == json.loads(second.out)
    assert "all steps are done already" in second.err


def test_a_finished_run_whose_model_is_lost_gets_it_again(train, tmp_path):
    train()
    model = tmp_path / "run" / "model.safetensors"
    before = model.read_bytes()
    model.unlink()
    assert train().code == 0
    assert model.read_bytes() == before


# eval


def accuracy(model: Path, root: Path, classes) -> dict[str, float]:
    """Of each class, image by image."""
    predictor = load(model, "cpu")
    found = {}
    for name in classes:
        said = [predictor.predict(file).label for file in sorted((root / name).iterdir())]
        found[name] = sum(label == name for label in said) / len(said)
    return found


def test_eval_of_a_finished_run_takes_what_it_held_out(resmlp, trained):
    ended = resmlp("eval", trained, "--json", "--data.workers", 0)
    assert ended.code == 0, ended.err
    result, summary = json.loads(ended.out), read_json(trained / "summary.json")
    assert result["images"] == summary["images"]["val"]
    assert result["top1"] == summary["last"][summary["weights"]]["top1"]
    assert result["top5"] == 1.0
    assert (trained / "figures" / "confusion.png").stat().st_size > 0
    assert str(trained / "figures" / "confusion.png") in result["figures"]


def test_eval_at_the_root_it_was_trained_on_is_the_held_out_part_too(resmlp, trained, tree):
    held_out = read_json(trained / "summary.json")["images"]["val"]
    assert json.loads(resmlp("eval", trained, "--data.root", tree, "--json").out)["images"] == held_out


@pytest.mark.parametrize("classes", [("blue", "green", "red"), ("green", "red"), ("red",)], ids=str)
def test_eval_maps_classes_by_name(resmlp, trained, tmp_path, classes):
    root = plant(tmp_path / "data", classes, count=4, seed=90)
    ended = resmlp("eval", trained / "model.safetensors", "--data.root", root, "--json", "--data.workers", 0)
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    expected = accuracy(trained, root, classes)
    assert {name: result["per_class"][name] for name in classes} == expected
    assert {name for name, score in result["per_class"].items() if score is None} == set(COLORS) - set(classes)
    assert result["top1"] == pytest.approx(sum(expected.values()) / len(classes))
    assert result["top1"] > 0.7, "labels are not shifted"


def test_eval_follows_names_where_their_order_is_another(resmlp, trained, tmp_path):
    """A model whose classes are stored in reverse, with its head's rows in reverse as well."""
    from resmlp.models import open_model, save_model

    saved = open_model(str(trained))
    with torch.no_grad():
        for parameter in saved.model.head.parameters():
            parameter.copy_(parameter.flip(0))
    save_model(tmp_path / "reverse", saved.model, saved.classes[::-1], saved.preprocessing)
    root = plant(tmp_path / "data", count=4, seed=90)
    flags = ("--data.root", root, "--json", "--data.workers", 0)
    ours, theirs = (json.loads(resmlp("eval", m, *flags).out) for m in (trained, tmp_path / "reverse"))
    assert theirs["per_class"] == ours["per_class"]
    assert theirs["top1"] == ours["top1"]


def test_eval_on_classes_the_model_does_not_know(resmlp, trained, tmp_path):
    root = plant(tmp_path / "data")
    (root / "red").rename(root / "purple")
    one_line(resmlp("eval", trained, "--data.root", root), "knows no class purple", "blue")


def test_eval_of_a_network_of_another_class_count(resmlp, tree):
    one_line(resmlp("eval", "resmlp_s12", "--data.root", tree), "3 classes in the images, 1000 in the model")


def test_eval_without_anything_to_evaluate_on(resmlp, trained):
    one_line(resmlp("eval", trained / "model.safetensors"), "--data.root")


def test_eval_names_what_it_leaves_out(resmlp, trained, tmp_path):
    root = plant(tmp_path / "data", count=3, seed=90)
    broken = root / "green" / "01.png"
    broken.write_bytes(b"no image")
    model = trained / "model.safetensors"
    result = json.loads(resmlp("eval", model, "--data.root", root, "--json").out)
    assert (result["images"], result["unreadable"]) == (8, [str(broken)])
    people = resmlp("eval", model, "--data.root", root)
    assert people.code == 0
    assert str(broken) in people.out
    one_line(resmlp("eval", model, "--data.root", root, "--data.strict"), broken)


def test_eval_with_another_crop(resmlp, trained, tmp_path):
    flags = ("eval", trained, "--json", "--data.workers", 0)
    held_out = read_json(trained / "summary.json")["images"]["val"]
    assert json.loads(resmlp(*flags, "--data.crop-ratio", 0.5).out)["images"] == held_out


@pytest.mark.parametrize("command", ["eval", "predict"])
def test_an_unfinished_or_foreign_folder_is_no_model(resmlp, tmp_path, command):
    color("red", 0).save(tmp_path / "red.png")
    more = ["red.png"] if command == "predict" else []
    (tmp_path / "folder").mkdir()
    one_line(resmlp(command, "folder", *more), "no model.safetensors in folder", "not a run folder")
    write_json(tmp_path / "folder" / "recipe.json", {})
    one_line(resmlp(command, "folder", *more), "not finished")


@pytest.mark.parametrize("damage", ["cut", "empty", "broken card"])
def test_a_damaged_model_is_one_line(resmlp, trained, tmp_path, damage):
    color("red", 0).save(tmp_path / "red.png")
    for name in ("model.safetensors", "model.json"):
        shutil.copy(trained / name, tmp_path / name)
    file, card = tmp_path / "model.safetensors", tmp_path / "model.json"
    if damage == "broken card":
        card.write_text(card.read_text()[:100])
    else:
        file.write_bytes(file.read_bytes()[: 1000 if damage == "cut" else 0])
    one_line(resmlp("predict", file, "red.png"), "model.")


# predict


def formats(folder: Path) -> dict[str, Image.Image]:
    """Files of every kind a camera or a scanner may write, and the RGB image that is in each."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    gray = Image.fromarray(rng.integers(0, 255, (12, 20), dtype=np.uint8))
    red, upright = color("red", 3, (20, 12)), color("green", 4, (12, 20))
    deep = (np.asarray(gray).astype(np.uint16) * 257).astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter clockwise
    red.convert("CMYK").save(folder / "cmyk.jpg")
    gray.save(folder / "gray.png")
    red.quantize(8).save(folder / "palette.png")
    Image.fromarray(deep).save(folder / "deep.png")
    upright.transpose(Image.Transpose.ROTATE_90).save(folder / "exif.png", exif=exif)
    red.convert("RGBA").save(folder / "rgba.png")
    red.save(folder / "tiff.tif")
    red.save(folder / "UPPER.BMP")
    with Image.open(folder / "cmyk.jpg") as cmyk:
        reference = cmyk.convert("RGB")
    return {
        "cmyk.jpg": reference,
        "gray.png": gray.convert("RGB"),
        "palette.png": red.quantize(8).convert("RGB"),
        "deep.png": gray.convert("RGB"),
        "exif.png": upright,
        "rgba.png": red,
        "tiff.tif": red,
        "UPPER.BMP": red,
    }


def test_predict_reads_every_kind_of_image_as_it_looks(resmlp, trained, tmp_path):
    images = formats(tmp_path / "images")
    ended = resmlp("predict", trained, *(tmp_path / "images" / name for name in images), "--json")
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    assert result["unreadable"] == []
    expected = load(trained, "cpu").logits(list(images.values())).softmax(1)
    for found, name, row in zip(result["predictions"], images, expected, strict=True):
        assert found["file"] == str(tmp_path / "images" / name)
        shares = [found["probabilities"][label] for label in sorted(COLORS)]
        assert shares == pytest.approx(row.tolist(), abs=1e-5), name
        assert found["label"] == sorted(COLORS)[int(row.argmax())]


def test_predict_takes_folders_and_prints_a_line_a_image(resmlp, trained, tree):
    ended = resmlp("predict", trained, tree / "red", tree / "blue" / "00.png", "--top", 2)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert len(lines) == 13
    assert [line.partition(": ")[0] for line in lines[:12]] == [str(p) for p in sorted((tree / "red").iterdir())]
    assert all(len(line.partition(": ")[2].split(", ")) == 2 for line in lines)
    assert sum(": red " in line for line in lines[:12]) > 8
    assert ": blue " in lines[12]


@pytest.mark.parametrize("count", [1, 2])
def test_predict_goes_on_past_broken_files_and_ends_with_2(resmlp, trained, tree, tmp_path, count):
    broken = [tmp_path / f"broken{i}.jpg" for i in range(count)]
    for file in broken:
        file.write_bytes(b"\xff\xd8\xff no image")
    files = (broken[0], tree / "red" / "00.png", *broken[1:], tree / "blue" / "00.png")
    ended = resmlp("predict", trained, *files)
    assert ended.code == 2
    assert [line.split(": ")[0] for line in ended.out.splitlines()] == [str(files[1]), str(files[-1])]
    errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == count
    assert all(str(file) in line for file, line in zip(broken, errors))
    ended = resmlp("predict", trained, *files, "--json")
    assert ended.code == 2
    result = json.loads(ended.out)
    assert result["unreadable"] == [str(file) for file in broken]
    assert [found["file"] for found in result["predictions"]] == [str(files[1]), str(files[-1])]


def test_predict_a_folder_without_images(resmlp, trained, tmp_path):
    (tmp_path / "empty").mkdir()
    one_line(resmlp("predict", trained, "empty"), "no images in empty")


# --json, --debug, and what is a fault of ours


def test_json_is_one_object_on_standard_output_and_nothing_else(resmlp, train, trained, tree):
    commands = {
        "list": lambda: resmlp("list", "--json"),
        "list models": lambda: resmlp("list", "models", "--json"),
        "train": lambda: train("--json"),
        "eval": lambda: resmlp("eval", trained, "--json", "--data.workers", 0),
        "predict": lambda: resmlp("predict", trained, tree, "--json"),
    }
    for name, run in commands.items():
        ended = run()
        assert ended.code == 0, (name, ended.err)
        assert ended.out.count("\n") == 1, name
        assert isinstance(json.loads(ended.out), dict), name


def test_train_json_is_the_summary(train, tmp_path):
    assert json.loads(train("--json").out) == read_json(tmp_path / "run" / "summary.json")


def test_train_without_json_leaves_standard_output_empty(train):
    assert train().out == ""


def test_list_names_every_recipe_and_model(resmlp):
    from resmlp import list_models
    from resmlp.config.seq2seq import SEQ2SEQ

    text = resmlp("list").out
    tables = json.loads(resmlp("list", "--json").out)
    assert [row["name"] for row in tables["recipes"]] == list(RECIPES)
    assert [row["name"] for row in tables["models"]] == [*list_models(), *SEQ2SEQ]
    assert all(name in text for name in (*RECIPES, *list_models(), *SEQ2SEQ))
    assert list(json.loads(resmlp("list", "recipes", "--json").out)) == ["recipes"]


def test_debug_shows_where_a_mistake_was_found(tmp_path, monkeypatch):
    from resmlp.utils.errors import UserError

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        main(["predict", "mixer_s32", "nothing.png", "--debug"])


def test_a_fault_of_ours_is_one_line_and_exit_code_1(resmlp, monkeypatch):
    from resmlp.cli import List

    def fail(self):
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(List, "run", fail)
    ended = resmlp("list")
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert "ZeroDivisionError: two lines" in ended.error
    assert "--debug" in ended.error


def test_ctrl_c_anywhere_is_130(resmlp, monkeypatch):
    from resmlp.cli import List

    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(List, "run", stop)
    assert resmlp("list").code == 130


def test_a_reader_that_leaves_is_no_error():
    """As in `resmlp list | head -1`."""
    command = f"{sys.executable} -m resmlp list --json | head -c 10"
    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, env=os.environ, check=False
    )
    assert ended.returncode == 0
    assert ended.stderr == b""


def shell(line: str) -> subprocess.CompletedProcess:
    """`line` in a shell, `resmlp` in it being ours."""
    text = line.replace("resmlp", f"{sys.executable} -m resmlp")
    return subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["list models --json", "list", "eval --help"])
def test_a_full_disk_is_one_line(command):
    """Whether a print fails or the flush at the end, and Python does not try again when it ends."""
    ended = shell(f"resmlp {command} > /dev/full")
    assert ended.returncode == 2
    assert ended.stderr == "error: cannot write to standard output: No space left on device (see to where it goes)\n"


@pytest.mark.parametrize("command", ["list models --json", "list", "eval --help"])
def test_closed_streams_are_no_fault(command):
    """`>&-`: Python then has None in place of standard output."""
    ended = shell(f"resmlp {command} >&-")
    assert (ended.returncode, ended.stderr) == (0, "")
    ended = shell("resmlp trian 2>&-")
    assert (ended.returncode, ended.stdout) == (2, "")


def test_memory_is_the_users_affair(resmlp, monkeypatch):
    """What to do about it holds for every verb."""
    from resmlp.cli import List

    def fail(self):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 10 bytes")

    monkeypatch.setattr(List, "run", fail)
    ended = resmlp("list")
    assert ended.code == 2
    assert "not enough memory" in ended.error
    assert "a smaller network or batch" in ended.error
    assert "--data.batch-size" not in ended.error


# names that are hostile to a terminal


def test_names_are_printed_as_they_are(resmlp, train, tmp_path):
    """Square brackets and colons are no markup, neither in a broken image's name nor in the run folder's."""
    root = plant(tmp_path / "tree")
    name = "[/x] [bold]y:smile:[red].png"
    (root / "red" / name.replace("/", "-")).write_bytes(b"no image")
    ended = train("--data.root", root, "--out", tmp_path / "odd [b]", "--run.epochs", 2)
    assert ended.code == 0, ended.err
    assert name.replace("/", "-") in ended.err
    assert "odd [b]" in ended.err


def test_a_name_that_is_not_utf8_does_not_stop_a_run(train, tmp_path):
    root = plant(tmp_path / "tree")
    (root / "red" / os.fsdecode(b"bad\xfd.png")).write_bytes(b"no image")
    ended = train("--data.root", root, "--run.epochs", 2)
    assert ended.code == 0, ended.err
    assert any("bad" in name for name in read_json(tmp_path / "run" / "summary.json")["unreadable"])


def test_a_run_that_learned_nothing_yet_may_start_with_other_settings(train):
    ended = train("--optim.lr", "1e30", "--optim.clip", "None")
    assert ended.code == 2
    assert "not finite" in ended.error
    assert train().code == 0
