"""Bad inputs for every command: `cases(good)` changes good files and arguments, one thing in each case."""

import json
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

VALUES = (-1, 0, 10**30, 1e400, float("nan"), "x", "\x1b[31m", None, True, [], {}, [-1], [[]], "9" * 300)
"""what a field of a JSON file must not be, or may be"""


MODELS = 6
"""of the first fields of `Good`"""


class Case(NamedTuple):
    """A command whose input is wrong, or unusual."""

    name: str
    make: Callable[[Path], list[str]]
    """writes its files into an empty folder; returns the arguments"""


class Good(NamedTuple):
    """Inputs that work."""

    classifier: Path
    segmenter: Path
    translator: Path
    exported: Path
    exported_segmenter: Path
    exported_translator: Path
    image: Path
    tree: Path
    text: Path

    def commands(self, kind: str, model: str, out: Path) -> list[list[str]]:
        """Commands that read a model of this kind."""
        image, tree = str(self.image), str(self.tree)
        if kind.endswith("translator"):
            return [["translate", model, str(self.text), "--device", "cpu"]]
        predict = [
            ["predict", model, image, "--device", "cpu", *(["--out", str(out)] if kind.endswith("segmenter") else [])]
        ]
        if kind != "classifier":
            return predict
        data = ["--device", "cpu"]
        return [
            *predict,
            ["eval", model, "--data.root", tree, "--data.workers", "0", *data],
            ["embed", model, tree, "--out", str(out / "x.npy"), "--workers", "0", *data],
            ["inspect", model, "--out", str(out)],
        ]


def cases(good: Good) -> list[Case]:
    """All of them, in an order that depends on nothing."""
    return [*json_cases(good), *weight_cases(good), *image_cases(good), *argument_cases(good)]


def json_cases(good: Good) -> Iterator[Case]:
    """One field of one of a model's JSON files is of another type, out of range, missing or unknown."""
    for kind in Good._fields[:MODELS]:
        folder = getattr(good, kind)
        for file in sorted(folder.glob("*.json")):
            content = json.loads(file.read_text(encoding="utf-8"))
            for place in places(content):
                for value in (*VALUES, ...):
                    yield _json_case(good, kind, file, place, value)


def places(content: Any, front: tuple[Any, ...] = (), depth: int = 4) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to each value of a JSON file; of long lists and objects the first two."""
    if front:
        yield front
    children = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for number, (key, value) in enumerate(children):
        if depth and (number < 2 or len(content) < 30):
            yield from places(value, (*front, key), depth - 1)


def _json_case(good: Good, kind: str, file: Path, place: tuple[Any, ...], value: Any) -> Case:
    def make(folder: Path) -> list[str]:
        model = folder / "model"
        shutil.copytree(file.parent, model)
        content = json.loads(file.read_text(encoding="utf-8"))
        owner = content
        for key in place[:-1]:
            owner = owner[key]
        if value is ...:
            del owner[place[-1]]
        else:
            owner[place[-1]] = value
        (model / file.name).write_text(json.dumps(content), encoding="utf-8")
        commands = good.commands(kind, str(model), folder / "out")
        return commands[sum(map(ord, str(place))) % len(commands)]

    shown = "missing" if value is ... else repr(value)[:12]
    return Case(f"{kind}/{file.name}/{'.'.join(map(str, place))}={shown}", make)


def weight_cases(good: Good) -> Iterator[Case]:
    """Weight files that are damaged, or hold something else."""
    whole = (good.classifier / "model.safetensors").read_bytes()
    header = json.loads(whole[8 : 8 + struct.unpack("<Q", whole[:8])[0]])
    name = next(key for key in header if key != "__metadata__")

    def changed(**fields: Any) -> bytes:
        text = json.dumps(header | {name: header[name] | fields}).encode()
        return struct.pack("<Q", len(text)) + text + whole[8 + struct.unpack("<Q", whole[:8])[0] :]

    contents = {
        "empty": b"",
        "zeros": bytes(4096),
        "cut": whole[:-1],
        "cut header": whole[:60],
        "long header": struct.pack("<Q", 2**62) + b"{}",
        "nested": struct.pack("<Q", 200_000) + b"[" * 200_000,
        "many dimensions": changed(shape=[1] * 1000, data_offsets=[0, 4]),
        "huge": changed(shape=[2**62, 4]),
        "negative": changed(shape=[-1]),
        "overlap": changed(data_offsets=[4, 8]),
        "overflow": changed(data_offsets=[0, 2**64 - 1]),
        **{f"type {kind}": changed(dtype=kind) for kind in ("F4", "F8_E8M0", "U16", "C64", "BOOL", "I64", "X", None)},
    }
    for what, content in contents.items():
        for command in range(4):
            yield _file_case(good, f"weights/{what}/{command}", content, command)
    rng = random.Random(0)
    for number in range(40):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(min(len(data), 2000))] = rng.randrange(256)
        yield _file_case(good, f"weights/flipped {number}", bytes(data), number % 4)


def _file_case(good: Good, name: str, content: bytes, command: int) -> Case:
    def make(folder: Path) -> list[str]:
        shutil.copytree(good.classifier, folder / "model")
        (folder / "model" / "model.safetensors").write_bytes(content)
        return good.commands("classifier", str(folder / "model"), folder / "out")[command]

    return Case(name, make)


def image_cases(good: Good) -> Iterator[Case]:
    """Images that are damaged, of another kind, or not there."""
    whole, rng = good.image.read_bytes(), random.Random(1)
    contents = {"empty": b"", "text": b"text", "zeros": bytes(999), "cut": whole[:-30], "header": whole[:30]}
    for number in range(25):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 9)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        contents[f"flipped {number}"] = bytes(data)
    for kind in ("classifier", "segmenter", "exported", "exported_segmenter"):
        for what, content in contents.items():

            def make(folder: Path, kind: str = kind, content: bytes = content) -> list[str]:
                (folder / "x\x1b.png").write_bytes(content)
                bad = good._replace(image=folder / "x\x1b.png")
                return bad.commands(kind, str(getattr(good, kind)), folder / "out")[0]

            yield Case(f"image/{kind}/{what}", make)


def argument_cases(good: Good) -> Iterator[Case]:
    """Arguments of every command that name nothing, or something of another kind."""
    models = [str(model) for model in good[:MODELS]]
    places = ["", " ", ".", "/", "/dev/null", "no\x1b[2Jmodel", "hf-hub:", "timm:", "timm:none", "a" * 5000, "\udcff"]
    tree, image, text = str(good.tree), str(good.image), str(good.text)
    for model in [*models, *places]:
        short = model[-12:]
        for command in (
            *(["predict", model, image], ["predict", model, tree, "--top", "0"], ["predict", model, ""]),
            *(["eval", model, "--data.root", "nowhere"], ["eval", model, "--data.root", image, "--protocol", "x"]),
            *(["embed", model, image, "--out", "x.npy"], ["embed", model, tree, "--out", "x"], ["embed", model, tree]),
            *(["translate", model, image], ["translate", model, tree], ["translate", model, text, "--beam", "0"]),
            *(["export", model, "--to", "pickle"], ["compress", model, "--to", "x"], ["inspect", model, "--x", "1"]),
            *(["profile", model, "--batch", "-1"], ["data", "check", model, "--workers", "0"], ["push", model]),
        ):
            yield Case(f"arguments/{short}/{' '.join(command)[:9]}", lambda folder, command=command: command)
    for field in ("--data.root", "--data.batch-size", "--optim.lr", "--run.epochs", "--model.dim", "--data.img-size"):
        for value in ("-1", "0", "x", "1e400", "nan", "9" * 400, "", "\x1b"):
            yield Case(
                f"train/{field}={value[:9]}",
                lambda folder, a=(field, value): ["train", "folder", *a, "--out", str(folder / "run")],
            )
