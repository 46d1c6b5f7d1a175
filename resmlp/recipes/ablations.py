"""The ablations of Table 3, one recipe per row: `imagenet-s12` with one part of the network changed."""

from dataclasses import replace

from resmlp.config import ImageRecipe
from resmlp.recipes.imagenet import S12


def row(variant: str, paper: str, top1: float) -> ImageRecipe:
    """The recipe `s12-<variant>` of a row of Table 3, with its top-1 accuracy."""
    return replace(
        S12,
        name=f"s12-{variant}",
        about=f"ablation on ImageNet-1k: {paper.split(', ')[-1]}",
        paper=f"Table 3, {paper}",
        model=replace(S12.model, name=f"resmlp_s12_{variant}"),
        expected=(("top1", top1),),
    )


GLOBAL_FILTER = replace(
    S12,
    name="s12-globalfilter",
    about="ablation on ImageNet-1k: linear -> global filter (GFNet); not a row of the paper",
    paper="",
    model=replace(S12.model, name="resmlp_s12_globalfilter"),
    expected=(),
)

RECIPES = (
    row("layernorm", "normalization, Aff -> LayerNorm", 0.777),
    row("classmlp", "pooling, average pooling -> Class-MLP", 0.775),
    row("none", "patch communication, linear -> none", 0.565),
    row("mlp", "patch communication, linear -> MLP", 0.773),
    row("conv3x3", "patch communication, linear -> conv 3x3", 0.773),
    row("dwconv", "patch communication, linear -> conv 3x3 depth-wise", 0.763),
    row("sepconv", "patch communication, linear -> conv 3x3 depth-separable", 0.770),
    GLOBAL_FILTER,
    row("p14", "patch size, 16x16 -> 14x14", 0.769),
    row("p8", "patch size, 16x16 -> 8x8", 0.791),
)
