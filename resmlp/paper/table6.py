"""Table 6: semantic segmentation of ADE20K with UPerNet."""

from resmlp.paper.tables import PERCENT, Column, Row, Table

TABLE = Table(
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
