"""The loss against a loop, the label of a picture against the network itself, and what a run keeps."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from resmlp.config import Augment, Model, Optim
from resmlp.data import normalise
from resmlp.errors import UserError
from resmlp.models import open_segmenter
from resmlp.objectives import Segment as Settings
from resmlp.recipes import RECIPES
from resmlp.tasks import Place, Segment, make_task
from resmlp.tasks.labeller import Labeller
from resmlp.tasks.segment import pixel_loss

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))  # for `painted`

from painted import CLASSES, PARTS, plant


@pytest.fixture(scope="session")
def recipe(tmp_path_factory):
    base = RECIPES["scenes"]
    root = plant(tmp_path_factory.mktemp("task") / "painted")
    return replace(
        base,
        task=Settings(width=8),
        model=Model("resmlp_digits", patch_size=4, dim=8, depth=2),
        data=replace(base.data, source="masks", root=str(root), img_size=(16, 24), batch_size=2),
    )


@pytest.fixture
def task(recipe) -> Segment:
    return make_task(recipe, Place())


def test_the_loss_counts_each_labelled_pixel_once():
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5)).byte()
    labels[torch.rand(labels.shape) < 0.4] = 255
    terms = [
        -logits[b, :, y, x].log_softmax(0)[int(labels[b, y, x])]
        for b, y, x in np.ndindex(2, 4, 5)
        if labels[b, y, x] != 255
    ]
    assert pixel_loss(logits, labels).item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-5)


def test_a_batch_that_counts_for_nothing_moves_nothing():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = pixel_loss(logits, torch.full((1, 4, 4), 255).byte())
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().sum() == 0


def test_the_auxiliary_decoder_has_its_weight(task, recipe):
    batch = next(iter(task.batches(0, 0)))
    losses = task.loss(task.model.train(), batch, 0)
    assert losses["loss"].item() == pytest.approx((losses["main"] + 0.4 * losses["auxiliary"]).item())
    alone = make_task(replace(recipe, task=Settings(width=8, auxiliary=0)), Place())
    assert list(alone.loss(alone.model.train(), batch, 0)) == ["loss"]
    assert alone.model.auxiliary is None


@pytest.mark.parametrize("size", [(16, 24), (9, 11)])
def test_a_picture_of_one_window_is_labelled_by_one_pass(task, size):
    model, pixels = task.model.eval(), torch.randint(0, 256, (3, *size)).byte()
    ours = Labeller(model, task.card, torch.device("cpu")).read(Image.fromarray(pixels.permute(1, 2, 0).numpy()))
    p = task.card.preprocessing
    window = torch.tensor([round(255 * mean) for mean in p.mean]).byte()[:, None, None].repeat(1, 16, 24)
    window[:, : size[0], : size[1]] = pixels
    with torch.no_grad():
        logits = model(normalise(window[None], p.mean, p.std))[0, :, : size[0], : size[1]]
    assert np.array_equal(ours, logits.argmax(0).numpy())


def test_the_whole_picture_is_resized_to_the_window_and_its_logits_back(recipe):
    task = make_task(replace(recipe, task=replace(recipe.task, whole=True)), Place())
    picture = Image.fromarray(torch.randint(0, 256, (30, 40, 3)).byte().numpy())
    ours = Labeller(task.model.eval(), task.card, torch.device("cpu")).read(picture)
    small = torch.from_numpy(np.array(picture.resize((24, 16), Image.Resampling.BILINEAR))).permute(2, 0, 1)
    p = task.card.preprocessing
    with torch.no_grad():
        logits = F.interpolate(task.model(normalise(small[None], p.mean, p.std)), (30, 40), mode="bilinear")[0]
    chosen = logits.gather(0, torch.from_numpy(ours).long()[None])[0]
    assert torch.allclose(chosen, logits.max(0).values, atol=1e-5)


def test_ranks_see_every_picture_once(recipe):
    tasks = [make_task(recipe, Place(rank=rank, world=2)) for rank in range(2)]
    seen = [int(i) for task in tasks for batch in task.val for i in batch["index"]]
    assert sorted(seen) == list(range(PARTS["val"]))


def test_what_is_saved_labels_as_what_was_trained(task, tmp_path):
    task.save(tmp_path, task.model)
    saved = open_segmenter(tmp_path)
    assert saved.card == task.card
    assert saved.card.classes == CLASSES
    picture = Image.fromarray(torch.randint(0, 256, (30, 40, 3)).byte().numpy())
    again = Labeller(saved.model, saved.card, torch.device("cpu")).read(picture)
    assert np.array_equal(again, Labeller(task.model.eval(), task.card, torch.device("cpu")).read(picture))
    assert json.loads((tmp_path / "model.json").read_text())["kind"] == "segmenter"


def test_the_main_number_comes_first(task):
    with torch.no_grad():
        scores = list(task.evaluate(task.model.eval()))
    assert [name for name, _ in scores] == ["miou", "pixel_accuracy"]
    assert task.metric == scores[0][0]


@pytest.mark.parametrize("changes", [{"mixer": "attention", "norm": "layernorm", "heads": 2}, {"mixer": "dwconv"}])
def test_other_trunks_train(recipe, changes):
    task = make_task(replace(recipe, model=replace(recipe.model, **changes)), Place())
    task.loss(task.model.train(), next(iter(task.batches(0, 0))), 0)["loss"].backward()
    assert all(parameter.grad is not None for parameter in task.model.parameters())


def test_a_deit_with_its_class_token_trains(recipe):
    model = Model("deit_s", patch_size=8, dim=12, depth=2, heads=2)
    task = make_task(replace(recipe, model=model), Place())
    loss = task.loss(task.model.train(), next(iter(task.batches(0, 0))), 0)["loss"]
    assert loss.isfinite()


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"augment": Augment(mixup=0.2)}, "--augment"), ({"optim": Optim(freeze_epochs=1)}, "--optim.freeze-epochs 1")],
)
def test_settings_that_nothing_reads_are_refused(recipe, changes, said):
    with pytest.raises(UserError, match=said):
        make_task(replace(recipe, **changes), Place())
