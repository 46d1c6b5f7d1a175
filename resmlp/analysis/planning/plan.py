"""`plan_run()`: time, memory, storage and network of a run, and what would hold it up. Nothing is run or measured."""

import math

from resmlp.analysis.planning.figures import (
    IMAGENET,
    IMAGENET_BYTES,
    IMAGENET_IMAGES,
    Figure,
    Gpu,
    gpu_named,
    measured_figure,
    published_speed,
)
from resmlp.analysis.planning.result import Memory, RunPlan
from resmlp.analysis.planning.work import FLOAT, STATE, Work, count_work, macs_of
from resmlp.config import ImageRecipe, Recipe
from resmlp.config.place import Place
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

SMALL = 64
"""pixels of a side up to which images are taken for those of a data set in memory"""


def plan_run(recipe: Recipe, place: Place) -> RunPlan:
    """What the run of a recipe needs. Raises `UserError` for a recipe of text, or where the images are not known."""
    if not isinstance(recipe, ImageRecipe):
        raise UserError(f"{recipe.name} translates text", "plan takes recipes of images")
    gpu, work, batch = gpu_named(place.gpu), count_work(recipe), recipe.data.batch_size
    parts = place.gpus * recipe.run.accumulate
    demand(batch >= parts, f"--data.batch-size {batch} over {parts} parts", "use fewer GPUs, or a larger batch")
    precision = recipe.run.precision
    if precision == "auto":
        precision = "bf16" if gpu.bf16 else "fp32"
    images, bytes_ = _data(recipe, place)
    compute = _compute_speed(work, gpu, precision, place.mfu)
    core = _core_speed(work)
    own = batch / place.gpus  # images of a GPU in a step
    volume = 2 * (place.gpus - 1) / place.gpus * FLOAT * work.parameters
    speeds = {"computing": compute.value, "decoding": core.value * max(1, recipe.data.workers)}
    if place.storage and bytes_:
        speeds["storage"] = place.storage * 1e6 / bytes_.value / place.gpus
    if place.network and volume:
        speeds["network"] = own / (volume / (place.network * 1e9 / 8))
    slowest = min(speeds, key=lambda name: speeds[name])
    speed = speeds[slowest]
    kept = Figure(work.kept, _kept_source())
    return RunPlan(
        recipe=recipe.name,
        network=work.network,
        size=work.size,
        gpus=place.gpus,
        gpu=gpu.title,
        precision=precision,
        batch=batch,
        epochs=recipe.run.epochs,
        images=int(images.value),
        workers=recipe.data.workers,
        hours=images.value * recipe.run.epochs / (place.gpus * speed) / 3600,
        images_per_s=place.gpus * speed,
        step_s=own / speed,
        speeds=speeds,
        bottleneck=slowest,
        cores=math.ceil(compute.value / core.value),
        memory=_memory(recipe, work, math.ceil(batch / parts), place.gpus > 1),
        gpu_memory=gpu.memory,
        step_bytes=volume,
        image_bytes=bytes_.value if bytes_ else None,
        sources={
            "computing": compute.source,
            "GPU": gpu.source,
            "decoding": core.source,
            "activations": kept.source,
            "images": images.source,
            **({"image size": bytes_.source} if bytes_ else {}),
            "network": "2 (N - 1) / N x 4 bytes x parameters: a ring all-reduce of gradients in fp32",
        },
    )


def _compute_speed(work: Work, gpu: Gpu, precision: str, mfu: float | None) -> Figure:
    """Images per second of one GPU: operations, the peak of the data sheet, and a share of it that is reached."""
    peak = gpu.peak(precision)
    demand(peak is not None, f"{gpu.title} has no units for {precision}", "add --run.precision fp32")
    assert peak is not None
    rule = (
        f"{work.operations / 1e9:.1f} x 10^9 operations an image at {{share:.1%}} of {peak / 1e12:g} x 10^12 a second"
    )
    if mfu is not None:
        source = f"computed, not measured: {rule.format(share=mfu)}, as --mfu says"
        return Figure(peak * mfu / work.operations, source)
    known = published_speed(work.network, precision)
    reference = known.gpu.peak(precision)
    assert reference is not None
    reached = 2 * known.passes * macs_of(known.network) * known.images_per_s / reference
    share = reached * min(1.0, gpu.bandwidth / peak / (known.gpu.bandwidth / reference))
    of = f"{known.network} reached {reached:.1%} on a {known.gpu.title} ({known.source})"
    less = ", less as far as this GPU's memory is slower for each operation" if share < reached else ""
    return Figure(peak * share / work.operations, f"computed, not measured: {rule.format(share=share)}: {of}{less}")


def _core_speed(work: Work) -> Figure:
    """Images per second that a core decodes and augments."""
    if max(work.size) <= SMALL:
        return measured_figure("small_images_per_core")
    train, decode = measured_figure("train_images_per_core"), measured_figure("decoded_images_per_core")
    if work.views == 1:
        return train
    seconds = 1 / decode.value + work.views * (1 / train.value - 1 / decode.value)
    return Figure(1 / seconds, f"computed for {work.views} views of an image, from {train.source}")


def _data(recipe: ImageRecipe, place: Place) -> tuple[Figure, Figure | None]:
    """The number of training images and the bytes of one: as they are given, counted, or published."""
    images, size = None, None
    if recipe.data.root is not None:
        images, size = _counted(recipe)
    elif IMAGENET in recipe.about:
        images, size = IMAGENET_IMAGES, IMAGENET_BYTES
    else:
        from resmlp.data.images.published_datasets import PUBLISHED_DATASETS

        published = PUBLISHED_DATASETS.get(recipe.data.source)
        images = Figure(published.counts[0], f"{published.title}, training images") if published else None
    if place.images:
        images = Figure(place.images, "--images")
    if place.image_kb:
        size = Figure(place.image_kb * 1000, "--image-kb")
    hint = "give --images N and --image-kb KB" + ", or --data.root PATH" * (recipe.data.source == "folder")
    demand(images is not None, f"the number of images of {recipe.name} is not known", hint)
    assert images is not None
    return Figure(max(1, round(images.value * recipe.data.fraction)), images.source), size


def _counted(recipe: ImageRecipe) -> tuple[Figure, Figure | None]:
    """Counted in `--data.root`, without reading an image."""
    import numpy as np

    from resmlp.data.images.file_stats import sizes_and_times
    from resmlp.data.images.trees import open_tree
    from resmlp.data.shards.rows import Entries

    found = open_tree(str(recipe.data.root))
    listed = (found.train or found.whole).images
    demand(len(listed) > 0, f"no images in {recipe.data.root}", "give --images N and --image-kb KB")
    share = 1.0 if found.train else 1 - recipe.data.val_fraction
    if isinstance(listed, Entries):
        mean = float(np.mean(listed.packed.size[listed.numbers()]))
    else:
        mean = float(sizes_and_times([image for _, image in listed])[:, 0].mean())
    source = f"counted in {recipe.data.root}"
    return Figure(max(1, round(len(listed) * share)), source), Figure(mean, source) if mean else None


def _memory(recipe: ImageRecipe, work: Work, images: int, several: bool) -> Memory:
    """Of a GPU, which sees so many images at once."""
    weights = FLOAT * work.parameters
    averages = (recipe.run.ema is not None) + (recipe.run.average > 0)
    pixels = math.prod(work.size) * 3 * (1 + FLOAT) * work.views  # uint8, and normalized
    return Memory(
        weights=weights + FLOAT * work.frozen_parameters,
        gradients=weights * (2 if several else 1),  # DistributedDataParallel has buckets for the sums
        optimizer=weights * STATE[recipe.optim.name],
        averages=weights * averages,
        activations=images * work.kept,
        images=images * pixels,
    )


def _kept_source() -> str:
    own = measured_figure("activation_bytes_resmlp_s12")
    known = f"measured of resmlp_s12: {own.value / 1e6:.1f} MB ({own.source})"
    return f"counted, not measured: what autograd keeps of an image in fp32, bf16 keeps less; {known}"
