"""Transfer: the rows of Table 4, ImageNet-21k before ImageNet-1k, and any other images.

Settings are from the authors' issue threads (facebookresearch/deit): #117 for ResMLP on CIFAR, #105 for iNaturalist and
#45 for Cars, the latter two for DeiT-B. `paper` names the settings that are not theirs. Expected results are those of
ResMLP-S12 with weights from ImageNet-1k at 224x224; give the weights with --model.checkpoint.
"""

from dataclasses import replace

from resmlp.config import Augment, Data, ImageRecipe, Model, Optim, Run
from resmlp.config.tasks import Supervised
from resmlp.recipes.imagenet import B24

WHOLE_RUN = 10**6  # epochs, more than any run
AS_CHECKPOINT = Data(img_size=None, crop_ratio=None, interpolation=None, mean=None, std=None)
"""images with the preprocessing of the checkpoint"""

FINETUNE = ImageRecipe(
    name="finetune",
    about="any ImageFolder tree, from weights (--model RUN_FOLDER, FILE or name), with a new head",
    paper="Table 4, for any data (settings are not from the paper)",
    model=Model("checkpoint", drop_path=0.05),
    data=replace(AS_CHECKPOINT, batch_size=64),
    augment=Augment(policy="three", jitter=0.3),
    optim=Optim("adamw", lr=1e-4, weight_decay=0.05, warmup_epochs=1, min_lr=1e-6, clip=1.0),
    run=Run(epochs=20, ema=0.999),
)

PROBE = ImageRecipe(
    name="probe",
    about="a linear classifier on a frozen trunk (--model RUN_FOLDER, FILE or name), with crops and flips",
    paper="Table 2, linear evaluation, for any data (settings are not from the paper)",
    task=Supervised(label_smoothing=0.0),
    model=Model("checkpoint"),
    data=replace(AS_CHECKPOINT, batch_size=64),
    augment=Augment(),
    optim=Optim("sgd", lr=0.1, weight_decay=0.0, warmup_epochs=0, min_lr=0.0, freeze_epochs=WHOLE_RUN),
    run=Run(epochs=30, eval_every=5),
)

RESIZE = replace(
    FINETUNE,
    name="resize",
    about="a checkpoint at another --data.img-size: a few hundred steps of its token mixers alone (--model RUN)",
    paper="its limitation, token matrices of one size (settings are not from the paper)",
    model=Model("checkpoint"),
    augment=Augment(),
    optim=Optim(
        "adamw", lr=1e-3, weight_decay=0.0, warmup_epochs=0, min_lr=0.0, clip=1.0, only=("blocks.*.tokens.fn.*",)
    ),
    run=Run(epochs=5),
)

MIXED = Augment(policy="rand", mixup=0.8, cutmix=1.0, repeats=3)

CIFAR10 = ImageRecipe(
    name="finetune-cifar10",
    about="CIFAR-10 from a checkpoint, enlarged to its image size",
    paper="Table 4, CIFAR-10 (deit #117; as there, the learning rate ends at 1e-5, above its peak)",
    task=Supervised(label_smoothing=0.1),
    model=Model("checkpoint", drop_path=0.05),
    data=replace(AS_CHECKPOINT, source="cifar10", batch_size=768, workers=8),
    augment=MIXED,
    optim=Optim("adamw", lr=5e-6, weight_decay=0.05, warmup_epochs=5, warmup_lr=1e-6, min_lr=1e-5),
    run=Run(epochs=1000, precision="bf16", ema=0.9999),
    expected=(("top1", 0.981),),
)

CIFAR100 = replace(
    CIFAR10,
    name="finetune-cifar100",
    about="CIFAR-100 from a checkpoint, enlarged to its image size",
    paper=CIFAR10.paper.replace("CIFAR-10", "CIFAR-100"),
    data=replace(CIFAR10.data, source="cifar100"),
    expected=(("top1", 0.870),),
)

CARS = replace(
    CIFAR10,
    name="finetune-cars",
    about="Stanford Cars from a checkpoint",
    paper="Table 4, Cars (deit #45, without drop path)",
    model=Model("checkpoint"),
    data=replace(CIFAR10.data, source="cars"),
    optim=Optim("sgd", lr=0.01, weight_decay=1e-4, warmup_epochs=5, warmup_lr=1e-6, min_lr=1e-5),
    expected=(("top1", 0.846),),
)

FLOWERS = replace(
    CARS,
    name="finetune-flowers",
    about="Flowers-102 from a checkpoint",
    paper="Table 4, Flowers-102 (settings of finetune-cars: none were published)",
    data=replace(CIFAR10.data, source="flowers"),
    expected=(("top1", 0.974),),
)

INAT18 = replace(
    CIFAR10,
    name="finetune-inat18",
    about="iNaturalist 2018 from a checkpoint",
    paper="Table 4, iNaturalist-18 (deit #105, with the drop path of S12)",
    data=replace(CIFAR10.data, source="inat18"),
    augment=replace(MIXED, erasing=0.1),
    optim=Optim("adamw", lr=7.5e-5, weight_decay=0.05, warmup_epochs=5, warmup_lr=1e-6, min_lr=1e-5),
    run=Run(epochs=360, precision="bf16", ema=0.9999),
    expected=(("top1", 0.602),),
)

INAT19 = replace(
    INAT18,
    name="finetune-inat19",
    about="iNaturalist 2019 from a checkpoint",
    paper=INAT18.paper.replace("18", "19"),
    data=replace(CIFAR10.data, source="inat19"),
    expected=(("top1", 0.710),),
)

IMAGENET21K = replace(
    B24,
    name="imagenet21k-b24",
    about="ImageNet-21k, or any tree with many classes: 60 epochs, before imagenet-from21k",
    paper="Table 3, ResMLP-B24/8, pre-trained ImageNet-21k (60 epochs; otherwise as imagenet-b24)",
    model=Model("resmlp_b24_p8", drop_path=0.1),
    data=replace(B24.data, val_fraction=0.01),
    run=replace(B24.run, epochs=60),
    expected=(),
)

FROM21K = replace(
    IMAGENET21K,
    name="imagenet-from21k",
    about="ImageNet-1k from the weights of imagenet21k-b24, with a new head",
    paper="Table 3, ResMLP-B24/8, pre-trained ImageNet-21k (30 epochs as DeiT; learning rate: deit #120)",
    model=replace(IMAGENET21K.model, checkpoint=f"runs/{IMAGENET21K.name}"),
    data=replace(B24.data, batch_size=512),
    optim=Optim("adamw", lr=1e-5, weight_decay=1e-8, warmup_epochs=5, warmup_lr=1e-6, min_lr=1e-6),
    run=Run(epochs=30, precision="bf16", ema=0.9999),
    expected=(("top1", 0.844),),
)

RECIPES = (FINETUNE, PROBE, RESIZE, CIFAR10, CIFAR100, FLOWERS, CARS, INAT18, INAT19, IMAGENET21K, FROM21K)
