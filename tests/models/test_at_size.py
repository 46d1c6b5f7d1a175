"""A trained network at another size: closed forms, and what cannot be."""

import numpy as np
import pytest
import torch
from torch import nn

from resmlp import create_model
from resmlp.config.preprocessing import Preprocessing
from resmlp.models import Saved
from resmlp.models.at_size import at_size
from resmlp.utils.errors import UserError


def saved(name: str = "resmlp_digits", size: tuple[int, int] = (8, 8), **changes) -> Saved:
    torch.manual_seed(0)
    model = create_model(name, img_size=size, num_classes=3, **changes).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return Saved(model, ("a", "b", "c"), Preprocessing(size))


def test_the_same_size_is_the_same_network():
    own = saved()
    assert at_size(own, (8, 8)) is own


@pytest.mark.parametrize("changes", [{}, {"mixer": "mlp"}, {"pool": "classmlp"}], ids=str)
def test_to_a_larger_size_and_back_is_the_network_again(changes):
    own = saved(**changes)
    back = at_size(at_size(own, (12, 16)), (8, 8))
    x = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(back.model(x), own.model(x), rtol=1e-4, atol=1e-4)
    assert back.preprocessing == own.preprocessing
    assert back.classes == own.classes


def test_a_mean_over_all_tokens_stays_one():
    own = saved(depth=1)
    for size in ((8, 8), (12, 12), (6, 10)):
        with torch.no_grad():
            own.model.blocks[0].tokens.fn.weight.fill_(1 / 16)
        moved = at_size(own, size).model
        tokens = (size[0] // 2) * (size[1] // 2)
        mean = moved.blocks[0].tokens.fn.weight @ torch.full((tokens,), 2.5)
        np.testing.assert_allclose(mean.detach(), 2.5, rtol=1e-5)


def test_a_size_between_patches_names_its_neighbors():
    with pytest.raises(UserError) as error:
        at_size(saved("resmlp_s12", (224, 224), depth=1), (250, 224))
    assert "250x224 do not divide into patches of 16" in error.value.what
    assert "240x224 or 256x224" in error.value.hint


def test_a_size_whose_weights_exceed_the_memory():
    with pytest.raises(UserError, match=r"the weights of resmlp_s12 take \d+\.\d GiB, and this machine has"):
        at_size(saved("resmlp_s12", (224, 224), depth=1), (2**15, 2**15))


def test_a_network_of_another_library():
    other = Saved(nn.Flatten(), (), Preprocessing((8, 8)))
    with pytest.raises(UserError, match="images of 16x16: the network has a size of its own"):
        at_size(other, (16, 16))
