"""Distillation: ImageNet-1k as in the paper, CIFAR-10, and any ImageFolder tree."""

from dataclasses import replace

from resmlp.config import Model
from resmlp.config.tasks import Distill
from resmlp.recipes.imagenet import S12
from resmlp.recipes.small import CIFAR10, FOLDER

DISTILL = replace(
    S12,
    name="distill",
    about="ImageNet-1k, hard distillation from RegNetY-16GF",
    paper="Table 3, training, distillation (section 3.1)",
    task=Distill(),
    expected=(("top1", 0.778),),
)

MIXED = replace(CIFAR10.augment, mixup=0.2, cutmix=1.0, mix_prob=0.5, erasing=0.25)
"""images whose labels alone are weak targets: the teacher adds information"""

TEACHER = replace(
    CIFAR10,
    name="cifar10-teacher",
    about="CIFAR-10 with a small convolutional network, the teacher of distill-cifar10",
    model=Model("resmlp_cifar", mixer="dwconv", patch_size=2, init="local", layer_scale=1.0),
    augment=MIXED,
    expected=(),
)

STUDENT = replace(
    CIFAR10,
    name="distill-cifar10",
    about="CIFAR-10 with a network under 1 M parameters, and cifar10-teacher as the teacher",
    task=Distill(teacher=f"runs/{TEACHER.name}", targets="soft", temperature=2.0),
    augment=MIXED,
    expected=(),
)

DISTILL_FOLDER = replace(
    FOLDER,
    name="distill-folder",
    about="any ImageFolder tree, from scratch, with a teacher (--task.teacher: a run folder or timm:NAME.TAG)",
    task=Distill(teacher=f"runs/{FOLDER.name}"),
)

RECIPES = (DISTILL, TEACHER, STUDENT, DISTILL_FOLDER)
