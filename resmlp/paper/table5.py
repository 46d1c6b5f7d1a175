"""Table 5: machine translation, newstest2014. A row here is a network on a pair of languages."""

from resmlp.paper.tables import Column, Row, Table

PAIRS = {"ende": "En-De", "enfr": "En-Fr"}
NETWORKS = {
    ("gnmt", "GNMT"): (24.6, 39.9),
    ("convs2s", "ConvS2S"): (25.2, 40.5),
    ("transformer", "Transformer (base)"): (27.3, 38.1),
    ("resmlp6", "ResMLP-6"): (26.4, 40.3),
    ("resmlp12", "ResMLP-12"): (26.8, 40.6),
}
COMPARED = ("transformer", "resmlp12")

TABLE = Table(
    "Machine translation on WMT 2014",
    (Column("tokenised_bleu", "tokenised BLEU"),),
    tuple(
        Row(f"{name}-{key}", f"{title}, {pair}", (values[i],), baseline=f"resmlp6-{key}" if name in COMPARED else "")
        for i, (key, pair) in enumerate(PAIRS.items())
        for (name, title), values in NETWORKS.items()
    ),
    "tokenised_bleu",
)
