"""Weight files: hostile, broken or of another model. Each is refused in words, and no code in it is ever run."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from resmlp.config.preprocessing import Preprocessing
from resmlp.models import create_model, load_into, open_model, read_weights, save_model
from resmlp.models.resize import resize
from resmlp.utils.errors import UserError

TINY = {"dim": 8, "depth": 2, "patch_size": 4, "img_size": 8, "num_classes": 5}


def tiny(**changes):
    return create_model("resmlp_s12", **TINY | changes)


class Evil:
    """Touches a file when unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def dump_plain(value, file):
    with file.open("wb") as out:
        pickle.dump(value, out)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ""])
@pytest.mark.parametrize("write", [torch.save, dump_plain], ids=["torch.save", "pickle.dump"])
@pytest.mark.parametrize("nested", [False, True])
def test_code_in_a_pickle_is_refused_and_not_run(write, suffix, nested, tmp_path):
    marker, file = tmp_path / "executed", tmp_path / f"weights{suffix}"
    write({"model": {"stem.proj.weight": Evil(marker)}} if nested else Evil(marker), file)
    with pytest.raises(UserError, match="weights"):
        read_weights(file)
    assert not marker.exists(), "the file's code was run"


def test_the_trap_itself_works(tmp_path):
    pickle.loads(pickle.dumps(Evil(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


def test_a_pickle_named_safetensors_is_refused(tmp_path):
    marker, file = tmp_path / "executed", tmp_path / "weights.safetensors"
    dump_plain(Evil(marker), file)
    with pytest.raises(UserError, match="cannot read"):
        read_weights(file)
    assert not marker.exists()


def write_files(folder):
    """Two files of weights, and what BROKEN names below."""
    state = tiny().state_dict()
    save_file(state, folder / "good.safetensors")
    torch.save(state, folder / "good.pth")
    whole, pth = (folder / "good.safetensors").read_bytes(), (folder / "good.pth").read_bytes()
    contents = {
        "empty.safetensors": b"",
        "cut.safetensors": whole[: len(whole) // 2],
        "cut-header.safetensors": whole[:20],
        "text.safetensors": b"these are no weights, but a line of text\n" * 10,
        "huge-header.safetensors": b"\xff" * 8 + whole[8:],
        "empty.pth": b"",
        "cut.pth": pth[: len(pth) // 2],
        "text.pth": b"these are no weights\n",
        "image.pth": b"\x89PNG\r\n\x1a\n" + bytes(100),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    torch.save([torch.zeros(2)], folder / "list.pth")
    torch.save(torch.zeros(2), folder / "tensor.pth")
    torch.save({"a": torch.zeros(2)}, folder / "other.pth")
    torch.save({}, folder / "nothing.pth")
    torch.save({0: torch.zeros(2), 1: torch.zeros(2)}, folder / "numbered.pth")
    torch.save({"model": {0: torch.zeros(2)}}, folder / "numbered-inside.pth")
    torch.save(dict(state) | {"head.weight": torch.tensor(1.0)}, folder / "scalar-head.pth")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights")
    write_files(path)
    return path


BROKEN = [
    "empty.safetensors",
    "cut.safetensors",
    "cut-header.safetensors",
    "text.safetensors",
    "huge-header.safetensors",
    "missing.safetensors",
    "empty.pth",
    "cut.pth",
    "text.pth",
    "image.pth",
    "list.pth",
    "tensor.pth",
    "other.pth",
    "nothing.pth",
    "numbered.pth",
    "numbered-inside.pth",
    "scalar-head.pth",
    "missing.pth",
]


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named(name, folder):
    with pytest.raises(UserError, match=name.replace(".", r"\.")) as error:
        tiny(num_classes=None, checkpoint=folder / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["good.safetensors", "good.pth"])
def test_whole_files_load(name, folder):
    assert read_weights(folder / name).num_classes == 5


def test_a_folder_means_its_model_safetensors(tmp_path):
    model = tiny()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    again = tiny(checkpoint=str(tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values()))


CIRCLE: dict = {}
CIRCLE["model"] = CIRCLE
UNUSABLE = {
    "sparse": lambda state: {key: tensor.to_sparse() for key, tensor in state.items()},
    "quantized": lambda state: {key: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8) for key, t in state.items()},
    "without values": lambda state: {key: tensor.to("meta") for key, tensor in state.items()},
    "int32": lambda state: {key: (100 * tensor).int() for key, tensor in state.items()},
    "complex64": lambda state: {key: tensor.to(torch.complex64) for key, tensor in state.items()},
    "not finite": lambda state: state | {"norm.beta": torch.full((8,), float("nan"))},
    "empty": lambda state: state | {"embed.patches.proj.weight": torch.zeros(0, 3, 4, 4)},
    "head.bias": lambda state: {key: tensor for key, tensor in state.items() if key != "head.bias"},
    "dialect": lambda state: CIRCLE,
    "scalar": lambda state: {"model": state, "best": np.float64(0.5)},
}


@pytest.mark.parametrize("why", UNUSABLE)
def test_tensors_that_no_network_computes_with_are_refused(why, tmp_path):
    torch.save(UNUSABLE[why](dict(tiny().state_dict())), tmp_path / "weights.pth")
    with pytest.raises(UserError, match="weights.pth") as error:
        open_model(tmp_path / "weights.pth")
    assert why.split()[0] in str(error.value)


@pytest.mark.parametrize("name", ["UP.SAFETENSORS", "weights", "weights.pth", "weights.npz"])
def test_bytes_say_what_a_file_is(name, tmp_path):
    save_file(tiny().state_dict(), tmp_path / name)
    assert read_weights(tmp_path / name).num_classes == 5


@pytest.mark.parametrize("name", ["x" * 300 + ".pth", "x" * 300 + "/a.pth", "", " ", "a\0b"])
def test_no_name_is_too_strange_to_be_told_that_nothing_is_there(name):
    with pytest.raises(UserError):
        open_model(name)


def test_a_file_called_after_published_weights_is_known_as_those(tmp_path):
    state = create_model("mixer_b16", num_classes=11221).state_dict()
    (tmp_path / "mixer_b16_224.miil_in21k").mkdir()
    save_file(state, tmp_path / "mixer_b16_224.miil_in21k" / "model.safetensors")
    saved = open_model(tmp_path / "mixer_b16_224.miil_in21k")
    assert (saved.preprocessing.mean, saved.preprocessing.interpolation) == ((0.0, 0.0, 0.0), "bilinear")
    assert len(saved.classes) == 11221


def test_a_run_called_after_published_weights_is_still_its_own(tmp_path):
    folder = tmp_path / "resmlp_s12.fb_dino"
    save_model(folder, tiny(), tuple("abcde"), Preprocessing((8, 8)))
    assert open_model(folder).classes == tuple("abcde")
    assert read_weights(folder).num_classes == 5


def test_features_called_after_published_weights_have_no_classifier(tmp_path, capsys):
    state = create_model("resmlp_s12", img_size=32).state_dict()
    save_file(state, tmp_path / "resmlp_12_224.fb_dino.safetensors")
    assert read_weights(tmp_path / "resmlp_12_224.fb_dino.safetensors").num_classes == 0


def test_a_card_that_claims_a_giant_is_refused_before_it_is_built(tmp_path):
    model = tiny()
    save_model(tmp_path, model, (), Preprocessing((8, 8)))
    card = json.loads((tmp_path / "model.json").read_text())
    card["model"]["architecture"] |= {"dim": 16384, "depth": 64}
    (tmp_path / "model.json").write_text(json.dumps(card))
    with pytest.raises(UserError, match="16384"):
        open_model(tmp_path)


# what does not fit


@pytest.fixture
def saved(tmp_path):
    file = tmp_path / "weights.safetensors"
    save_file(tiny().state_dict(), file)
    return str(file)


@pytest.mark.parametrize(
    ("changes", "key", "theirs", "ours", "hint"),
    [
        ({"dim": 16}, "embed.patches.proj.weight", (8, 3, 4, 4), (16, 3, 4, 4), "another model"),
        ({"mlp_ratio": 2.0}, "blocks.0.channels.fn.fc1.weight", (32, 8), (16, 8), "another model"),
    ],
    ids=["width", "hidden"],
)
def test_a_shape_that_differs_is_named_with_both_shapes(saved, changes, key, theirs, ours, hint):
    with pytest.raises(UserError) as error:
        tiny(**changes, checkpoint=saved)
    for part in (saved, key, str(theirs), str(ours), hint):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"depth": 3}, "blocks.2.tokens.norm.alpha"),
        ({"depth": 1}, "blocks.1."),
        ({"norm": "layernorm"}, "blocks.0.tokens.norm.weight"),
        ({"mixer": "none"}, "blocks.0.tokens."),
        ({"pos_embed": True}, "embed.position.embedding"),
    ],
    ids=["deeper", "shallower", "norm", "mixer", "position"],
)
def test_a_key_too_many_or_too_few_is_named(saved, changes, key):
    with pytest.raises(UserError, match=key.replace(".", r"\.")):
        tiny(**changes, checkpoint=saved)


def test_a_refused_load_leaves_the_network_as_it_was(saved):
    model = tiny(depth=3)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(UserError):
        load_into(model, read_weights(saved))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


# heads


def test_the_checkpoint_says_how_many_classes(saved):
    assert tiny(num_classes=None, checkpoint=saved).head.out_features == 5


def test_another_size_is_interpolated_with_a_notice(saved, capsys):
    model, own = tiny(img_size=16, checkpoint=saved), read_weights(saved).state["blocks.0.tokens.fn.weight"]
    key = "blocks.0.tokens.fn.weight"
    expected = resize({key: own}, model.config.architecture, (2, 2), (4, 4))[key]
    assert torch.equal(model.blocks[0].tokens.fn.weight, expected)
    assert "from 2x2 to 4x4 tokens" in capsys.readouterr().err


def test_another_class_count_gets_a_new_head_and_a_notice(saved, capsys):
    model = tiny(num_classes=7, checkpoint=saved)
    assert model.head.out_features == 7
    assert torch.equal(model.norm.alpha, read_weights(saved).state["norm.alpha"])
    note = capsys.readouterr().err
    assert note.count("\n") == 1
    assert all(part in note for part in (saved, "7 classes", "5"))


def test_no_classes_drops_the_head(saved):
    images = torch.randn(2, 3, 8, 8)
    full, features = tiny(checkpoint=saved), tiny(num_classes=0, checkpoint=saved)
    assert torch.equal(features(images), full.forward_features(images).mean(dim=1))


def test_swap_head_keeps_the_trunk_and_a_fresh_head(saved):
    model, weights = tiny(num_classes=9), read_weights(saved)
    head = model.head.weight.clone()
    load_into(model, weights, swap_head=True)
    assert torch.equal(model.head.weight, head)
    assert torch.equal(model.norm.alpha, weights.state["norm.alpha"])
    assert torch.equal(model.blocks[1].tokens.fn.weight, weights.state["blocks.1.tokens.fn.weight"])


def test_swap_head_keeps_a_head_that_fits(saved):
    model, weights = tiny(), read_weights(saved)
    load_into(model, weights, swap_head=True)
    assert torch.equal(model.head.weight, weights.state["head.weight"])


def test_swap_head_from_weights_without_one(tmp_path):
    save_file(tiny(num_classes=0).state_dict(), tmp_path / "features.safetensors")
    model = tiny()
    head = model.head.weight.clone()
    load_into(model, read_weights(tmp_path / "features.safetensors"), swap_head=True)
    assert torch.equal(model.head.weight, head)
