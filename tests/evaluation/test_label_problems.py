"""Several labels for each image: the mistakes of each class beside loops over the definitions."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from resmlp.data import ImageSet
from resmlp.evaluation import evaluator as evaluator_module
from resmlp.evaluation import mistakes
from resmlp.evaluation.classification import refuse_several_labels
from resmlp.imaging.image_file import Pixels
from resmlp.metrics.accuracy import Collected
from resmlp.utils.errors import UserError

NAMES, SEEN = ("ant", "bee", "cat", "dog"), ("dog", "bee", "cat")  # the images are not judged for ants
THRESHOLD = 0.3


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.fixture
def case() -> tuple[SimpleNamespace, np.ndarray, np.ndarray]:
    """41 images, of which image 3 cannot be read and image 5 has no finite output; no image has a cat."""
    rng = np.random.default_rng(0)
    truth = rng.random((41, 3)) < 0.4
    truth[:, 2] = False
    logits = rng.normal(size=(41, 4)) * 2
    logits[:, [3, 1, 2]] += np.where(truth, 2, -2)
    logits[5, 0] = np.nan
    sets = tuple(tuple(np.flatnonzero(row).tolist()) for row in truth)
    images = ImageSet(SEEN, [0] * 41, [None] * 41, tuple(f"{i:02}" for i in range(41)), label_sets=sets)
    index = torch.tensor([i for i in range(41) if i != 3])
    found = Collected(index, torch.zeros_like(index), torch.tensor(logits, dtype=torch.float32)[index], ("03",))
    predictor = SimpleNamespace(classes=NAMES, threshold=THRESHOLD)
    values = {"predictor": predictor, "images": images, "num_classes": 4, "source": "m", "outputs": lambda: found}
    return SimpleNamespace(**values), truth, logits


def test_each_class_is_a_problem_of_its_own(case, capsys):
    evaluator, truth, logits = case
    found = mistakes._find(evaluator, Path("page.html"))
    read = [i for i in range(41) if i not in (3, 5)]
    errors, doubts = {}, {}
    for k, name in enumerate(SEEN):
        p = {i: sigmoid(logits[i, NAMES.index(name)]) for i in read}
        have, lack = ([i for i in read if truth[i, k] == says] for says in (True, False))
        sure_yes = sum(p[i] for i in have) / len(have) if have else math.inf
        sure_no = sum(1 - p[i] for i in lack) / len(lack)
        for i in read:
            own = p[i] if truth[i, k] else 1 - p[i]
            if (p[i] >= THRESHOLD) != truth[i, k]:
                errors[f"{i:02}", name] = -math.log(own)
            yes, no = p[i] >= sure_yes, 1 - p[i] >= sure_no
            sure = yes and (p[i] > 0.5 or not no) if not truth[i, k] else no and (p[i] < 0.5 or not yes)
            if sure:
                doubts[f"{i:02}", name] = 2 * own - 1
    assert (found.images, found.labels, found.unreadable) == (39, 39 * 3, ("03",))
    assert len(errors) > len(doubts) > 4
    assert {one.class_name for one in found.errors} == set(SEEN)
    for listed, expected, value in ((found.errors, errors, "loss"), (found.wrong_labels, doubts, "margin")):
        assert {(one.path, one.class_name) for one in listed} == set(expected)
        for one in listed:
            assert getattr(one, value) == pytest.approx(expected[one.path, one.class_name], abs=1e-4)
            says = truth[int(one.path), SEEN.index(one.class_name)]
            assert one.label == ("" if says else "not ") + one.class_name
    margins = [one.margin for one in found.wrong_labels]
    assert margins == sorted(margins)
    assert all({one.label, one.suggested} == {one.class_name, f"not {one.class_name}"} for one in found.wrong_labels)
    assert "1 image left out: the outputs of the network are not finite" in capsys.readouterr().err


def test_a_class_that_the_model_does_not_know(case):
    evaluator, _, _ = case
    evaluator.images = replace(evaluator.images, classes=("dog", "bee", "eel"))
    with pytest.raises(UserError, match=r"^the model knows no class eel \(it knows ant, bee, cat, dog\)$"):
        mistakes._find(evaluator, Path("page.html"))


def test_the_hint_for_images_of_several_labels_is_about_the_images():
    """The model gives one label: that another command evaluates it would not help."""
    images = ImageSet(("a", "b"), [0], [Pixels("x", np.zeros((2, 2, 3), np.uint8))], ("x",), label_sets=((0, 1),))
    evaluator = SimpleNamespace(predictor=SimpleNamespace(threshold=None), images=images, source="run")
    with pytest.raises(UserError, match=r"x has 2 labels, a and b; one is needed \(give one label for each image; "):
        refuse_several_labels(evaluator)
    evaluator.predictor.threshold = 0.5
    with pytest.raises(UserError, match=r"run gives several labels .* \(resmlp eval without --protocol evaluates it\)"):
        refuse_several_labels(evaluator)


@pytest.mark.parametrize(("kind", "protocol"), [("segmenter", "miou"), ("translator", "bleu")])
def test_the_hint_for_another_kind_of_model_names_the_command_with_the_flag(monkeypatch, kind, protocol):
    """resmlp mistakes has no --protocol."""
    monkeypatch.setattr(evaluator_module, "open_weights", lambda source, weights: object())
    with pytest.raises(UserError, match=rf"\(resmlp eval --protocol {protocol} evaluates it"):
        evaluator_module.open_network(SimpleNamespace(kind=kind), "best")
