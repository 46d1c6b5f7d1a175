"""Segmenters: parts against the published UPerNet, features against those of the backbones, and files."""

import json
import shutil
import sys
from copy import deepcopy
from dataclasses import replace

import pytest
import timm
import torch
import torch.distributed
import torch.nn.functional as F
from torch import nn

from resmlp.config import ImageRecipe, Model
from resmlp.config.model_json import SegmenterConfig, SegmenterModelConfig
from resmlp.config.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from resmlp.config.tasks import Segment
from resmlp.config.vision import architecture
from resmlp.hub.resolve import resolve
from resmlp.models import (
    Segmenter,
    Trunk,
    TrunkConfig,
    build_segmenter,
    count_parameters,
    create_model,
    open_model,
    preprocessing_of,
    save_model,
)
from resmlp.models.backbones import TimmFeatures, TrunkFeatures, quarters
from resmlp.models.segmentation_head import PyramidNeck, initialize
from resmlp.models.segmenter_files import open_segmenter, save_segmenter
from resmlp.nn.batch_norm import SYNCHRONIZED, synchronize_batch_norm
from resmlp.nn.grid_resampling import resampling
from resmlp.tasks import complete
from resmlp.utils.errors import UserError

SIZE, CLASSES = (32, 48), ("sky", "road", "żółw", "")
SMALL = {"dim": 12, "depth": 4, "patch_size": 8, "heads": 2}
TRUNKS = [
    {},
    {"name": "deit_s"},
    {"name": "resmlp_s12_classmlp"},
    {"name": "mixer_s16", "token_hidden": 7},
    {"mixer": "dwconv", "pos_embed": True},
    {"depth": 1},
    {"norm": "batchnorm", "residual": "post"},
]
BACKBONES = ["deit_tiny_patch16_224", "resnet18"]


def trunk_config(size=SIZE, name="resmlp_s12", num_classes=0, **changes):
    return TrunkConfig(name, architecture(name, **SMALL | changes), size, num_classes)


def segmenter_config(size=SIZE, backbone=None, width=8, auxiliary=6, **changes):
    trunk = None if backbone else trunk_config(size, **changes)
    return SegmenterConfig(size, len(CLASSES), trunk, backbone, width, auxiliary)


def segmenter(**options):
    return Segmenter(segmenter_config(**options))


def scramble(model):
    """Change every tensor, also running statistics."""
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 1)
    return model


def saved(folder, model, **changes):
    save_segmenter(
        folder, model, SegmenterModelConfig(model.config, Preprocessing(model.config.size), CLASSES, **changes)
    )
    return folder


# against the published definition


@pytest.mark.parametrize(("dim", "width", "auxiliary", "classes"), [(384, 512, 256, 150), (12, 8, 6, 4)])
def test_parameters_of_neck_and_heads_in_closed_form(dim, width, auxiliary, classes):
    trunk = trunk_config(dim=dim)
    with torch.device("meta"):
        model = Segmenter(SegmenterConfig(SIZE, classes, trunk, None, width, auxiliary))

    def conv(kernel, before, after):  # without a bias, and a norm's two numbers a channel
        return kernel**2 * before * after + 2 * after

    pooling = 4 * conv(1, dim, width) + conv(3, dim + 4 * width, width)
    top_down = 3 * (conv(1, dim, width) + conv(3, width, width))
    assert count_parameters(model.decoder) == pooling + top_down + conv(3, 4 * width, width)
    assert count_parameters(model.classifier) == width * classes + classes
    assert count_parameters(model.auxiliary) == conv(3, dim, auxiliary) + auxiliary * classes + classes
    assert count_parameters(model.neck) == 3 * (4 * dim**2 + dim) + 2 * dim


@pytest.mark.isa
def test_the_heads_equal_upernet_of_transformers():
    from transformers import UperNetConfig
    from transformers.models.upernet.modeling_upernet import UperNetFCNHead, UperNetHead

    model = scramble(segmenter(dim=12)).double().eval()
    known = UperNetConfig(hidden_size=8, auxiliary_channels=6, num_labels=len(CLASSES))
    reference, fcn = (head(known, [12] * 4).double().eval() for head in (UperNetHead, UperNetFCNHead))
    upernet = model.decoder.upernet
    blocks = [
        *((upernet.psp.blocks[i][1], reference.psp_modules.blocks[i].layers[1]) for i in range(4)),
        (upernet.psp.out_conv, reference.bottleneck),
        *((upernet.fpn_lateral_blocks[i].conv_norm_relu, reference.lateral_convs[2 - i]) for i in range(3)),
        *((upernet.fpn_conv_blocks[i], reference.fpn_convs[2 - i]) for i in range(3)),
        (upernet.fusion_block, reference.fpn_bottleneck),
        (model.auxiliary[:3], fcn.convs[0]),
    ]
    for mine, other in blocks:
        other.conv.load_state_dict(mine[0].state_dict())
        other.batch_norm.load_state_dict(mine[1].state_dict())
    reference.classifier.load_state_dict(model.classifier[1].state_dict())
    fcn.classifier.load_state_dict(model.auxiliary[4].state_dict())
    maps = [torch.randn(2, 12, 16 >> i, 24 >> i).double() for i in range(4)]
    torch.testing.assert_close(model.classifier(model.decoder(list(maps))), reference(maps))
    torch.testing.assert_close(model.auxiliary(maps[2]), fcn(maps))


def test_published_settings_are_the_defaults():
    model = segmenter(width=512, auxiliary=256)
    dropouts = [part.p for part in model.modules() if isinstance(part, nn.Dropout2d)]
    assert (SegmenterConfig.width, SegmenterConfig.auxiliary) == (512, 256)
    assert dropouts == [0.1, 0.1]
    assert model.classifier[1].weight.std().item() == pytest.approx(0.01, rel=0.1)
    fusion = model.decoder.upernet.fusion_block[0].weight
    assert fusion.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.02)


@pytest.mark.parametrize(("width", "std"), [(512, 0.01), (64, 0.08), (32, 0.16)])
def test_a_narrower_classifier_starts_larger(width, std):
    layer = nn.Conv2d(width, 100, 1)
    initialize(layer)
    assert layer.weight.std().item() == pytest.approx(std, rel=0.1)
    assert not layer.bias.any()


@pytest.mark.isa
def test_transposed_convolutions_of_the_neck_act_on_each_token():
    neck = PyramidNeck(3).double().eval()
    maps = [torch.randn(2, 3, 3, 5).double() for _ in range(4)]
    fine, double, same, half = neck(maps)
    assert [tuple(m.shape[2:]) for m in (fine, double, same, half)] == [(12, 20), (6, 10), (3, 5), (2, 3)]
    assert torch.equal(same, maps[2])
    assert torch.equal(half[0, 0, 1, 2], maps[3][0, 0, 2, 4])
    assert torch.equal(half[1, 2, 0, 0], maps[3][1, 2, :2, :2].max())
    tokens, weight = maps[1].permute(0, 2, 3, 1), neck.levels[1].weight  # a token times a matrix for each of 2x2
    by_hand = torch.einsum("bhwc,cdij->bdhiwj", tokens, weight).reshape(2, 3, 6, 10)
    torch.testing.assert_close(double, by_hand + neck.levels[1].bias[:, None, None])


@pytest.mark.parametrize("patch", [4, 8, 16])
def test_pyramid_for_each_patch(patch):
    size = (2 * patch, 3 * patch)
    model = segmenter(size=size, patch_size=patch).eval()
    pyramid = model.neck(model.backbone(torch.randn(1, 3, *size)))
    assert [tuple(m.shape) for m in pyramid] == [(1, 12, 8, 12), (1, 12, 4, 6), (1, 12, 2, 3), (1, 12, 1, 2)]
    assert model(torch.randn(1, 3, *size)).shape == (1, len(CLASSES), *size)


# features


def test_quarters():
    assert quarters(12) == [2, 5, 8, 11]
    assert quarters(36) == [8, 17, 26, 35]
    assert [quarters(depth) for depth in (1, 2, 6)] == [[0, 0, 0, 0], [0, 0, 1, 1], [1, 2, 4, 5]]


@pytest.mark.parametrize("changes", TRUNKS, ids=str)
def test_maps_are_the_tokens_after_each_quarter(changes):
    config = trunk_config(**changes)
    trunk = Trunk(config).eval()
    images, seen = torch.randn(2, 3, *SIZE), []
    for block in trunk.blocks:
        block.register_forward_hook(lambda module, inputs, output: seen.append(output))
    trunk(images)
    maps = TrunkFeatures(trunk).eval()(images)
    tokens = [seen[i][:, config.architecture.pool == "classtoken" :] for i in quarters(config.architecture.depth)]
    for features, expected in zip(maps, tokens, strict=True):
        assert features.shape == (2, 12, 4, 6)
        for down in range(4):
            for across in range(6):
                assert torch.equal(features[:, :, down, across], expected[:, 6 * down + across])


def test_maps_of_a_timm_transformer_are_its_blocks_outputs():
    features = TimmFeatures("deit_tiny_patch16_224", (32, 48)).eval()
    images, seen = torch.randn(2, 3, 32, 48), []
    for block in features.net.model.blocks:
        block.register_forward_hook(lambda module, inputs, output: seen.append(output))
    maps = features(images)
    assert features.channels == (192,) * 4
    assert features.strides == (16,) * 4
    for i, layer in enumerate((2, 5, 8, 11)):
        assert torch.equal(maps[i], seen[layer][:, 1:].transpose(1, 2).reshape(2, 192, 2, 3))


@pytest.mark.isa
def test_maps_of_a_convolutional_network_are_a_pyramid():
    features = TimmFeatures("resnet18", SIZE).double().eval()
    whole, images = timm.create_model("resnet18").double().eval(), torch.randn(2, 3, *SIZE).double()
    whole.load_state_dict(features.net.model.state_dict() | whole.get_classifier().state_dict(prefix="fc."))
    x = whole.maxpool(whole.act1(whole.bn1(whole.conv1(images))))
    for i, stage in enumerate((whole.layer1, whole.layer2, whole.layer3, whole.layer4)):
        x = stage(x)
        torch.testing.assert_close(features(images)[i], x)
    assert features.is_pyramid
    assert features.strides == (4, 8, 16, 32)
    assert isinstance(segmenter(backbone="resnet18").neck, nn.Identity)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("resnet81", SIZE, "no model 'resnet81'"),
        ("hf-hub:timm/resnet18", SIZE, "no model"),
        ("local-dir:/tmp", SIZE, "no model"),
        ("resnet18.nothing", SIZE, "cannot build resnet18.nothing"),
        ("levit_128s", (64, 64), "3 levels"),
        ("deit_tiny_patch16_224", (32, 40), "40 does not divide"),
    ],
)
def test_unsupported_backbones(name, size, message):
    with pytest.raises(UserError, match=message):
        TimmFeatures(name, size)


# the whole


WITHOUT_INFLUENCE = {"neck.levels.0.0.bias", "neck.levels.0.3.bias", "neck.levels.1.bias"}
"""a BatchNorm removes them"""


@pytest.mark.parametrize("options", [*TRUNKS, *({"backbone": name} for name in BACKBONES)], ids=str)
def test_gradients_reach_every_parameter(options):
    model = segmenter(**options).train()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):  # timm's residual branches begin at zero
            nn.init.ones_(part.weight)
    outputs = model(torch.randn(2, 3, *SIZE))
    assert [output.shape for output in outputs] == [(2, len(CLASSES), *SIZE)] * 2
    sum((output * torch.randn_like(output)).sum() for output in outputs).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad.abs().max() > 0) == (name not in WITHOUT_INFLUENCE), name


def test_the_auxiliary_loss_has_no_gradient_in_the_last_quarter():
    model = segmenter().train()
    model(torch.randn(2, 3, *SIZE))[1].sum().backward()
    reached = [i for i, block in enumerate(model.backbone.trunk.blocks) if next(block.parameters()).grad is not None]
    assert reached == [0, 1, 2]


def test_without_an_auxiliary_head_there_is_one_output():
    model = segmenter(auxiliary=0).train()
    assert len(model(torch.randn(2, 3, *SIZE))) == 1
    assert model.eval()(torch.randn(2, 3, *SIZE)).shape == (2, len(CLASSES), *SIZE)


@pytest.mark.isa
def test_logits_are_interpolated_without_aligned_corners():
    model, images = scramble(segmenter()).double().eval(), torch.randn(1, 3, *SIZE).double()
    fine = model.classifier(model.decoder(model.neck(model.backbone(images))))
    assert fine.shape[2:] == (16, 24)
    expected = F.interpolate(fine, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(model(images), expected)


def test_one_image_is_labeled_but_not_trained_on():
    model, image = segmenter(), torch.randn(1, 3, *SIZE)
    assert model.eval()(image).shape == (1, len(CLASSES), *SIZE)
    with pytest.raises(UserError, match="cannot train on one image"):
        model.train()(image)
    model.decoder.eval()  # frozen statistics
    assert len(model(image)) == 2


@pytest.mark.isa
def test_each_image_is_labeled_alone():
    model, images = scramble(segmenter()).double().eval(), torch.randn(3, 3, *SIZE).double()
    torch.testing.assert_close(model(images), torch.cat([model(image[None]) for image in images]))


def test_another_size_is_named():
    for options in ({}, {"backbone": "resnet18"}):
        with pytest.raises(UserError, match=r"windows of 32x48, got \(1, 3, 48, 32\)"):
            segmenter(**options).eval()(torch.randn(1, 3, 48, 32))


def test_a_window_that_does_not_divide_into_patches():
    with pytest.raises(UserError, match="36x48 does not divide into patches of 8"):
        segmenter(size=(36, 48))
    with pytest.raises(UserError, match="32x50 does not divide into patches of 8"):
        segmenter().at((32, 50))


def test_without_the_package(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("segmentation_models_pytorch")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(UserError, match="segmentation-models-pytorch") as error:
        segmenter()
    assert "pip install '.[segment]'" in str(error.value)


def test_compiled():
    model, images = scramble(segmenter(depth=1)).double(), torch.randn(2, 3, *SIZE).double()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    model.eval()
    torch.testing.assert_close(compiled(images), model(images))
    model.train()
    assert [output.shape for output in compiled(images)] == [(2, len(CLASSES), *SIZE)] * 2


@pytest.mark.parametrize("options", [{}, {"name": "resmlp_s12_classmlp"}], ids=str)
def test_data_parallel_finds_no_parameter_without_a_gradient(options, tmp_path):
    torch.distributed.init_process_group("gloo", f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        model = nn.parallel.DistributedDataParallel(segmenter(**options).train())
        for _ in range(2):  # the second step raises where the first left a parameter out
            sum(output.square().mean() for output in model(torch.randn(2, 3, *SIZE))).backward()
        assert next(model.parameters()).grad is not None
    finally:
        torch.distributed.destroy_process_group()


def test_a_backbone_without_features_is_refused_in_one_line():
    with pytest.raises(UserError, match="timm cannot build hardcorenas_a"):
        TimmFeatures("hardcorenas_a", SIZE)


@pytest.mark.parametrize("options", [{"norm": "batchnorm"}, {"backbone": "resnet18"}], ids=str)
def test_every_batch_norm_can_be_synchronized(options):
    """Of the backbone and of the heads; in evaluation, and on one process, the logits are the same."""
    plain, images = segmenter(**options).eval(), torch.randn(2, 3, *SIZE)
    both = deepcopy(plain)
    synchronize_batch_norm(both, torch.device("cpu"))
    for name, part in plain.named_modules():
        is_norm = isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)
        assert (type(both.get_submodule(name)) in SYNCHRONIZED.values()) == is_norm, name
    assert both.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(both(images), plain(images), atol=0, rtol=0)


@pytest.mark.isa
def test_checkpointed_activations_give_the_same_gradients():
    for options in ({}, {"backbone": "deit_tiny_patch16_224"}):
        model, images, gradients = segmenter(**options).double().train(), torch.randn(2, 3, *SIZE).double(), []
        for part in model.modules():
            part.p = 0.0 if isinstance(part, nn.Dropout2d) else getattr(part, "p", None)
        for on in (False, True):
            model.backbone.checkpoint_activations(on)
            model.zero_grad()
            model(images)[0].square().sum().backward()
            gradients.append([p.grad.clone() for p in model.backbone.parameters() if p.grad is not None])
        torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vgg11", "--run.checkpoint-activations: timm's vgg11 does not support it"),
        ("resnet18", "--run.checkpoint-activations would update the BatchNorm statistics of timm's resnet18 twice"),
    ],
)
def test_activations_that_cannot_be_checkpointed(name, message):
    with torch.device("meta"):
        features = TimmFeatures(name, SIZE)
    features.checkpoint_activations(False)
    with pytest.raises(UserError, match=message):
        features.checkpoint_activations(True)


# another size


@pytest.mark.isa
@pytest.mark.parametrize("options", [*TRUNKS, *({"backbone": name} for name in BACKBONES)], ids=str)
def test_at_another_size(options):
    model, images = segmenter(**options).double(), torch.randn(1, 3, *SIZE).double()
    before = model.eval()(images)
    moved = model.train().at((64, 144))
    assert moved.config.size == (64, 144)
    assert not moved.training
    assert model.training
    assert moved(torch.randn(1, 3, 64, 144).double()).shape == (1, len(CLASSES), 64, 144)
    model.eval()
    assert torch.equal(model(images), before)
    torch.testing.assert_close(model.at(SIZE)(images), before)
    shared = {parameter.data_ptr() for parameter in model.parameters()}
    apart = [name for name, parameter in moved.named_parameters() if parameter.data_ptr() not in shared]
    assert all(".tokens.fn." in name or "pos" in name for name in apart)
    assert Segmenter(moved.config).load_state_dict(moved.state_dict())


def test_a_linear_mixer_moves_by_resampling():
    model = segmenter()
    moved = model.at((64, 48)).backbone.trunk.blocks[2].tokens.fn
    r, old = resampling((4, 6), (8, 6)), model.backbone.trunk.blocks[2].tokens.fn
    expected = r.values @ old.weight.double() @ r.weights
    torch.testing.assert_close(moved.weight, expected.float())


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "swin_s3_tiny_224"])
def test_swin_keeps_its_attention_windows_at_another_size(name):
    """Against a network that timm builds for the larger image."""
    features, images = TimmFeatures(name, (224, 224)).double().eval(), torch.randn(1, 3, 224, 448).double()
    whole = timm.create_model(name, img_size=(224, 448), features_only=True, feature_cls="getter").eval()
    whole.double().load_state_dict(features.net.state_dict())
    moved = features.at((224, 448))
    with torch.no_grad():
        for outputs, reference in zip(moved(images), whole(images), strict=True):
            torch.testing.assert_close(outputs, reference)
    assert {p.data_ptr() for p in moved.parameters()} == {p.data_ptr() for p in features.parameters()}


def test_at_for_a_backbone_with_a_fixed_size():
    with pytest.raises(UserError, match="resmlp_12_224 has a fixed image size"):
        segmenter(backbone="resmlp_12_224").at((64, 96))


# weights to start from


@pytest.mark.parametrize("name", ["resmlp_s12", "resmlp_s12_classmlp", "mixer_s16", "deit_s"])
def test_build_from_a_classifier(name, tmp_path):
    classifier = scramble(Trunk(trunk_config((24, 24), name, num_classes=3)))
    save_model(tmp_path, classifier, ("a", "b", "c"), Preprocessing((24, 24)))
    settings = ImageRecipe("x", task=Segment(), model=Model("checkpoint", str(tmp_path), drop_path=0.1))
    model, words = build_segmenter(complete(settings).model, SIZE, 4, width=8, auxiliary=6)
    assert words == f"{tmp_path}, but interpolated from 3x3 to 4x6 tokens"
    assert model.config.trunk.drop_path == 0.1
    expected = create_model(
        name, checkpoint=str(tmp_path), num_classes=0, img_size=SIZE, **SMALL | vars(classifier.config.architecture)
    ).state_dict()
    own = model.backbone.trunk.state_dict()
    assert own.keys() <= expected.keys()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in own.items())
    assert open_segmenter(saved(tmp_path / "run", model)).config.model == model.config


@pytest.mark.parametrize(
    ("name", "size", "mean", "std"),
    [
        ("vit_small_patch16_224.augreg_in21k_ft_in1k", 224, (0.5,) * 3, (0.5,) * 3),
        ("deit_small_patch16_224.fb_in1k", 224, IMAGENET_MEAN, IMAGENET_STD),
        ("vit_small_patch14_dinov2.lvd142m", 518, IMAGENET_MEAN, IMAGENET_STD),
        ("inception_v3.tv_in1k", 299, (0.5,) * 3, (0.5,) * 3),
    ],
)
def test_preprocessing_of_a_pretrained_backbone(name, size, mean, std):
    preprocessing = preprocessing_of(Model(), name)
    assert (preprocessing.size, preprocessing.mean, preprocessing.std) == ((size, size), mean, std)


def test_new_weights_have_no_preprocessing():
    for backbone in (None, "vit_small_patch16_224", "resnet18.nothing", "no.such"):
        assert preprocessing_of(Model(), backbone) is None


def test_build_with_new_weights_and_from_timm():
    small = {key: value for key, value in SMALL.items() if key != "heads"}
    model, words = build_segmenter(Model("resmlp_s12", **small), SIZE, 4, width=8, auxiliary=0)
    assert words == "new"
    assert model.config == SegmenterConfig(
        SIZE, 4, replace(trunk_config(), architecture=model.config.trunk.architecture), None, 8, 0
    )
    model, words = build_segmenter(Model(), SIZE, 4, backbone="resnet18", width=8, auxiliary=6)
    assert (model.config, words) == (segmenter_config(backbone="resnet18"), "new")


# the file


@pytest.mark.parametrize("options", [*TRUNKS, *({"backbone": name} for name in BACKBONES)], ids=str)
def test_round_trip_is_exact(options, tmp_path):
    model, images = segmenter(**options), torch.randn(2, 3, *SIZE)
    model.train()(images)  # running statistics of its own
    back = open_segmenter(saved(tmp_path, model, palette=((0, 128, 255),) * 4))
    assert back.config == SegmenterModelConfig(model.config, Preprocessing(SIZE), CLASSES, ((0, 128, 255),) * 4)
    assert back.model.config == model.config
    assert not back.model.training
    assert torch.equal(back.model(images), model.eval()(images))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    assert torch.equal(open_segmenter(tmp_path / "model.safetensors").model(images), model(images))


def test_tensors_that_are_not_in_the_file(tmp_path):
    model = segmenter(size=(28, 42), backbone="eva02_tiny_patch14_224").eval()  # rotary embeddings
    images = torch.randn(1, 3, 28, 42)
    assert torch.equal(open_segmenter(saved(tmp_path, model)).model(images), model(images))


def test_another_kind_of_model_is_refused(tmp_path):
    saved(tmp_path / "segmenter", segmenter())
    save_model(tmp_path / "classifier", Trunk(trunk_config(num_classes=4)), CLASSES, Preprocessing(SIZE))
    for kind in ("segmenter", "classifier"):
        assert resolve(str(tmp_path / kind)).kind == kind
        assert resolve(str(tmp_path / kind / "model.safetensors")).kind == kind
    assert resolve("resmlp_s12").kind == "classifier"
    for opened in (open_model, create_from):
        with pytest.raises(UserError, match=r"segmenter is a segmenter \(a classifier is expected here\)"):
            opened(str(tmp_path / "segmenter"))
    with pytest.raises(UserError, match=r"classifier is a classifier \(a segmenter is expected here\)"):
        open_segmenter(tmp_path / "classifier")


def create_from(source):
    return create_model("resmlp_s12", checkpoint=source)


@pytest.mark.parametrize("source", ["", "nowhere", "resmlp_s12", "a/b", "a\0b", "x" * 5000])
def test_missing_files(source):
    with pytest.raises(UserError, match="unknown model|no model at|a segmenter is expected here"):
        open_segmenter(source)


def test_incomplete_folders(tmp_path):
    folder = saved(tmp_path / "run", segmenter())
    with pytest.raises(UserError, match=r"no model\.safetensors"):
        open_segmenter(tmp_path)
    weights = (folder / "model.safetensors").read_bytes()
    for broken in (weights[:-9], b"", b"\x80\x04."):
        (folder / "model.safetensors").write_bytes(broken)
        with pytest.raises(UserError, match=r"model\.safetensors"):
            open_segmenter(folder)
    (folder / "model.json").unlink()
    with pytest.raises(UserError, match=r"no .*model\.json"):
        open_segmenter(folder)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model.width", 2**14, r"\(8, 12, 1, 1\), the model wants \(16384"),
        ("model.width", 0, "width 0"),
        ("model.width", 8.5, "width is 8.5"),
        ("model.num_classes", 5, "4 class names for 5 classes"),
        ("model.auxiliary", 0, "which the model lacks"),
        ("model.trunk", None, "either a trunk or a timm backbone"),
        ("model.backbone", "resnet18", "either a trunk or a timm backbone"),
        ("model.size", [48, 32], "its trunk is for 32x48 and its window is 48x32"),
        ("model.trunk.num_classes", 3, "has a classifier"),
        ("model.trunk.size", [2**15, 2**15], "its trunk is for"),
        ("model.trunk.architecture.patch_size", 5, "does not divide"),
        ("model.trunk.architecture.dim", 2**14, "the model wants"),
        ("model", 3, "model is 3"),
        ("model.extra", 3, "unknown field"),
        ("palette", [[0, 0, 256]] * 4, "color"),
        ("palette", [[0, 0, 0]], "1 color for 4 classes"),
        ("palette", [[0, 0]] * 4, "palette is"),
        ("classes", ["a"], "1 class name for 4 classes"),
        ("kind", "translator", "unknown field"),
        ("kind", ["segmenter"], "its kind is"),
        ("kind", "detector", "its kind is 'detector'"),
        ("format", 2, "newer resmlp"),
    ],
)
def test_hostile_model_configs(path, value, message, hostile):
    described = json.loads((hostile / "model.json").read_text())
    *parents, last = path.split(".")
    inner = described
    for key in parents:
        inner = inner[key]
    inner[last] = value
    (hostile / "model.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match=message):
        open_segmenter(hostile)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("run"), segmenter())


@pytest.fixture
def hostile(good, tmp_path):
    return shutil.copytree(good, tmp_path / "copy")
