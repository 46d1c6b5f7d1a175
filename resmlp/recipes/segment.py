"""Semantic segmentation: Table 6, and smaller data sets.

For the training of UPerNet the paper refers to BEiT and XCiT. Both (`semantic_segmentation/` in their repositories) use
AdamW, 1,500 steps of warm-up, then a linear decay to 0 over 160,000 steps of 16 images. Where they differ, the recipes
follow XCiT, whose networks are also pre-trained with labels: learning rate 6e-5 and weight decay 0.01, as Swin. BEiT
uses 3e-5, 0.05 and layer decay. B24 of Table 6 has no recipe: its weights with patches of 16 were never released.
"""

from dataclasses import replace
from typing import Any

from resmlp.config import Data, ImageRecipe, Model, Optim, Run
from resmlp.config.tasks import Segment


def images(source: str, **fields: Any) -> Data:
    """Settings of images with masks: not cropped in evaluation, and normalized as in the training of the weights."""
    return Data(source=source, crop_ratio=1.0, interpolation="bilinear", mean=None, std=None, **fields)


USUAL = Segment(reduce_zero_label=True, base_size=(896, 224), eval_size=(2048, 512))
"""settings of ADE20K; the paper tests at "the usual resolution", here that of MMSegmentation and XCiT"""

SCENES = ImageRecipe(
    name="scenes",
    about="digits on patterns, 96x96, embedded: semantic segmentation in minutes on two cores",
    task=Segment(width=32, scale=(0.9, 1.1), flip=0.0, jitter=0.0, max_class_share=1.0, stride=0.5),
    model=Model("resmlp_cifar", patch_size=8, init="local"),
    data=images("scenes", img_size=(64,), batch_size=16, workers=0),
    optim=Optim("adamw", lr=5e-3, weight_decay=0.05, warmup_epochs=0.25, clip=1.0),
    run=Run(epochs=14, precision="auto", ema=0.99, log_every=40, eval_every=7),
    expected=(("miou", 0.85),),
)

CAMVID = ImageRecipe(
    name="camvid",
    about="CamVid at 200x150, 11 classes, from scratch",
    task=Segment(width=32, base_size=(200, 150), jitter=2.0, max_class_share=0.9, balance=0.5),
    model=Model("resmlp_s12_p8", dim=192, depth=6, drop_path=0.1, init="local"),
    data=images("camvid", img_size=(120, 160), batch_size=8, workers=1),
    optim=Optim("adamw", lr=2e-3, weight_decay=0.05, warmup_epochs=1, clip=1.0),
    run=Run(epochs=120, precision="auto", ema=0.99, log_every=20, eval_every=30),
    expected=(("miou", 0.55),),
)

ADE20K = ImageRecipe(
    name="ade20k",
    about="ADE20K, 150 classes, from published ImageNet-1k weights, with UPerNet",
    paper="Table 6, ResMLP-S12 (windows of 224 of images at 896x224, tested at 2048x512; otherwise as XCiT)",
    task=USUAL,
    model=Model("resmlp_s12.fb_in1k", drop_path=0.05),
    data=images("ade20k", img_size=(224,), batch_size=16, workers=8),
    optim=Optim("adamw", lr=6e-5, weight_decay=0.01, schedule="poly", warmup_steps=1500, warmup_lr=0.0, min_lr=0.0),
    run=Run(epochs=127, precision="bf16", eval_every=10),  # 160,401 steps of 20,210 images
    expected=(("miou", 0.359),),
)

CAMVID_S24 = replace(
    ADE20K,
    name="camvid-s24",
    about="CamVid at 480x360 on a GPU, from published weights",
    paper="",
    task=Segment(max_class_share=0.9, balance=0.5),
    model=Model("resmlp_s24.fb_distilled_in1k", drop_path=0.1),
    data=images("camvid", img_size=(224,), batch_size=16, workers=8),
    optim=replace(ADE20K.optim, lr=1e-4, warmup_steps=150),
    run=replace(ADE20K.run, epochs=200, eval_every=20),
    expected=(("miou", 0.60),),
)


def larger(name: str, row: str, weights: str, drop_path: float, miou: float) -> ImageRecipe:
    """ADE20K with another trunk of Table 6."""
    paper, model = ADE20K.paper.replace("ResMLP-S12", row), Model(weights, drop_path=drop_path)
    return replace(ADE20K, name=name, paper=paper, model=model, expected=(("miou", miou),))


ADE20K_DEIT_S = replace(
    larger("ade20k-deit-s", "DeiT-S", "resmlp_s12", 0.0, 0.405),
    task=replace(USUAL, backbone="deit_small_patch16_224.fb_in1k"),
)

RECIPES = (
    SCENES,
    CAMVID,
    CAMVID_S24,
    ADE20K,
    larger("ade20k-s24", "ResMLP-S24", "resmlp_s24.fb_in1k", 0.1, 0.391),
    larger("ade20k-s36", "ResMLP-S36", "resmlp_s36.fb_in1k", 0.1, 0.391),
    ADE20K_DEIT_S,
)
