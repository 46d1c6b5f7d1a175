"""Figures 2, 3 and 4. The paper prints no numbers of Figures 2 and 3, and of Figure 4 only those of ResMLP."""

from resmlp.paper.tables import PERCENT, TABLE3, TOP1, Column, Row, Table

NETWORKS = (Row("s24", "ResMLP-S24", (), "resmlp_s24"), Row("s12", "ResMLP-S12 (appendix B)", (), "resmlp_s12"))
SHARES = (
    Column("sparsity_a", "A: linear over patches (%)", PERCENT),
    Column("sparsity_b", "B: first matrix of the MLP (%)", PERCENT),
    Column("sparsity_c", "C: second matrix of the MLP (%)", PERCENT),
)

FIGURE2 = Table("Rows of A as images, of the 6x6 central patches", (), NETWORKS, "")
FIGURE3 = Table("Entries below 5 % of the largest of their matrix, mean over the layers", SHARES, NETWORKS[:1], "")

V2 = Column("v2", "ImageNet-V2 (%)", PERCENT)
FIGURE4 = Table(
    "Top-1 on ImageNet-V2 against ImageNet val",
    (TOP1, V2),
    tuple(Row(row.name, row.title, (row.values[2], row.values[4]), row.model) for row in TABLE3.rows),
    "v2",
)

PEERS = {
    "convnets": {
        "EfficientNet-B2": (80.084, 68.760),
        "EfficientNet-B3": (81.644, 70.620),
        "RegNetY-4GF": (79.232, 67.570),
        "RegNetY-8GF": (79.868, 68.710),
        "RegNetY-16GF": (80.298, 69.010),
        "RegNetY-32GF": (80.808, 70.020),
        "ResNet-50": (80.850, 69.750),
    },
    "transformers": {
        "DeiT-S": (79.844, 68.710),
        "DeiT-B": (81.992, 71.210),
        "DeiT-S, distilled": (81.218, 70.510),
        "CaiT-XXS24": (78.384, 67.340),
        "CaiT-XXS36": (79.746, 68.410),
        "XCiT-S12/16": (81.970, 71.200),
        "Swin-T": (81.376, 69.470),
    },
}
"""The other networks of Figure 4, for which the paper prints no numbers: top-1 on val and on V2, in per cent.

Measured by timm: huggingface/pytorch-image-models, results/results-imagenetv2-matched-frequency.csv (commit 0173a139;
V2 is `top1`, val is `top1` minus `top1_diff`): tf_efficientnet_b{2,3}.aa_in1k, regnety_{040,080,160,320}.pycls_in1k,
resnet50.tv2_in1k, deit_{small,base}_patch16_224.fb_in1k, deit_small_distilled_patch16_224.fb_in1k,
cait_xxs{24,36}_224.fb_dist_in1k, xcit_small_12_p16_224.fb_in1k, swin_tiny_patch4_window7_224.ms_in1k.
"""
