"""Each endpoint against the network in this process, and each way to send a request."""

import base64
import io
import json

import numpy as np
import pytest
from clients import Together
from PIL import Image

import resmlp
from resmlp.imaging.crop import eval_crop
from resmlp.serving import Client, ServerError, answers, networks, sizes

BOUNDARY = "a-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def form(files: list[tuple[str, bytes]], **fields: object) -> bytes:
    """A body of multipart/form-data, written by hand."""
    parts = [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    parts += [
        f'name="any"; filename="{name}"\r\nContent-Type: image/png\r\n\r\n'.encode() + data for name, data in files
    ]
    front = f"--{BOUNDARY}\r\nContent-Disposition: form-data; ".encode()
    return b"".join(front + part + b"\r\n" for part in parts) + f"--{BOUNDARY}--\r\n".encode()


@pytest.fixture(scope="module")
def expected(folders, png):
    """The probabilities of the plain network for the image."""
    found = resmlp.load(str(folders["plain"]), device="cpu").predict(png)
    return dict(zip(found.labels, found.probabilities))


def test_predict_says_what_the_network_says_however_the_image_is_sent(server, png, expected):
    text = base64.b64encode(png).decode()
    sent = [
        server.post("/v1/predict?model=plain", png),
        server.post("/v1/predict?model=plain", png, "application/octet-stream"),
        server.post("/v1/predict", form([("a.png", png)], model="plain"), FORM),
        server.post_json("/v1/predict", image=text, model="plain"),
        server.post_json("/v1/predict", images=["data:image/png;base64," + text], model="plain"),
    ]
    for answer in sent:
        assert answer.status == 200, answer.body
        (found,) = answer.json["predictions"]
        assert {entry["label"]: entry["probability"] for entry in found["top"]} == pytest.approx(expected, abs=1e-6)
        shares = [entry["probability"] for entry in found["top"]]
        assert shares == sorted(shares, reverse=True)


def test_several_images_are_answered_in_order_under_their_names(server, png):
    dark = io.BytesIO()
    Image.new("RGB", (30, 30)).save(dark, "png")
    files = [("one.png", png), ("/home/me/two.png", dark.getvalue()), ("", png)]
    answer = server.post("/v1/predict", form(files, model="plain", top=1), FORM).json
    assert [found["name"] for found in answer["predictions"]] == ["one.png", "two.png", "image 3"]
    assert answer["predictions"][0]["top"] == answer["predictions"][2]["top"] != answer["predictions"][1]["top"]
    assert all(len(found["top"]) == 1 for found in answer["predictions"])


def test_what_is_seen_is_the_evaluation_crop(server, folders):
    """The share of a ramp that the crop of a wide image shows."""
    ramp = np.tile(np.linspace(0, 255, 300).astype(np.uint8), (100, 1))
    image, file = Image.fromarray(ramp).convert("RGB"), io.BytesIO()
    image.save(file, "png")
    (found,) = server.post("/v1/predict?model=plain", file.getvalue()).json["predictions"]
    left, top, right, bottom = found["seen"]
    crop = np.asarray(eval_crop(image, resmlp.load(str(folders["plain"])).preprocessing))[8, :, 0] / 255
    assert (left, right) == pytest.approx((crop[0], crop[-1]), abs=0.03)
    assert bottom - top == pytest.approx(16 / 17)  # the shorter side becomes 17 pixels


def test_embed_gives_the_features_of_the_network(server, folders, png):
    predictor = resmlp.load(str(folders["mixer"]), device="cpu")
    wanted = predictor.features(predictor.keep(Image.open(io.BytesIO(png)))[None])[0].numpy()
    (found,) = server.post("/v1/embed?model=mixer", png).json["embeddings"]
    np.testing.assert_allclose(found["values"], wanted, atol=1e-5)


def test_a_segmentation_as_png_and_as_runs_is_that_of_the_network(server, folders, png):
    wanted = resmlp.load(str(folders["areas"]), device="cpu").predict(png).labels
    (as_png,) = server.post("/v1/segment", png).json["segmentations"]
    (as_runs,) = server.post("/v1/segment?format=runs", png).json["segmentations"]
    image = Image.open(io.BytesIO(base64.b64decode(as_png["png"])))
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image), wanted)
    flat = [index for index, count in as_runs["runs"] for _ in range(count)]
    np.testing.assert_array_equal(np.reshape(flat, (as_runs["height"], as_runs["width"])), wanted)
    assert {region["index"]: region["share"] for region in as_runs["classes"]} == pytest.approx(
        {int(i): float((wanted == i).mean()) for i in np.unique(wanted)}
    )


def test_a_segmentation_as_a_png_file(server, png):
    answer = server.post("/v1/segment", png, Accept="image/png")
    assert answer.headers["Content-Type"] == "image/png"
    assert Image.open(io.BytesIO(answer.body)).size == (40, 30)


def test_translate_says_what_the_translator_says(server, folders):
    lines = ["one", "", "twenty three"]
    wanted = resmlp.load(str(folders["words"]), device="cpu").translate(lines)
    for answer in (
        server.post_json("/v1/translate", texts=lines),
        server.post("/v1/translate", "\n".join(lines).encode() + b"\n", "text/plain; charset=utf-8"),
    ):
        assert [found["text"] for found in answer.json["translations"]] == wanted
    (one,) = server.post_json("/v1/translate", text="two", beam=1).json["translations"]
    assert one["text"] == resmlp.load(str(folders["words"]), device="cpu").translate(["two"], beam=1)[0]


def test_look_gives_the_row_of_a(server, folders):
    weight = resmlp.load(str(folders["plain"]), device="cpu").model.blocks[1].tokens.fn.weight.detach().numpy()
    found = server.ask("GET", "/v1/look?model=plain&layer=1&row=2&column=3").json
    assert (found["patch"], found["layer"]) == ([2, 3], 1)
    np.testing.assert_allclose(found["weights"], weight[2 * 6 + 3].reshape(4, 6), rtol=1e-5)
    assert found["largest"] == pytest.approx(np.abs(weight).max())


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("model=plain&layer=9&row=0&column=0", 404, "layer 9 of plain does not exist"),
        ("model=plain&row=4&column=0", 404, "plain has 4 x 6 patches: none at 4, 0"),
        ("model=plain&row=-1&column=0", 404, "none at -1, 0"),
        ("model=mixer&row=0&column=0", 404, "model 'mixer' does not look"),
        ("model=plain&row=0", 422, "column"),
        ("model=plain&row=x&column=0", 422, "row is 'x'"),
        ("model=plain", 422, "missing row and column ("),
        ("model=plain&row=1_0&column=0", 422, "row is '1_0'"),
        ("model=plain&row=0&column=%2B1", 422, "column is '+1'"),
        ("model=plain&row=0&column=+1", 422, "column is ' 1'"),
        ("model=plain&row=0&column=0&layer=%D9%A1", 422, "layer is '\u0661'"),
        ("model=plain&row=" + "9" * 5000 + "&column=0", 422, "row is '999"),
    ],
)
def test_where_there_is_no_row(query, status, words, server):
    answer = server.ask("GET", f"/v1/look?{query}")
    assert answer.status == status
    assert words in answer.error


def test_models_says_what_each_network_does(server):
    found = {model["name"]: model for model in server.ask("GET", "/v1/models").json["models"]}
    assert {name: model["operations"] for name, model in found.items()} == {
        "plain": ["predict", "embed", "look"],
        "mixer": ["predict", "embed"],
        "areas": ["segment", "look"],
        "words": ["translate"],
    }
    assert found["plain"]["size"] == [16, 24]
    assert found["mixer"]["sizes"] == [[8, 12], [12, 16], [16, 24], [20, 32], [24, 36], [32, 48]]
    assert (found["areas"]["sizes"], found["words"]["sizes"]) == ([[16, 24]], [])
    assert found["plain"]["layers"][1] == {"number": 1, "name": "layer 1", "grid": [4, 6]}


@pytest.mark.parametrize("size", [(8, 12), (32, 48)])
def test_another_size_is_the_network_moved_to_it(size, server, folders, png):
    moved = resmlp.load(str(folders["plain"]), device="cpu", img_size=size)
    wanted, client = moved.predict(png), Client(server.url)
    (found,) = client.predict([png], model="plain", top=3, size=size)
    assert tuple(one.label for one in found.top) == wanted.labels
    assert [one.probability for one in found.top] == pytest.approx(wanted.probabilities, abs=1e-6)
    features = moved.features(moved.keep(Image.open(io.BytesIO(png)))[None])[0]
    np.testing.assert_allclose(client.embed([png], model="plain", size=size)[0].values, features, atol=1e-5)
    rows, columns = size[0] // 4, size[1] // 4
    weight = moved.model.blocks[1].tokens.fn.weight.detach().numpy()
    row = client.look(rows - 1, 2, layer=1, model="plain", size="{}x{}".format(*size))
    np.testing.assert_allclose(row.weights, weight[(rows - 1) * columns + 2].reshape(rows, columns), rtol=1e-4)
    assert client.predict([png], model="plain")[0].top[0].probability != found.top[0].probability


def test_a_size_is_moved_once_for_many_requests_at_once(start, png, monkeypatch):
    moves, move = [], networks.at_size
    monkeypatch.setattr(networks, "at_size", lambda predictor, size: moves.append(size) or move(predictor, size))
    running = start("plain")
    found = Together(lambda: running.post("/v1/predict?size=24x36", png).json, 8).all()
    assert moves == [(24, 36)]
    assert all(one == found[0] for one in found)
    assert "predictions" in found[0]


def test_sizes_are_offered_as_far_as_their_weights_can_be_kept(monkeypatch, folders):
    predictor = resmlp.load(str(folders["plain"]), device="cpu")
    matrices = 2 * 4 * (24 * 24 + 24)  # A and its bias of both layers, in bytes; 1.25 times the side is 40 patches
    monkeypatch.setattr(sizes, "MOST", matrices * ((6 / 24) ** 2 + (12 / 24) ** 2 + 1 + (40 / 24) ** 2) * 1.01)
    assert sizes.sizes_of(predictor) == ((8, 12), (12, 16), (16, 24), (20, 32))
    assert sizes.sizes_of(resmlp.load(str(folders["plain"]), device="cpu", backend="folded")) == ((16, 24),)


def test_no_answer_names_a_place_on_the_disk(server, folders, png):
    answers_ = [server.ask("GET", path) for path in ("/v1/models", "/openapi.json", "/metrics", "/")]
    answers_ += [server.post("/v1/predict?model=plain", png), server.post("/v1/predict?model=../plain", png)]
    root = str(folders["plain"].parent.parent.parent).encode()
    assert not [answer for answer in answers_ if root in answer.body]


def test_the_client_reads_every_answer(server, png, tmp_path, expected):
    (tmp_path / "a.png").write_bytes(png)
    client = Client(server.url)
    assert client.ready()
    first, second = client.predict([tmp_path / "a.png", png], model="plain", top=2)
    assert first.label == max(expected, key=expected.get)
    assert first.top == second.top
    assert isinstance(first.top[0], answers.Ranked)
    assert len(client.embed([png], model="plain")[0].values) == 12
    (areas,) = client.segment([png])
    assert sum(count for _, count in areas.runs) == areas.width * areas.height == 1200
    assert len(client.translate(["one", "two"])) == 2
    assert len(client.look(1, 2, layer=1, model="plain").weights) == 4
    assert [model.name for model in client.models()] == ["plain", "mixer", "areas", "words"]
    with pytest.raises(ServerError, match="no model 'x'") as refused:
        client.predict([png], model="x")
    assert refused.value.status == 404


def test_the_client_where_nothing_listens():
    client = Client("http://127.0.0.1:1")
    assert not client.ready()
    with pytest.raises(ServerError, match="no answer from"):
        client.models()


def test_the_client_passes_over_fields_of_a_newer_server():
    assert answers.read(answers.Ranked, {"label": "a", "probability": 0.5, "new": 1}) == answers.Ranked("a", 0.5)


def test_the_client_imports_the_standard_library_alone():
    import subprocess
    import sys

    script = "import sys, resmlp.serving.client; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "torch", "PIL", "starlette"} & set(json.loads(loaded.replace("'", '"')))


def test_the_description_has_every_endpoint_and_resolves(server, png):
    document = server.ask("GET", "/openapi.json").json
    assert set(document["paths"]) == {
        f"/v1/{name}" for name in ("predict", "segment", "translate", "embed", "look", "models")
    }
    text = json.dumps(document)
    schemas = document["components"]["schemas"]
    referred = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert referred <= set(schemas)
    (found,) = server.post("/v1/predict?model=plain", png).json["predictions"]
    assert set(found) == set(schemas["Prediction"]["properties"])
    assert server.ask("GET", "/docs").status == 200
