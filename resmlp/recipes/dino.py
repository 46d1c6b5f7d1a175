"""Self-supervised pre-training with DINO: the paper's Table 2, CIFAR-10, and any images, with or without labels.

Settings are from DINO's published training script. The paper does not state how a network of fixed size processes small
views; `--task.local-crops` selects a method.
"""

from dataclasses import replace

from resmlp.config import Augment, Data, ImageRecipe, Model, Optim, Run
from resmlp.config.tasks import Dino
from resmlp.recipes.small import CIFAR10 as SUPERVISED

DINO = ImageRecipe(
    name="dino",
    about="ImageNet-1k without labels, 300 epochs of DINO with ten views per image",
    paper="Table 2, ResMLP-S12, k-NN (settings of DINO)",
    task=Dino(),
    model=Model("resmlp_s12", drop_path=0.1),
    data=Data(batch_size=1024, workers=12),
    augment=Augment(),
    # 5e-4 per 256 images of a batch
    optim=Optim(
        "adamw", lr=2e-3, weight_decay=0.04, final_weight_decay=0.4, warmup_epochs=10, warmup_lr=0, min_lr=1e-6, clip=3
    ),
    run=Run(epochs=300, precision="bf16", eval_every=10),
    expected=(("knn", 0.626),),
)

CIFAR10 = replace(
    DINO,
    name="dino-cifar10",
    about="CIFAR-10 without labels, with a network under 1 M parameters, on two cores",
    paper="",
    task=Dino(
        local_crops="interpolate",  # a quarter of the cost of a large view
        local_views=2,
        local_size=(16,),
        # milder than DINO: an untrained network must be able to match two views of an image
        local_scale=(0.2, 0.6),
        blur=0.0,  # as SimCLR: images of 32x32 are blurred enough
        out_dim=256,
        hidden=256,
        bottleneck=64,
        head_norm="batchnorm",
        freeze_last=0,
        teacher_temp=0.04,
        teacher_momentum=0.99,
        knn_images=20_000,
    ),
    model=Model("resmlp_cifar", dim=96, depth=4, init="local", layer_scale=1.0),
    data=replace(SUPERVISED.data, batch_size=64),
    optim=replace(DINO.optim, lr=1e-3, warmup_epochs=1),
    run=Run(epochs=12, precision="auto", eval_every=2, log_every=100),
    expected=(),
)

FOLDER = replace(
    DINO,
    name="dino-folder",
    about="any images without labels; if the folders are classes, with a k-NN accuracy",
    paper="",
    task=Dino(out_dim=4096, hidden=1024, warmup_teacher_temp_epochs=10),
    model=Model("resmlp_s12", drop_path=0.05),
    data=Data(batch_size=64),
    optim=replace(DINO.optim, lr=2.5e-4),
    run=Run(epochs=100, eval_every=5),
    expected=(),
)

RECIPES = (DINO, CIFAR10, FOLDER)
