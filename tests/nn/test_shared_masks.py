"""The random numbers of a sample: those of the whole micro-batch, whichever process it is on."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from resmlp.nn.shared_masks import Dropout, Dropout2d, Places, checkpointed, dealt, rand_rows, sample_places


def seeded(function: Callable[..., torch.Tensor], *args: object) -> torch.Tensor:
    torch.manual_seed(0)
    return function(*args)


def test_samples_are_dealt_one_by_one():
    assert dealt(7, 0, 1) is None
    shares = [dealt(7, rank, 3) for rank in range(3)]
    assert [places.own.tolist() for places in shares] == [[0, 3, 6], [1, 4], [2, 5]]
    assert {places.total for places in shares} == {7}


@pytest.mark.parametrize("world", [2, 3, 5])
@pytest.mark.parametrize("views", [1, 2])
def test_the_rows_of_all_processes_are_those_of_one(world, views):
    total, like = 5, torch.empty(0)
    whole = seeded(rand_rows, (views * total, 2, 3), like)
    assert torch.equal(whole, seeded(torch.rand, views * total, 2, 3))
    parts = whole.new_full((views, total, 2, 3), -1)
    for rank in range(world):
        places = dealt(total, rank, world)
        with sample_places(places):
            parts[:, places.own] = seeded(rand_rows, (views * len(places.own), 2, 3), like).unflatten(0, (views, -1))
    assert torch.equal(parts.flatten(0, 1), whole)


def test_the_places_end_with_the_context():
    with pytest.raises(ValueError, match="5 samples for 2 places"), sample_places(Places(4, torch.tensor([0, 1]))):
        rand_rows((5, 1), torch.empty(0))
    with sample_places(Places(4, torch.tensor([2]))):
        with sample_places(None):
            assert rand_rows((3, 1), torch.empty(0)).shape == (3, 1)
        assert rand_rows((1, 6), torch.empty(0)).shape == (1, 6)
    assert rand_rows((3, 1), torch.empty(0)).shape == (3, 1)


KINDS = {
    "dropout": (Dropout(0.3), (6, 4, 5)),
    "transposed": (nn.Sequential(nn.Unflatten(1, (4, 5)), Dropout(0.3)), (6, 20)),
    "channels": (Dropout2d(0.3), (6, 5, 3, 2)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_that_of_torch_and_the_same_on_processes(kind, dtype):
    """On one process bit for bit as torch's, forward and backward; on others the rows of it."""
    layer, shape = KINDS[kind]
    x = torch.randn(shape, dtype=dtype)
    if kind == "transposed":
        layer, x = layer[1], x.unflatten(1, (4, 5)).transpose(1, 2)
    plain = {Dropout: nn.Dropout, Dropout2d: nn.Dropout2d}[type(layer)](0.3)
    whole = seeded(plain, x)
    assert torch.equal(seeded(layer, x), whole)
    for rank in range(4):
        places = dealt(6, rank, 4)
        own = x[places.own].requires_grad_()
        with sample_places(places):
            found = seeded(layer, own)
        assert found.dtype == dtype
        assert torch.equal(found, whole[places.own])
        found.sum().backward()
        assert torch.equal(own.grad, seeded(plain, torch.ones_like(x))[places.own])


@pytest.mark.parametrize("layer", [Dropout(0.0).train(), Dropout(0.7).eval(), Dropout2d(0.0), Dropout2d(0.7).eval()])
def test_off_it_draws_nothing(layer):
    x, state = torch.randn(2, 3, 4, 5), torch.get_rng_state()
    with sample_places(dealt(4, 0, 2)):
        assert torch.equal(layer(x), x)
    assert torch.equal(torch.get_rng_state(), state)


class Operations(TorchDispatchMode):
    """The names of the operations that run."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names = [*getattr(self, "names", []), str(function)]
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(("ours", "plain"), [(Dropout(0.2), nn.Dropout(0.2)), (Dropout2d(0.2), nn.Dropout2d(0.2))])
def test_on_one_process_the_operations_are_those_of_torch(ours, plain):
    names = []
    for layer in (ours, plain):
        with Operations() as operations:
            layer(torch.ones(2, 3, 4, 5, requires_grad=True)).sum().backward()
        names.append(operations.names)
    assert names[0] == names[1]


def test_a_repeated_forward_pass_draws_the_same():
    """Activation checkpointing runs it again in the backward pass, after the end of the context."""
    layer, x = Dropout(0.5), torch.ones(3, 50, requires_grad=True)
    with sample_places(dealt(6, 1, 2)):
        out = checkpointed(lambda x: layer(x) ** 2, x)
    out.sum().backward()
    assert torch.equal(x.grad, 2 * out)  # of m^2 x^2 at 1
    assert 0 < out.sum() < 4 * x.numel()


class Repeated(nn.Sequential):
    def forward(self, x):
        return checkpointed(super().forward, x)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's compiler, between two graphs
@pytest.mark.parametrize("kind", [nn.Sequential, Repeated])
def test_compiled(kind):
    """With places the masks are those of the eager layer."""
    layer = kind(nn.Linear(5, 5), Dropout(0.5))
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="eager")
    for places in (None, *(dealt(total, 1, 2) for total in (4, 5, 6, 7)), None):
        x = torch.ones(3 if places is None else len(places.own), 5)
        with sample_places(places):
            found = seeded(compiled, x)
            assert torch.equal(found, seeded(layer, x))
        found.sum().backward()


@pytest.mark.slow
def test_on_one_process_a_compiled_network_is_one_graph():
    torch._dynamo.reset()
    compiled = torch.compile(nn.Sequential(nn.Identity(), Dropout(0.5)), backend="eager", fullgraph=True)
    assert compiled(torch.ones(3, 5)).shape == (3, 5)
