"""Table 4: transfer from ImageNet-1k. A row here is a network on a set; the paper has the sets in columns."""

from resmlp.paper.tables import TOP1, Row, Table

SETS = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "flowers": "Flowers-102",
    "cars": "Cars",
    "inat18": "iNat-18",
    "inat19": "iNat-19",
}
TRANSFER = {
    ("efficientnet-b7", "EfficientNet-B7 at 600"): (98.9, 91.7, 98.8, 94.7, None, None),
    ("vit-b16", "ViT-B/16 at 384"): (98.1, 87.1, 89.5, None, None, None),
    ("vit-l16", "ViT-L/16 at 384"): (97.9, 86.4, 89.7, None, None, None),
    ("deit-b16", "DeiT-B/16"): (99.1, 90.8, 98.4, 92.1, 73.2, 77.7),
    ("resnet50", "ResNet50"): (None, None, 96.2, 90.0, 68.4, 73.7),
    ("grafit", "Grafit/ResNet50"): (None, None, 97.6, 92.7, 68.5, 74.6),
    ("s12", "ResMLP-S12"): (98.1, 87.0, 97.4, 84.6, 60.2, 71.0),
    ("s24", "ResMLP-S24"): (98.7, 89.5, 97.9, 89.5, 64.3, 72.5),
}

TABLE = Table(
    "Evaluation on transfer learning",
    (TOP1,),
    tuple(
        Row(f"{name}-{key}", f"{title}, {what}", (value,), baseline=f"s12-{key}" if name == "s24" else "")
        for i, (key, what) in enumerate(SETS.items())
        for (name, title), values in TRANSFER.items()
        if (value := values[i]) is not None
    ),
    "top1",
)
