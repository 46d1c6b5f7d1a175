"""The files of `push`: timm and transformers build the same network from them, and no name breaks the model card."""

import copy
import functools
import json
import re

import pytest
import timm
import torch
import yaml
from markdown_it import MarkdownIt
from PIL import Image
from safetensors.torch import load_file

import resmlp.timm  # noqa: F401  registers the names of resmlp
from resmlp.config.preprocessing import Preprocessing
from resmlp.config.pretrained import PUBLISHED
from resmlp.exporters import publish
from resmlp.exporters.provenance import PublishedProvenance, RunProvenance, escape
from resmlp.exporters.publish import write_for_hub
from resmlp.inference import load
from resmlp.models import Saved, create_model, save_model
from resmlp.utils.errors import UserError, printable
from resmlp.utils.files import write_json

SMALL = {"dim": 24, "depth": 2, "patch_size": 8, "heads": 2}
NETWORKS = {
    "timm's own": {"name": "resmlp_s12", "img_size": (32, 48)},
    "timm's own mixer": {"name": "mixer_s32", "img_size": (64, 96), "token_hidden": 37, "mlp_ratio": 2.5},
    "cifar": {"name": "resmlp_cifar", "img_size": 32},
    "small mixer": {"name": "mixer_s16", "img_size": (16, 24), **SMALL},
    "class-mlp": {"name": "resmlp_s12_classmlp", "img_size": 16, **SMALL},
    "deit": {"name": "deit_s", "img_size": (16, 24), **SMALL},
    "ablation": {"name": "resmlp_s12_sepconv", "norm": "batchnorm", "residual": "post", "scale": "affine", **SMALL},
}
TIMMS = {"timm's own": "resmlp_12_224", "timm's own mixer": "mixer_s32_224"}
CLASSES = ("cat", "dog", "żółw")


@pytest.fixture(scope="module", autouse=True)
def no_initialization():
    """Skip the draws that random weights or loaded ones replace: they are most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("trunc_normal_", "kaiming_uniform_", "xavier_uniform_", "uniform_"):
            patch.setattr(torch.nn.init, name, lambda tensor, *args, **kwargs: tensor)
        yield


def make(folder, classes=CLASSES, **options):
    """A run folder with a model only, all its tensors random."""
    model = create_model(num_classes=len(classes), **({"img_size": 16} | options)).eval()
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.endswith("running_var"):
                tensor.uniform_(0.5, 2)
            elif tensor.is_floating_point() and tensor.ndim > 1:  # outputs of order one after many layers
                tensor.uniform_(-1, 1).div_(tensor[0].numel() ** 0.5)
            elif tensor.is_floating_point():
                tensor.uniform_(0.1, 1)
    size = model.config.size
    save_model(folder, model, classes, Preprocessing(size, 0.8, "bilinear", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    return model


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """One of `NETWORKS`, its run folder and the files of `push`, each made once."""

    @functools.cache
    def made(name):
        place = tmp_path_factory.mktemp("network")
        return make(place / "run", **NETWORKS[name]), place / "run", pushed(place / "run", place)

    return made


@pytest.fixture
def run(tmp_path):
    """A small run folder with the files of a training."""
    folder = tmp_path / "secret" / "run"
    make(folder, name="resmlp_digits", **SMALL)
    recipe = {
        "name": "folder",
        "model": {"name": "resmlp_digits", "checkpoint": "/home/jane/secret/before", "drop_path": 0.0, "dim": 24},
        "data": {"source": "folder", "root": "/home/jane/secret/pets", "img_size": [16]},
        "run": {"seed": 7, "epochs": 3, "ema": None},
    }
    last = {"raw": {"top1": 0.25, "top5": 1.0, "weights": "raw", "epoch": 3, "step": 9}, "ema": {"top1": 0.125}}
    summary = {
        "top1": 0.75,
        "best": {"top1": 0.75},
        "last": last,
        "weights": "raw",
        "seconds": 90.0,
        "device": "cpu",
        "versions": {"torch": "2.15.0"},
        "unreadable": {"/home/jane/secret/pets/x.png": 1},
        "images": {"train": 3000, "val": 1234},
    }
    write_json(folder / "recipe.json", recipe)
    write_json(folder / "summary.json", summary)
    (folder / "figures").mkdir()
    for name in ("curves.png", "predictions.png", "predictions-pets.png", "notes.txt"):
        (folder / "figures" / name).write_bytes(b"drawn")
    return folder


def pushed(run, tmp_path, license=None):
    write_for_hub(str(run), tmp_path / "hub", "me/net", license)
    return tmp_path / "hub"


def head_of(readme):
    empty, head, text = readme.split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(head), text


# the network


@pytest.mark.isa
@pytest.mark.parametrize("name", NETWORKS)
def test_timm_builds_the_same_network(name, network):
    model, _, folder = network(name)
    of_timm = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert type(of_timm).__name__ == ("MlpMixer" if name in TIMMS else "TimmTrunk")
    assert of_timm.pretrained_cfg["architecture"] == TIMMS.get(name, NETWORKS[name]["name"])
    images, exact = torch.randn(2, 3, *model.config.size).double(), copy.deepcopy(model).double()
    with torch.no_grad():
        torch.testing.assert_close(of_timm.double()(images), exact(images), atol=1e-11, rtol=0)
    data = timm.data.resolve_model_data_config(of_timm)
    assert data["input_size"] == (3, *model.config.size)
    assert (data["crop_pct"], data["interpolation"], data["crop_mode"]) == (0.8, "bilinear", "center")
    assert (list(data["mean"]), list(data["std"])) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    assert of_timm.pretrained_cfg["label_names"] == list(CLASSES)


@pytest.mark.parametrize("name", ["timm's own", "small mixer", "deit"])
def test_transformers_builds_the_same_network(name, network):
    transformers = pytest.importorskip("transformers")
    model, run, folder = network(name)
    of_transformers = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    assert of_transformers.config.id2label == dict(enumerate(CLASSES))
    image = Image.effect_noise((70, 90), 60).convert("RGB")
    images, exact = torch.randn(2, 3, *model.config.size).double(), copy.deepcopy(model).double()
    with torch.no_grad():
        logits = of_transformers(**processor(image, return_tensors="pt")).logits
        outputs = of_transformers.double()(pixel_values=images).logits
        torch.testing.assert_close(outputs, exact(images), atol=1e-11, rtol=0)
    torch.testing.assert_close(logits, load(run, "cpu").logits([image]), atol=1e-4, rtol=1e-4)


def test_features_without_a_classifier(tmp_path):
    make(tmp_path / "run", classes=(), **NETWORKS["cifar"])
    folder = pushed(tmp_path / "run", tmp_path)
    assert timm.create_model(f"local-dir:{folder}", pretrained=True).num_classes == 0
    head, text = head_of((folder / "README.md").read_text())
    assert head["pipeline_tag"] == "image-feature-extraction"
    assert "AutoModelForImageClassification" not in text
    assert r"| classes | none\: the output is features |" in text
    code = text.split("```python\n")[1].split("```")[0]
    names = {}
    exec(code.split("print(")[0], names)
    assert {"Image", "resmlp"} <= names.keys(), "the snippet imports them"


# the folder


def test_files(run, tmp_path):
    files = write_for_hub(str(run), tmp_path / "hub", "me/net")
    assert files == ["README.md", "config.json", "figures/curves.png", "model.safetensors"]
    assert sorted(str(p.relative_to(tmp_path / "hub")) for p in (tmp_path / "hub").rglob("*") if p.is_file()) == files


def test_no_local_path_is_published(run, tmp_path):
    folder = pushed(run, tmp_path)
    for file in ("README.md", "config.json", "model.safetensors"):
        content = (folder / file).read_bytes()
        assert b"jane" not in content
        assert b"secret" not in content
        assert str(tmp_path).encode() not in content


@pytest.mark.parametrize("file", ["config.json", "README.md"])
def test_a_full_disk_leaves_nothing(file, run, tmp_path, monkeypatch):
    def full(path, *_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publish, "write_json" if file == "config.json" else "write_text", full)
    with pytest.raises(UserError, match="No space left"):
        pushed(run, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


@pytest.mark.parametrize("place", ["a file", "a folder"])
def test_an_existing_folder_is_not_changed(place, run, tmp_path):
    if place == "a folder":
        (tmp_path / "hub").mkdir()
    else:
        (tmp_path / "hub").write_text("mine")
    with pytest.raises(UserError, match="hub exists already"):
        pushed(run, tmp_path)


@pytest.mark.parametrize("license", ["", "Apache 2", "x: y", "mit\nlicense: gpl", "a" * 65])
def test_invalid_licenses(license, run, tmp_path):
    with pytest.raises(UserError, match="is not a license identifier"):
        pushed(run, tmp_path, license)


# the card


def test_the_head(run, tmp_path):
    head, _ = head_of((pushed(run, tmp_path, "mit") / "README.md").read_text())
    (result,) = head.pop("model-index")
    assert head == {
        "library_name": "timm",
        "license": "mit",
        "pipeline_tag": "image-classification",
        "tags": ["resmlp", "timm", "transformers"],
    }
    assert result["name"] == "net"
    (of_data,) = result["results"]
    assert of_data["dataset"]["name"] == "folder: pets"
    # scores of the weights in the folder, not of the best evaluation
    assert {metric["type"]: metric["value"] for metric in of_data["metrics"]} == {"top1": 0.25, "top5": 1.0}


LINES = (
    r"| recipe | folder |",
    r"| data | folder\: pets |",
    r"| started from | before |",
    r"| seed | 7 |",
    r"| time | 1.5 minutes |",
    r"| versions | torch 2.15.0 |",
    r"Fractions, on the validation set (1,234 images) of folder\: pets:",
    r"| top1 | 0.2500 |",
    r"| data.root | pets |",
    r"| model.dim | 24 |",
    r"![curves](figures/curves.png)",
    r"https://arxiv.org/abs/2105.03404",
    r'print(resmlp.load("hf-hub:me/net").predict("image.jpg").labels)',
    r"import resmlp.timm",
)


def test_the_text(run, tmp_path):
    text = (pushed(run, tmp_path) / "README.md").read_text()
    assert [line for line in LINES if line not in text] == []


def test_parameters_are_those_in_the_file(run, tmp_path):
    folder = pushed(run, tmp_path)
    count = sum(tensor.numel() for tensor in load_file(folder / "model.safetensors").values())
    assert f"| parameters | {count:,} |" in (folder / "README.md").read_text()


def test_unknown_facts_are_not_stated(tmp_path):
    make(tmp_path / "run", classes=("a", "b"), name="resmlp_digits", **SMALL)
    head, text = head_of((pushed(tmp_path / "run", tmp_path) / "README.md").read_text())
    assert "license" not in head
    assert not {"model-index", "model_name"} & head.keys()
    for line in ("| data | not stated |", "| seed | not stated |", "Scores: not stated.", "## License"):
        assert line in text
    assert "The license of these weights is not stated" in text


NASTY = (
    "",
    "# x",
    "--- ",
    "- [x] item",
    "a | b",
    "<script>alert(1)</script>",
    "![i](http://x/y.png)",
    "`code`",
    "*star* _under_",
    "line\nbreak\r\n\n## more",
    "key: value",
    "$x$ \\ ~~no~~",
    "&lt;",
    "\u202eright to left",
    "\udc80",
    "last",
)


def test_hostile_names_do_not_break_the_card(run, tmp_path):
    make(run, classes=NASTY, name="resmlp_digits", **SMALL)
    recipe = json.loads((run / "recipe.json").read_text())
    recipe["data"]["root"] = "/home/jane/--- \n# pets: | <b>"
    write_json(run / "recipe.json", recipe)
    write_json(
        run / "summary.json", {"last": {"raw": {"# x | y: <b>\n---": 0.5}}, "weights": "raw", "device": "# x\n---\n"}
    )
    readme = (pushed(run, tmp_path, "mit") / "README.md").read_text()
    head, text = head_of(readme)
    assert head["license"] == "mit"
    assert head["model-index"][0]["results"][0]["metrics"][0]["name"] == "# x | y: <b>\n---"
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    inline = [token for token in tokens if token.type == "inline"]
    headings = [b.content for a, b in zip(tokens, tokens[1:]) if a.type == "heading_open"]
    assert headings == ["net", "Use", "Training", "Results", "Figures", "Recipe", "License"]
    kinds = {token.type for token in tokens} | {child.type for token in inline for child in token.children}
    assert not kinds & {"html_block", "html_inline", "hr", "blockquote_open", "s_open", "em_open", "strong_open"}
    shown = next(token for token in inline if token.content.startswith("Classes: "))
    literal = "".join(child.content for child in shown.children)
    assert literal == "Classes: " + ", ".join(printable(" ".join(name.split())) for name in NASTY)


@pytest.mark.parametrize("text", ["cat", "German shepherd", "żółw", "(a, b)", "it's 1.5 - 2"])
def test_plain_names_are_not_changed(text):
    assert escape(text) == text


def test_only_the_first_classes_are_listed(tmp_path):
    make(tmp_path / "run", classes=tuple(f"c{i}" for i in range(2000)), name="resmlp_digits", **SMALL)
    text = (pushed(tmp_path / "run", tmp_path) / "README.md").read_text()
    assert "c49, ... (2,000 in all)" in text
    assert "c50" not in text


@pytest.mark.parametrize("file", ["recipe.json", "summary.json"])
@pytest.mark.parametrize("content", ["", "[]", "null", "{", "3", "\x00"], ids=repr)
def test_a_damaged_file_is_named(file, content, run, tmp_path):
    (run / file).write_text(content)
    with pytest.raises(UserError, match=re.escape(file)):
        pushed(run, tmp_path)
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize("value", [None, 3, "x", [], {}, {"weights": []}, float("nan")], ids=repr)
@pytest.mark.parametrize("key", ["last", "weights", "seconds", "versions", "images", "device"])
def test_invalid_values_are_not_stated(key, value, run):
    summary = json.loads((run / "summary.json").read_text())
    write_json(run / "summary.json", summary | {key: value})
    recipe = json.loads((run / "recipe.json").read_text())
    write_json(run / "recipe.json", recipe | {"model": value, "data": value})
    provenance = RunProvenance.read(run)
    sections = (provenance.training(), provenance.results(), provenance.recipe(), provenance.measured_on)
    assert all(isinstance(text, str) for text in sections)
    assert ("0.2500" in provenance.results()) == (key not in ("last", "weights")), "valid values are still stated"


# published weights


def test_all_published_weights_have_authors_and_data():
    for name, weights in PUBLISHED.items():
        text = PublishedProvenance(weights).training()
        assert f"<{weights.source}>" in text, name
        assert f"<https://huggingface.co/timm/{weights.repo.removeprefix('timm/')}>" in text


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "resmlp_s12.fb_distilled_in1k",
            [
                "Touvron et al.",
                "https://arxiv.org/abs/2105.03404",
                "| data | ImageNet-1k, distilled from RegNetY-16GF |",
                "| started from | random weights |",
                "<https://dl.fbaipublicfiles.com/deit/resmlp_12_dist.pth>",
                "| top1 | 0.778 |",  # Table 3 of the paper, with the next two
                "| top1 (ReaL) | 0.846 |",
                "| top1 (V2) | 0.66 |",
                "Table 3 of the paper",
                "Classes: tench (n01440764), goldfish (n01443537)",
            ],
        ),
        (
            "mixer_b16.miil_in21k_ft_in1k",
            [
                "Ridnik et al.",
                "https://arxiv.org/abs/2104.10972",
                "https://arxiv.org/abs/2105.01601",
                "| data | ImageNet-21k-P, then ImageNet-1k |",
                "| top1 | 0.82306 |",
                "measured by timm",
            ],
        ),
        ("resmlp_s12.fb_dino", [r"ImageNet-1k without labels (DINO)", "Scores: not stated."]),
    ],
)
def test_published_weights_credit_their_authors(name, lines, tmp_path, monkeypatch):
    weights = PUBLISHED[name]
    model = create_model(weights.model, num_classes=2 if weights.num_classes else 0, img_size=16, depth=1, dim=8)
    classes = ("n01440764", "n01443537") if weights.num_classes else ()
    words = ("tench (n01440764)", "goldfish (n01443537)")[: len(classes)]
    saved = Saved(model.eval(), classes, weights.preprocessing, words=words)
    monkeypatch.setattr(publish, "open_model", lambda source: saved)
    write_for_hub(name, tmp_path / "hub", "me/copy", weights.license)
    head, text = head_of((tmp_path / "hub" / "README.md").read_text())
    assert [line for line in lines if line.replace(":", r"\:") not in text and line not in text] == []
    assert ("model-index" in head) == (weights.top1 is not None)
    assert head["license"] == "apache-2.0"
    assert len(MarkdownIt("gfm-like", {"linkify": False}).parse(text)) > 20
