"""BatchNorm over processes against torch's BatchNorm of the whole batch."""

from copy import deepcopy

import processes
import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from resmlp.nn import TokenBatchNorm
from resmlp.nn.batch_norm import SynchronizedBatchNorm2d, SynchronizedTokenBatchNorm, synchronize_batch_norm
from resmlp.utils.devices import this_process

CPU = torch.device("cpu")

KINDS = {
    "rows": (nn.BatchNorm1d(3), (7, 3)),
    "maps": (nn.BatchNorm2d(3, momentum=0.3, eps=0.1), (7, 3, 4, 5)),
    "tokens": (TokenBatchNorm(3), (7, 6, 3)),
    "without statistics": (nn.BatchNorm1d(3, track_running_stats=False), (7, 3)),
    "without affine": (nn.BatchNorm2d(3, affine=False), (7, 3, 2, 2)),
    "mean of all batches": (nn.BatchNorm1d(3, momentum=None), (7, 3, 2)),
    "far from zero": (nn.BatchNorm1d(3), (7, 3)),
    "no gradient of x": (nn.BatchNorm1d(3), (7, 3)),
}


def data(kind: str, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch and the gradient of its output, of all processes."""
    generator = torch.Generator().manual_seed(step)
    x, gradient = (torch.randn(KINDS[kind][1], generator=generator) for _ in range(2))
    return x + 1000 * (kind == "far from zero"), gradient


def run(kind: str, layer: nn.Module, rank: int, world: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """Outputs and gradients of x of the rows rank, rank + world, ... and the state, after two steps and evaluation."""
    found = []
    for step in range(2):
        x, gradient = (tensor[rank::world].to(dtype) for tensor in data(kind, step))
        x.requires_grad_(kind != "no gradient of x")
        out = layer(x)
        (out * gradient).sum().backward()
        found += [out.detach(), torch.zeros(1) if x.grad is None else x.grad]
    found.append(layer.eval()(x).detach() if kind != "without statistics" else torch.zeros(1))
    layer.train()
    parameters = [torch.zeros(1) if p.grad is None else p.grad for p in layer.parameters()]
    return found + parameters + [*layer.buffers()]


def on_processes(dtype: torch.dtype, folder: str) -> None:
    """Write the outputs of every kind."""
    with this_process("cpu") as process:
        for kind, (layer, _) in KINDS.items():
            network = nn.Sequential(deepcopy(layer))
            synchronize_batch_norm(network, CPU)
            found = run(kind, network, process.rank, process.world, dtype)
            torch.save(found, f"{folder}/{kind}-{process.rank}")


@pytest.mark.slow
@pytest.mark.parametrize(("world", "dtype"), [(2, torch.float32), (3, torch.float64), (2, torch.bfloat16)], ids=str)
def test_equals_batch_norm_of_the_whole_batch(world, dtype, tmp_path):
    """Unequal shares, 7 samples: outputs, gradients and running statistics, also with a mean of 1000."""
    with torch.no_grad():
        for layer, _ in KINDS.values():
            for parameter in layer.parameters():
                parameter.copy_(torch.rand_like(parameter) + 0.5)
            layer.to(torch.float64 if dtype == torch.float64 else torch.float32)
    processes.together(on_processes, dtype, str(tmp_path), folder=tmp_path, world=world)
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-10, torch.bfloat16: 0.05}[dtype]
    for kind, (layer, _) in KINDS.items():
        if dtype == torch.bfloat16 and kind == "far from zero":
            continue  # 1000 and 1002 are the same number
        exact = deepcopy(layer).double()
        whole = run(kind, exact, 0, 1, torch.float64)
        ranks = [torch.load(tmp_path / f"{kind}-{rank}", weights_only=True) for rank in range(world)]
        loose = 100 * tolerance if kind == "far from zero" and dtype == torch.float32 else tolerance
        for number, (expected, *shares) in enumerate(zip(whole, *ranks, strict=True)):
            if number < 5:
                for rank, share in enumerate(shares):
                    own = expected[rank::world] if len(expected) > 1 else expected
                    torch.testing.assert_close(share.double(), own.double(), atol=loose, rtol=loose)
                continue
            is_parameter = number < 5 + len(list(layer.parameters()))
            joined = sum(share.double() for share in shares) if is_parameter else shares[0].double()
            torch.testing.assert_close(joined, expected.double(), atol=5 * loose, rtol=loose)
            if not is_parameter:
                assert all(torch.equal(share, shares[0]) for share in shares), "the same statistics everywhere"


def compiled(folder: str) -> None:
    with this_process("cpu") as process:
        network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(torch.linspace(0, 1, parameter.numel()).view_as(parameter))
        synchronize_batch_norm(network, CPU)
        gradients = []
        for model in (network, torch.compile(network, backend="aot_eager")):
            network.zero_grad()
            x = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(process.rank))
            DistributedDataParallel(model)(x).square().sum().backward()
            gradients.append([parameter.grad.clone() for parameter in network.parameters()])
        torch.testing.assert_close(*gradients)


@pytest.mark.slow
def test_compiled_and_data_parallel(tmp_path):
    processes.together(compiled, str(tmp_path), folder=tmp_path)


def test_on_one_process_it_is_batch_norm():
    plain = nn.Sequential(nn.BatchNorm2d(3), nn.Sequential(TokenBatchNorm(5)))
    both = deepcopy(plain)
    synchronize_batch_norm(both, CPU)
    assert [type(both[0]), type(both[1][0])] == [SynchronizedBatchNorm2d, SynchronizedTokenBatchNorm]
    assert both.state_dict().keys() == plain.state_dict().keys()
    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(both[0](x), plain[0](x))
    assert torch.equal(both[0].running_var, plain[0].running_var)
    assert torch.equal(both[1](x[0]), plain[1](x[0]))


def test_on_cuda_it_is_that_of_torch_except_for_tokens():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Sequential(TokenBatchNorm(4)))
    synchronize_batch_norm(network, torch.device("cuda"))
    assert [type(network[0]), type(network[1][0])] == [nn.SyncBatchNorm, SynchronizedTokenBatchNorm]
