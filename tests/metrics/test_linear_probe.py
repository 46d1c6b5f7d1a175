"""The grid of linear classifiers against one trained by torch's optimizer, and against scikit-learn's."""

import math

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn

import resmlp as package
from resmlp.config.evaluation import Linear
from resmlp.metrics import linear
from resmlp.metrics.linear_probe import LEARNING_RATES, Settings, choose, fit, held_out, standardized
from resmlp.models.features import last_layers, pooled
from resmlp.utils.errors import UserError

pytestmark = pytest.mark.isa


@pytest.fixture
def float64_by_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def some(images: int = 50, dim: int = 12, classes: int = 3, views: int = 2):
    labels = torch.randint(classes, (images,))
    return torch.randn(classes, dim)[labels] + torch.randn(views, images, dim), labels


@pytest.mark.usefixtures("float64_by_default")
def test_a_classifier_alone_equals_that_of_the_grid():
    train, labels = some()
    options = {"epochs": 10, "batch_size": 16, "seed": 5}
    grid = fit(train, labels, 3, [4, 12], Settings((0.01, 0.1, 1.0), **options))
    for width, heads in zip((4, 12), grid):
        assert heads.shape == (3, 3, width + 1)
        for rate, head in zip((0.01, 0.1, 1.0), heads):
            alone = fit(train, labels, 3, [width], Settings((rate,), **options))[0][0]
            assert torch.allclose(head, alone, rtol=0, atol=1e-11)
            assert head.abs().max() > 0.01, "the training has an effect"


def test_a_diverging_classifier_does_not_change_the_others():
    train, labels = some()
    with_it = fit(train * 1e18, labels, 3, [12], Settings((1e-20, 1e30), epochs=3))[0]
    alone = fit(train * 1e18, labels, 3, [12], Settings((1e-20,), epochs=3))[0]
    assert not with_it[1].isfinite().all()
    assert (with_it[0] - alone[0]).norm() <= 1e-3 * alone[0].norm()  # float32, in which the other classifier diverges


@pytest.mark.usefixtures("float64_by_default")
def test_training_equals_that_of_torch():
    """With all images in a batch there is no order: SGD with momentum and a cosine, of the mean cross-entropy."""
    train, labels = some(views=1)
    head = fit(train, labels, 3, [12], Settings((0.3,), epochs=20, batch_size=64))[0][0]
    layer = nn.Linear(12, 3)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), momentum=0.9)
    for step in range(20):
        optimizer.param_groups[0]["lr"] = 0.3 * (1 + math.cos(math.pi * step / 20)) / 2
        optimizer.zero_grad()
        nn.functional.cross_entropy(layer(train[0]), labels).backward()
        optimizer.step()
    expected = torch.cat([layer.weight, layer.bias[:, None]], 1).detach()
    assert torch.allclose(head, expected, rtol=0, atol=1e-11)


def test_the_best_is_as_good_as_logistic_regression():
    digits = load_digits()
    x, y = torch.tensor(digits.data).float(), torch.tensor(digits.target)
    train, test = (x[:1200], y[:1200]), (x[1200:], y[1200:])
    grid = linear(train[0][None], train[1], *test, (1,), Settings(epochs=30))
    other = LogisticRegression(max_iter=1000).fit(train[0] / 16, train[1]).score(test[0] / 16, test[1])
    assert [classifier.lr for classifier in grid] == list(LEARNING_RATES)
    assert max(classifier.top1 for classifier in grid) > other - 0.02
    assert all(0.8 < classifier.top1 <= classifier.top5 <= 1 for classifier in grid)
    assert len({classifier.top1 for classifier in grid}) > 3
    again = linear(train[0][None], train[1], *test, (1,), Settings(epochs=30))
    assert grid == again


def test_scale_offset_and_dead_features_do_not_matter():
    train, labels = some(200)
    scale = torch.logspace(-1, 2, 12)
    moved = torch.cat([train * scale + 3 * scale, torch.full((2, 200, 2), 1e3)], 2)
    own, other = (standardized(features, features[0])[0][..., :12] for features in (train, moved))
    assert torch.allclose(own, other, atol=1e-3)
    assert torch.allclose(own.flatten(0, 1).std(0, correction=0), torch.ones(12), atol=1e-4)
    assert (standardized(moved, moved[0])[0][..., 12:] == 0).all()
    same = torch.ones(1, 5, 3)
    assert (standardized(same, same[0])[0] == 0).all()


def test_few_classes_and_features_that_are_not_finite():
    train, labels = some(60)
    test, test_labels = train[0, :10].clone(), labels[:10]
    whole = linear(train[:, 10:], labels[10:], test, test_labels, (1,), Settings((0.1,), epochs=5))[0]
    assert whole.top5 == 1.0, "of three classes"
    train[1, 0], test[:5] = float("nan"), float("inf")
    classifier = linear(train, labels, test, test_labels, (1,), Settings((0.1,), epochs=5))[0]
    assert classifier.top5 == 0.5
    with pytest.raises(UserError, match="no image to learn from"):
        linear(train * float("nan"), labels, test, test_labels)


def test_last_layers_equal_the_outputs_that_hooks_record():
    model = package.create_model("resmlp_s12", dim=8, depth=5, patch_size=4, img_size=8, num_classes=3).double().eval()
    seen = []
    for block in model.blocks:
        block.register_forward_hook(lambda module, inputs, output: seen.append(output))
    images = torch.randn(2, 3, 8, 8).double()
    found = last_layers(model, 4)(images)
    assert torch.allclose(found, torch.cat([model.norm(x).mean(1) for x in seen[-4:]], 1))
    assert torch.allclose(found[:, -8:], pooled(model)(images))
    assert torch.allclose(model.head(found[:, -8:]), model(images))
    with pytest.raises(UserError, match="6 layers of a network with 5"):
        last_layers(model, 6)


def test_features_of_timm_networks():
    timm = pytest.importorskip("timm")
    model = timm.create_model("resnet18", pretrained=False).double().eval()
    images = torch.randn(2, 3, 64, 64).double()
    assert torch.allclose(model.fc(pooled(model)(images)), model(images))
    with pytest.raises(UserError, match="not a resmlp network"):
        last_layers(model, 4)
    with pytest.raises(UserError, match="no features apart"):
        pooled(nn.Linear(3, 3))


def test_the_command_line_has_the_same_learning_rates():
    assert Linear().lr == LEARNING_RATES


def test_a_fifth_of_each_class_is_held_out():
    labels = torch.tensor([0] * 50 + [1] * 7 + [2] * 2 + [3])
    held = held_out(labels, 3)
    assert [int(held[labels == label].sum()) for label in range(4)] == [10, 1, 1, 0]
    assert torch.equal(held, held_out(labels, 3))
    assert not torch.equal(held, held_out(labels, 4))


def test_the_choice_equals_a_grid_on_the_rest():
    train, labels = some(80)
    settings = Settings((0.001, 0.1), epochs=5, seed=2)
    held = held_out(labels, 2)
    rest = linear(train[:, ~held], labels[~held], train[0, held], labels[held], (1,), settings)
    assert choose(train, labels, (1,), settings) == rest


def test_single_images_cannot_be_held_out():
    with pytest.raises(UserError, match="no class has two training images"):
        choose(torch.randn(2, 3, 4), torch.arange(3))
