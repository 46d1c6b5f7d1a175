"""The sizes of the images of an exported network, and the files of their graphs."""

from resmlp.config.image_size import Size, shown
from resmlp.config.model_json import ExportedModelConfig, ExportedSegmenterConfig


def sizes_of(config: ExportedModelConfig | ExportedSegmenterConfig) -> tuple[Size, ...]:
    """The sizes (height, width) of the images that an export takes, the usual one first."""
    if isinstance(config, ExportedSegmenterConfig):
        return (config.segmenter.model.size,)
    return tuple(dict.fromkeys([config.model.size, *config.sizes]))


def graph_name(config: ExportedModelConfig, size: Size) -> str:
    """The name, without an ending, of the files of the graph for images of a size."""
    return f"model-{shown(size)}" if config.sizes else "model"
