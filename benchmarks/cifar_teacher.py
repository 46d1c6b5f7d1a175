"""A small convolutional teacher for CIFAR-10: timm's ResNet with a stem for 32x32 images, trained in plain PyTorch.

Eight epochs of SGD, crop and flip; `distillation.py` trains it.
"""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn

from resmlp.config import Augment, Data
from resmlp.data import EvalBatches, TrainBatches, normalize, open_splits
from resmlp.metrics import classify
from resmlp.training.train import keep_freed_memory
from resmlp.utils.files import write_whole

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
EPOCHS, BATCH, PEAK, DECAY = 8, 128, 0.2, 5e-4


def network() -> nn.Module:
    """ResNet-10 of a quarter of the usual width, which keeps the full resolution in its first stage."""
    net = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=10, channels=(32, 64, 128, 256))
    net.conv1, net.maxpool = nn.Conv2d(3, net.conv1.out_channels, 3, padding=1, bias=False), nn.Identity()
    return net.to(memory_format=torch.channels_last)


def logits(net: nn.Module, images: Tensor) -> Tensor:
    """Normalized images B 3 H W -> logits B K, computed in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16):
        return net(images.to(memory_format=torch.channels_last)).float()


def images(root: str) -> Data:
    """CIFAR-10 as the teacher sees it."""
    return Data("cifar10", root, (32,), BATCH, workers=0, crop_ratio=1.0, mean=MEAN, std=STD)


def train(root: str, out: Path, seed: int = 0) -> None:
    """Train the network and save it."""
    keep_freed_memory()
    data = images(root)
    torch.manual_seed(seed)
    splits, net = open_splits(data), network()
    batches = TrainBatches(splits.train, data, Augment(crop="pad"), seed=seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=PEAK, momentum=0.9, weight_decay=DECAY, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK, total_steps=EPOCHS * batches.steps, pct_start=0.25)
    for epoch in range(EPOCHS):
        for batch in batches.epoch(epoch):
            loss = F.cross_entropy(logits(net, normalize(batch["image"], MEAN, STD)), batch["label"])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}", flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    weights = {key: tensor.contiguous() for key, tensor in net.state_dict().items()}
    write_whole(out, lambda path: save_file(weights, path))


def top1(path: Path, root: str) -> float:
    """That of the saved network on the test set."""
    data, teacher = images(root), load(path)
    val = EvalBatches(open_splits(data).val, data.preprocessing(), 256, 0)
    with torch.inference_mode():
        tally = classify(lambda pixels: teacher(pixels.float() / 255), val, 10, "cpu")
    return dict(tally.scores())["top1"]


def load(path: str | Path) -> Callable[[Tensor], Tensor]:
    """The saved network as a teacher: images B 3 H W in [0, 1] -> logits B K."""
    net = network().eval().requires_grad_(False)
    net.load_state_dict(load_file(path))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return lambda images: logits(net, (images - mean) / std)
