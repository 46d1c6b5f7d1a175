"""Tables 1 to 6 of the paper as printed. Values only.

The types come first, then the columns that several tables share, then one table after the other.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column of numbers."""

    name: str
    """name of the number in the summary of a run, or in a measurement"""
    title: str
    """heading, with the unit of the printed numbers"""
    factor: float = 1.0
    """printed number times factor = fraction or count: 0.01 for per cent"""


@dataclass(frozen=True)
class Row:
    """A row: a network or a training, and its numbers."""

    name: str
    """name on the command line"""
    title: str
    """name in the paper"""
    values: tuple[float | None, ...]
    """numbers as printed, in the order of the table's columns; None where the paper has no number"""
    model: str = ""
    """the network: a key of `ARCHITECTURES`, or timm:NAME; empty if neither has it"""
    baseline: str = ""
    """name of the row that it is compared with; empty for a baseline, and for a row that is not compared"""


@dataclass(frozen=True)
class Table:
    """A table or a figure."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    main: str
    """name of the column in which rows are compared; empty if they are not"""

    def row(self, name: str) -> Row:
        """The row of this name. Raises KeyError for an unknown one."""
        return {row.name: row for row in self.rows}[name]

    def reported(self, row: Row) -> dict[str, float]:
        """The numbers of `row` as fractions and counts, by the names of their columns."""
        pairs = zip(self.columns, row.values)
        return {column.name: round(value * column.factor, 9) for column, value in pairs if value is not None}


PERCENT = 0.01
TOP1 = Column("top1", "top-1 (%)", PERCENT)
PARAMETERS = Column("parameters", "parameters (10⁶)", 1e6)
MACS = Column("macs", "MACs (10⁹)", 1e9)
"""multiply-adds, which the paper calls FLOPs"""

TABLE1 = Table(
    "Comparison between architectures on ImageNet classification",
    (
        PARAMETERS,
        Column("images_per_s", "images/s (V100, batch 32)"),
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
        # the throughput is from the preprint: it is missing in the printed table
        Row("b24", "ResMLP-B24", (116, 231.0, 23.0, 663.0, 81.0), "resmlp_b24", "s12"),
    ),
    "top1",
)


TABLE2 = Table(
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


def ablation(name: str, title: str, values: tuple[float, float, float, float, float], model: str) -> Row:
    """A row of Table 3 that is compared with ResMLP-S12."""
    return Row(name, title, values, f"resmlp_{model}", "s12")


TABLE3 = Table(
    "Ablation on ImageNet-1k",
    (PARAMETERS, MACS, TOP1, Column("real", "ReaL (%)", PERCENT), Column("v2", "V2 (%)", PERCENT)),
    (
        Row("s12", "ResMLP-S12", (15.4, 3.0, 76.6, 83.3, 64.4), "resmlp_s12"),
        ablation("s24", "ResMLP-S24", (30.0, 6.0, 79.4, 85.3, 67.9), "s24"),
        ablation("b24", "ResMLP-B24", (115.7, 23.0, 81.0, 86.1, 69.0), "b24"),
        ablation("layernorm", "Aff → LayerNorm", (15.4, 3.0, 77.7, 84.1, 65.7), "s12_layernorm"),
        ablation("classmlp", "average pooling → Class-MLP", (17.7, 3.0, 77.5, 84.0, 66.1), "s12_classmlp"),
        ablation("none", "linear → none", (14.9, 2.8, 56.5, 63.4, 43.1), "s12_none"),
        ablation("mlp", "linear → MLP", (18.6, 4.3, 77.3, 84.0, 65.7), "s12_mlp"),
        ablation("conv3x3", "linear → conv 3x3", (30.8, 6.0, 77.3, 84.4, 65.7), "s12_conv3x3"),
        ablation("dwconv", "linear → conv 3x3 depth-wise", (14.9, 2.8, 76.3, 83.4, 64.6), "s12_dwconv"),
        ablation("sepconv", "linear → conv 3x3 depth-separable", (16.7, 3.2, 77.0, 84.0, 65.5), "s12_sepconv"),
        ablation("p14", "patch size 16 → 14", (15.6, 4.0, 76.9, 83.7, 65.0), "s12_p14"),
        ablation("p8", "patch size 16 → 8", (22.1, 14.0, 79.1, 85.2, 67.2), "s12_p8"),
        ablation("b24-p8", "ResMLP-B24, patch size 16 → 8", (129.1, 100.2, 81.0, 85.7, 68.6), "b24_p8"),
        ablation("oldschool", "old-fashioned training (90 epochs)", (15.4, 3.0, 69.2, 76.0, 56.1), "s12"),
        ablation("ssl", "pre-trained SSL (DINO)", (15.4, 3.0, 76.5, 83.6, 64.5), "s12"),
        ablation("distill", "distillation", (15.4, 3.0, 77.8, 84.6, 66.0), "s12"),
        ablation("s24-ssl", "ResMLP-S24, pre-trained SSL (DINO)", (30.0, 6.0, 79.9, 85.9, 68.6), "s24"),
        ablation("s24-distill", "ResMLP-S24, distillation", (30.0, 6.0, 80.8, 86.6, 69.8), "s24"),
        ablation("b24-p8-distill", "ResMLP-B24/8, distillation", (129.1, 100.2, 83.6, 88.4, 73.4), "b24_p8"),
        ablation("b24-p8-21k", "ResMLP-B24/8, pre-trained ImageNet-21k", (129.1, 100.2, 84.4, 88.9, 74.2), "b24_p8"),
    ),
    "top1",
)


DATASETS = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "flowers": "Flowers-102",
    "cars": "Cars",
    "inat18": "iNat-18",
    "inat19": "iNat-19",
}
TRANSFER = {  # accuracy on each of `DATASETS`
    ("efficientnet-b7", "EfficientNet-B7 at 600"): (98.9, 91.7, 98.8, 94.7, None, None),
    ("vit-b16", "ViT-B/16 at 384"): (98.1, 87.1, 89.5, None, None, None),
    ("vit-l16", "ViT-L/16 at 384"): (97.9, 86.4, 89.7, None, None, None),
    ("deit-b16", "DeiT-B/16"): (99.1, 90.8, 98.4, 92.1, 73.2, 77.7),
    ("resnet50", "ResNet50"): (None, None, 96.2, 90.0, 68.4, 73.7),
    ("grafit", "Grafit/ResNet50"): (None, None, 97.6, 92.7, 68.5, 74.6),
    ("s12", "ResMLP-S12"): (98.1, 87.0, 97.4, 84.6, 60.2, 71.0),
    ("s24", "ResMLP-S24"): (98.7, 89.5, 97.9, 89.5, 64.3, 72.5),
}

TABLE4 = Table(
    "Evaluation on transfer learning",
    (TOP1,),
    tuple(
        Row(f"{name}-{key}", f"{title}, {dataset}", (value,), baseline=f"s12-{key}" if name == "s24" else "")
        for i, (key, dataset) in enumerate(DATASETS.items())
        for (name, title), values in TRANSFER.items()
        if (value := values[i]) is not None
    ),
    "top1",
)


PAIRS = {"ende": "En-De", "enfr": "En-Fr"}
TRANSLATORS = {  # BLEU of each of `PAIRS`
    ("gnmt", "GNMT"): (24.6, 39.9),
    ("convs2s", "ConvS2S"): (25.2, 40.5),
    ("transformer", "Transformer (base)"): (27.3, 38.1),
    ("resmlp6", "ResMLP-6"): (26.4, 40.3),
    ("resmlp12", "ResMLP-12"): (26.8, 40.6),
}
COMPARED_WITH_RESMLP6 = ("transformer", "resmlp12")

TABLE5 = Table(
    "Machine translation on WMT 2014",
    (Column("tokenized_bleu", "tokenized BLEU"),),
    tuple(
        Row(
            f"{name}-{key}",
            f"{title}, {pair}",
            (values[i],),
            baseline=f"resmlp6-{key}" if name in COMPARED_WITH_RESMLP6 else "",
        )
        for i, (key, pair) in enumerate(PAIRS.items())
        for (name, title), values in TRANSLATORS.items()
    ),
    "tokenized_bleu",
)


TABLE6 = Table(
    "Semantic segmentation on ADE20K with UPerNet",
    (Column("miou", "mIoU (%)", PERCENT),),
    (
        Row("deit-s", "DeiT-S", (40.5,), "deit_s", "s12"),
        Row("deit-b", "DeiT-B", (42.3,), "timm:deit_base_patch16_224", "s12"),
        Row("s12", "ResMLP-12", (35.9,), "resmlp_s12"),
        Row("s24", "ResMLP-24", (39.1,), "resmlp_s24", "s12"),
        Row("s36", "ResMLP-36", (39.1,), "resmlp_s36", "s12"),
        Row("b24", "ResMLP-B24", (42.5,), "resmlp_b24", "s12"),
    ),
    "miou",
)
