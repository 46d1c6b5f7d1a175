"""Table 1: accuracy against cost on ImageNet-1k, of convolutional, attention and feedforward networks."""

from resmlp.paper.tables import MACS, PARAMETERS, TOP1, Column, Row, Table

TABLE = Table(
    "Comparison between architectures on ImageNet classification",
    (
        PARAMETERS,
        Column("images_per_s", "pictures/s (V100, batch 32)"),
        MACS,
        Column("peak_memory", "peak memory (MB)", 1e6),
        TOP1,
    ),
    (
        Row("cait-m48", "CaiT-M48 at 448, distilled", (356, 5.4, 329.6, 5477.8, 86.5)),
        Row("nfnet-f6", "NfNet-F6 SAM", (438, 16.0, 377.3, 5519.3, 86.5)),
        Row("efficientnet-b3", "EfficientNet-B3", (12, 661.8, 1.8, 1174.0, 81.1), "timm:efficientnet_b3"),
        Row("efficientnet-b4", "EfficientNet-B4", (19, 349.4, 4.2, 1898.9, 82.6), "timm:efficientnet_b4"),
        Row("efficientnet-b5", "EfficientNet-B5", (30, 169.1, 9.9, 2734.9, 83.3), "timm:efficientnet_b5"),
        Row("regnety-4gf", "RegNetY-4GF", (21, 861.0, 4.0, 568.4, 80.0), "timm:regnety_040"),
        Row("regnety-8gf", "RegNetY-8GF", (39, 534.4, 8.0, 841.6, 81.7), "timm:regnety_080"),
        Row("regnety-16gf", "RegNetY-16GF", (84, 334.7, 16.0, 1329.6, 82.9), "timm:regnety_160"),
        Row("deit-s", "DeiT-S", (22, 940.4, 4.6, 217.2, 79.8), "deit_s", "s12"),
        Row("deit-b", "DeiT-B", (86, 292.3, 17.5, 573.7, 81.8), "timm:deit_base_patch16_224"),
        Row("cait-xs24", "CaiT-XS24", (27, 447.6, 5.4, 245.5, 81.8), "timm:cait_xs24_384"),
        Row("s12", "ResMLP-S12", (15, 1415.1, 3.0, 179.5, 76.6), "resmlp_s12"),
        Row("s24", "ResMLP-S24", (30, 715.4, 6.0, 235.3, 79.4), "resmlp_s24", "s12"),
        # the throughput is the preprint's: the printed table has lost it
        Row("b24", "ResMLP-B24", (116, 231.0, 23.0, 663.0, 81.0), "resmlp_b24", "s12"),
    ),
    "top1",
)
