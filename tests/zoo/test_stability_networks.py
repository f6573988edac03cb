"""The networks of the stability papers: one hidden layer, LeNet, fully connected, and numbered VGG11."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from invariscope.zoo import build

pytestmark = pytest.mark.usefixtures("seeded")


def outputs_of(model: nn.Module, x: torch.Tensor) -> dict[str, tuple[int, ...]]:
    found = {}
    for name, module in model.named_children():
        x = module(x)
        found[name] = tuple(x.shape[1:])
    return found


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 7, 11)])
def test_equal_filters_at_all_places_make_a_locally_connected_layer_a_convolution(shape):
    options = {"input_shape": shape, "filters": 3, "kernel_size": 5}
    shared, local = build("min_cnn", **options), build("min_lcn", **options)
    with torch.no_grad():
        local.local.weight.copy_(shared.conv.weight.expand_as(local.local.weight))
        local.local.bias.copy_(shared.conv.bias)
        local.fc.load_state_dict(shared.fc.state_dict())
    x = torch.rand(4, *shape)
    torch.testing.assert_close(local.local(x), shared.conv(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(local(x), shared(x), rtol=1e-4, atol=1e-5)


def test_the_filters_of_one_place_of_a_locally_connected_layer_act_there_alone():
    layer = build("min_lcn", input_shape=(1, 6, 8), filters=2, kernel_size=3).local
    x = torch.rand(1, 1, 6, 8)
    before = layer(x)
    with torch.no_grad():
        layer.weight[8 + 3] += 1
    changed = (layer(x) - before)[0].abs().sum(0).nonzero()
    assert changed.tolist() == [[1, 3]]
    assert layer.filter_bank().shape == (2, 48, 3, 3)
    assert torch.equal(layer.filter_bank()[1, 11], layer.weight[11, 1, 0])


def test_a_locally_connected_layer_refuses_images_of_another_size():
    with pytest.raises(ValueError, match=r"images of 28 x 28, got 28 x 30: build the network for"):
        build("min_lcn", filters=2)(torch.rand(1, 1, 28, 30))


@pytest.mark.parametrize("name", ["min_cnn", "min_lcn"])
def test_the_smallest_networks_have_one_hidden_layer_that_is_averaged(name):
    shapes = outputs_of(build(name, filters=4), torch.rand(2, 1, 28, 28))
    assert list(shapes)[1:] == ["relu", "pool", "flatten", "fc", "log_softmax"]
    assert [shapes[layer] for layer in ("relu", "flatten", "fc")] == [(4, 28, 28), (4,), (10,)]
    with pytest.raises(ValueError, match=r"kernel_size must be odd.*got 4"):
        build(name, kernel_size=4)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_lenet_pools_both_image_sizes_to_the_published_five_pixels(shape):
    shapes = outputs_of(build("lenet", input_shape=shape), torch.rand(1, *shape))
    assert [shapes[n] for n in ("conv1", "pool1", "conv2", "pool2", "fc1", "fc2")] == [
        (6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120,), (84,),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="lenet needs images of at least 12 x 12"):
        build("lenet", input_shape=(1, 11, 28))


def test_the_fully_connected_network_has_three_hidden_layers_of_64_unless_asked_otherwise():
    widths = [m.out_features for m in build("fully_connected").modules() if isinstance(m, nn.Linear)]
    assert widths == [64, 64, 64, 10]
    other = build("fully_connected", width=5, depth=1, classes=3)
    assert [m.out_features for m in other.modules() if isinstance(m, nn.Linear)] == [5, 3]
    with pytest.raises(ValueError, match="depth must be an integer, at least 1; got 0"):
        build("fully_connected", depth=0)


def test_vgg11_numbers_its_layers_as_torchvision_does():
    kinds = {True: ["Conv2d", "BatchNorm2d", "ReLU"], False: ["Conv2d", "ReLU"]}
    for batch_norm, conv in kinds.items():
        features = build("vgg11", filters=2, batch_norm=batch_norm).features
        pool, pair = ["MaxPool2d"], conv * 2
        expected = [*conv, *pool, *conv, *pool, *pair, *pool, *pair, *pool, *pair, *pool]
        assert [type(layer).__name__ for layer in features] == expected


def test_vgg11_layer_10_sees_18_pixels_4_apart():
    model = build("vgg11", input_shape=(1, 64, 64), filters=2).eval()
    with torch.no_grad():
        for layer in model.features:
            if isinstance(layer, nn.Conv2d):
                layer.weight.abs_()
    x = torch.rand(200, 1, 64, 64, requires_grad=True)
    maps = model.features[:11](x)
    seen = []
    for place in (7, 8):
        (gradient,) = torch.autograd.grad(maps[:, :, place, place].sum(), x, retain_graph=True)
        rows = gradient.abs().sum((0, 1, 3)).nonzero().flatten().tolist()
        seen.append((rows[0], rows[-1]))
    assert [last - first + 1 for first, last in seen] == [18, 18]
    assert seen[1][0] - seen[0][0] == 4
    assert sum(seen[0]) / 2 == 1.5 + 4 * 7


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_vgg11_keeps_one_pixel_of_both_image_sizes(shape):
    shapes = outputs_of(build("vgg11", input_shape=shape, filters=2).eval(), torch.rand(1, *shape))
    assert shapes == {
        "features": (16, 1, 1), "avgpool": (16, 1, 1), "flatten": (16,), "classifier": (10,),
        "log_softmax": (10,),
    }  # fmt: skip
