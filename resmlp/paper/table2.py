"""Table 2: self-supervised learning with DINO; the features of the frozen network on ImageNet-1k val."""

from resmlp.paper.tables import MACS, PARAMETERS, PERCENT, Column, Row, Table

TABLE = Table(
    "Self-supervised learning with DINO",
    (PARAMETERS, MACS, Column("linear", "linear, top-1 (%)", PERCENT), Column("knn", "k-NN, top-1 (%)", PERCENT)),
    (
        Row("resnet-50", "ResNet-50", (25, 4.1, 75.3, 67.5), "timm:resnet50"),
        Row("vit-s16", "ViT-S/16", (22, 4.6, 77.0, 74.5), "timm:vit_small_patch16_224"),
        Row("vit-s8", "ViT-S/8", (22, 22.4, 79.7, 78.3), "timm:vit_small_patch8_224"),
        Row("vit-b16", "ViT-B/16", (87, 17.5, 78.2, 76.1), "timm:vit_base_patch16_224"),
        Row("s12", "ResMLP-S12", (15, 3.0, 67.5, 62.6), "resmlp_s12"),
        Row("s24", "ResMLP-S24", (30, 6.0, 72.8, 69.4), "resmlp_s24", "s12"),
    ),
    "knn",
)
