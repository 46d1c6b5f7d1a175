"""Table 3: the ablation on ImageNet-1k, with ReaL and V2."""

from resmlp.paper.tables import MACS, PARAMETERS, PERCENT, TOP1, Column, Row, Table


def row(name: str, what: str, values: tuple[float, float, float, float, float], model: str) -> Row:
    """A row below the baseline, which is ResMLP-S12 for all of them."""
    return Row(name, what, values, f"resmlp_{model}", "s12")


TABLE = Table(
    "Ablation on ImageNet-1k",
    (PARAMETERS, MACS, TOP1, Column("real", "ReaL (%)", PERCENT), Column("v2", "V2 (%)", PERCENT)),
    (
        Row("s12", "ResMLP-S12", (15.4, 3.0, 76.6, 83.3, 64.4), "resmlp_s12"),
        row("s24", "ResMLP-S24", (30.0, 6.0, 79.4, 85.3, 67.9), "s24"),
        row("b24", "ResMLP-B24", (115.7, 23.0, 81.0, 86.1, 69.0), "b24"),
        row("layernorm", "Aff → LayerNorm", (15.4, 3.0, 77.7, 84.1, 65.7), "s12_layernorm"),
        row("classmlp", "average pooling → Class-MLP", (17.7, 3.0, 77.5, 84.0, 66.1), "s12_classmlp"),
        row("none", "linear → none", (14.9, 2.8, 56.5, 63.4, 43.1), "s12_none"),
        row("mlp", "linear → MLP", (18.6, 4.3, 77.3, 84.0, 65.7), "s12_mlp"),
        row("conv3x3", "linear → conv 3x3", (30.8, 6.0, 77.3, 84.4, 65.7), "s12_conv3x3"),
        row("dwconv", "linear → conv 3x3 depth-wise", (14.9, 2.8, 76.3, 83.4, 64.6), "s12_dwconv"),
        row("sepconv", "linear → conv 3x3 depth-separable", (16.7, 3.2, 77.0, 84.0, 65.5), "s12_sepconv"),
        row("p14", "patch size 16 → 14", (15.6, 4.0, 76.9, 83.7, 65.0), "s12_p14"),
        row("p8", "patch size 16 → 8", (22.1, 14.0, 79.1, 85.2, 67.2), "s12_p8"),
        row("b24-p8", "ResMLP-B24, patch size 16 → 8", (129.1, 100.2, 81.0, 85.7, 68.6), "b24_p8"),
        row("oldschool", "old-fashioned training (90 epochs)", (15.4, 3.0, 69.2, 76.0, 56.1), "s12"),
        row("ssl", "pre-trained SSL (DINO)", (15.4, 3.0, 76.5, 83.6, 64.5), "s12"),
        row("distill", "distillation", (15.4, 3.0, 77.8, 84.6, 66.0), "s12"),
        row("s24-ssl", "ResMLP-S24, pre-trained SSL (DINO)", (30.0, 6.0, 79.9, 85.9, 68.6), "s24"),
        row("s24-distill", "ResMLP-S24, distillation", (30.0, 6.0, 80.8, 86.6, 69.8), "s24"),
        row("b24-p8-distill", "ResMLP-B24/8, distillation", (129.1, 100.2, 83.6, 88.4, 73.4), "b24_p8"),
        row("b24-p8-21k", "ResMLP-B24/8, pre-trained ImageNet-21k", (129.1, 100.2, 84.4, 88.9, 74.2), "b24_p8"),
    ),
    "top1",
)
