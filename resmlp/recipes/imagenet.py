"""ImageNet-1k from scratch: the rows of Table 1, and the old-fashioned training of Table 3.

Settings are from section 3.1 of the paper and from the authors' issue threads (facebookresearch/deit #106, #113, #117);
all others are the defaults of DeiT.
"""

from dataclasses import replace

from resmlp.config import Augment, Data, ImageRecipe, Model, Optim, Run
from resmlp.config.tasks import Supervised

S12 = ImageRecipe(
    name="imagenet-s12",
    about="ImageNet-1k, 400 epochs with DeiT's augmentation",
    paper="Table 1, ResMLP-S12",
    task=Supervised(label_smoothing=0.1),
    model=Model("resmlp_s12", drop_path=0.05),
    data=Data(batch_size=2048, workers=8),
    augment=Augment(policy="rand", mixup=0.8, cutmix=1.0, erasing=0.25, repeats=3),
    optim=Optim("lamb", lr=5e-3, weight_decay=0.2, warmup_epochs=5, warmup_lr=1e-6, min_lr=1e-5),
    run=Run(epochs=400, precision="bf16", ema=0.99996),
    expected=(("top1", 0.766),),
)

S24 = replace(
    S12,
    name="imagenet-s24",
    paper="Table 1, ResMLP-S24",
    model=Model("resmlp_s24", drop_path=0.1),
    expected=(("top1", 0.794),),
)

B24 = replace(
    S12,
    name="imagenet-b24",
    paper="Table 1, ResMLP-B24",
    model=Model("resmlp_b24", drop_path=0.1),
    expected=(("top1", 0.810),),
)

OLDSCHOOL = replace(
    S12,
    name="imagenet-oldschool",
    about="ImageNet-1k with the training of ResNet: SGD, 90 epochs, crop and flip",
    paper="Table 3, training, old-fashioned (90 epochs)",
    task=Supervised(label_smoothing=0.0),
    model=Model("resmlp_s12"),
    data=replace(S12.data, batch_size=256),
    augment=Augment(),
    optim=Optim("sgd", lr=0.1, weight_decay=1e-4, schedule="step", milestones=(30, 60, 80), warmup_epochs=0),
    run=Run(epochs=90, precision="bf16"),
    expected=(("top1", 0.692),),
)

RECIPES = (S12, S24, B24, OLDSCHOOL)
