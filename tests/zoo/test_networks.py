"""The networks have the published shapes, log-probabilities, readable names and seeded weights."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from invariscope.zoo import NETWORKS, Card, build, load, load_network, parameter_count, save_network, train

pytestmark = pytest.mark.usefixtures("seeded")

SHAPES = ((1, 28, 28), (3, 32, 32))
# Narrow ones are as deep and far faster.
NARROW = {
    "simple_conv": {"filters": 4, "fc": 8},
    "stn_simple_conv": {"filters": 4, "fc": 8, "localisation_filters": 2},
    "all_conv": {"filters": 4},
    "vgg16": {"filters": 4, "fc": 8},
    "resnet18": {"width": 4},
    "resnet50": {"width": 4},
    "vgg11": {"filters": 4},
    "lenet": {},
    "fully_connected": {"width": 8},
    "min_cnn": {"filters": 4, "kernel_size": 3},
    "min_lcn": {"filters": 4, "kernel_size": 3},
    "orbit_pooling": {"orbits": 2, "kernel_size": 3},
    "c4_conv": {"fields": 2},
    "d4_conv": {"fields": 2},
    "resnet9": {"width": 4},
    "airbench": {"width": 4},
    "mobilenet_v2": {"width": 4},
}


def shapes_of(model: nn.Module, x: torch.Tensor) -> dict[str, tuple[int, ...]]:
    found = {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda _, __, y, name=name: found.update({name: tuple(y.shape[1:])}))
    model.eval()(x)
    return found


def test_every_network_is_tried_here():
    assert set(NARROW) == set(NETWORKS.names())


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("shape", [*SHAPES, (2, 30, 45)])
def test_a_network_returns_log_probabilities(name, shape):
    model = build(name, input_shape=shape, classes=7, **NARROW[name]).eval()
    output = model(torch.rand(3, *shape))
    assert output.shape == (3, 7)
    torch.testing.assert_close(output.exp().sum(1), torch.ones(3))
    assert isinstance(model.get_submodule("log_softmax"), nn.LogSoftmax)


@pytest.mark.parametrize("name", NARROW)
def test_initial_weights_come_from_the_seed_and_nothing_else(name):
    before = torch.get_rng_state()
    first, again, other = (build(name, seed=seed, **NARROW[name]).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", NARROW)
def test_every_parameter_gets_a_gradient_and_no_sample_sees_another(name):
    model = build(name, **NARROW[name])
    x = torch.rand(4, 1, 28, 28)
    model(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x)[2:3], model(x[2:3]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NARROW)
def test_every_network_trains_with_all_settings_and_comes_back_from_its_file(name, tmp_path):
    data = load("mnist_subset", samples=24)
    card = Card(network=name, input_shape=data.shape, classes=data.classes, options=NARROW[name])
    untrained, *models = [card.build() for _ in range(3)]
    options = {"optimizer": "sgd", "lr": 0.01, "schedule": "one_cycle", "weight_decay": 5e-4, "ema": 0.9}
    for model in models:
        train(model, data, epochs=1, batch_size=12, flip=True, crop_px=4, channels_last=True, **options)
    save_network(tmp_path / "net", models[0], card)
    again = load_network(tmp_path / "net")[0].state_dict()
    for key, value in models[0].state_dict().items():
        assert torch.equal(value, again[key])
        assert torch.equal(value, models[1].state_dict()[key])
    pairs = zip(models[0].parameters(), untrained.parameters(), strict=True)
    assert any(not torch.equal(p, q) for p, q in pairs)


@pytest.mark.parametrize(
    ("name", "grey", "colour"),
    [
        # counted by hand: 3x3 kernels and biases, then the dense layers
        (
            "simple_conv",
            32 * 10 + 32 * 289 + 64 * 289 + 64 * 577 + 128 * 577 + 64 * 6273 + 650,
            64 * 28 + 64 * 577 + 128 * 577 + 128 * 1153 + 256 * 1153 + 128 * 16385 + 1290,
        ),
        # the counts that the usual implementations for CIFAR-10 give
        ("lenet", 61_706, 62_006),
        ("fully_connected", 784 * 64 + 64 + 2 * 4160 + 650, 3072 * 64 + 64 + 2 * 4160 + 650),
        ("resnet18", 11_173_962 - 2 * 9 * 64, 11_173_962),
        ("resnet50", 23_520_842 - 2 * 9 * 64, 23_520_842),
        ("mobilenet_v2", 2_236_682 - 2 * 9 * 32, 2_236_682),
        ("resnet9", 6_573_120 - 2 * 9 * 64, 6_573_120),
        # 1.97 million; conv1_1 has a third of its inputs where images are grey
        ("airbench", 1_971_352 - 16 * 9 * 64 - 16, 1_971_352),
    ],
)
def test_the_published_widths_give_the_known_parameter_counts(name, grey, colour):
    with torch.device("meta"):
        counts = [parameter_count(build(name, input_shape=shape)) for shape in SHAPES]
    assert counts == [grey, colour]


def test_simple_conv_has_the_published_layers():
    shapes = shapes_of(build("simple_conv"), torch.rand(1, 1, 28, 28))
    names = "conv1 relu1 conv2 relu2 pool1 conv3 relu3 conv4 relu4 pool2 conv5 relu5"
    assert " ".join(shapes).strip() == f"{names} flatten fc1 fc1_relu fc2 log_softmax"
    assert [shapes[name] for name in ("relu2", "pool1", "relu4", "pool2", "relu5", "fc1")] == [
        (32, 28, 28), (32, 14, 14), (64, 14, 14), (64, 7, 7), (128, 7, 7), (64,),
    ]  # fmt: skip


def test_all_conv_strides_where_others_pool():
    shapes = shapes_of(build("all_conv"), torch.rand(1, 1, 28, 28))
    assert [shapes[f"conv{i}"] for i in range(1, 10)] == [
        (16, 28, 28), (16, 28, 28), (16, 14, 14),
        (32, 14, 14), (32, 14, 14), (32, 7, 7),
        (32, 7, 7), (32, 7, 7), (10, 7, 7),
    ]  # fmt: skip
    assert not any(isinstance(m, (nn.MaxPool2d, nn.Linear)) for m in build("all_conv").modules())


@pytest.mark.parametrize("shape", SHAPES)
def test_vgg16_pools_both_image_sizes_down_to_one_pixel(shape):
    model = build("vgg16", input_shape=shape, filters=4, fc=8)
    shapes = shapes_of(model, torch.rand(1, *shape))
    assert [shapes[f"pool{i}"][1] for i in range(1, 6)] == [shape[1] // 2, shape[1] // 4, 4, 2, 1]
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(layers) == 16


def test_resnets_have_their_depth_and_a_stem_that_keeps_the_size():
    for name, depth, last in (("resnet18", 18, 32), ("resnet50", 50, 128)):
        model = build(name, width=4)
        main = [
            name
            for name, m in model.named_modules()
            if isinstance(m, (nn.Conv2d, nn.Linear)) and "shortcut" not in name
        ]
        shapes = shapes_of(model, torch.rand(1, 1, 28, 28))
        assert len(main) == depth
        assert (shapes["relu1"], shapes["layer4"]) == ((4, 28, 28), (last, 4, 4))
        assert {"layer1.0.conv1", "layer2.0.shortcut.conv", "layer4.1.bn2"} <= set(shapes)


def test_a_residual_block_adds_its_input():
    block = build("resnet18", width=4).eval().get_submodule("layer1.0")
    nn.init.zeros_(block.get_submodule("bn2").weight)
    x = torch.rand(2, 4, 8, 8)
    torch.testing.assert_close(block(x), x)


def test_networks_can_be_cut_at_a_layer():
    model = build("simple_conv", filters=4, fc=8)
    assert model[:5](torch.rand(2, 1, 28, 28)).shape == (2, 4, 14, 14)


def test_resnet9_adds_two_pairs_and_takes_the_largest_responses():
    model = build("resnet9", input_shape=(3, 32, 32), width=4)
    shapes = shapes_of(model, torch.rand(1, 3, 32, 32))
    names = ("relu1", "pool2", "pair2", "pool3", "pool4", "pair4", "flatten")
    assert [shapes[name] for name in names] == [
        (4, 32, 32), (8, 16, 16), (8, 16, 16), (16, 8, 8), (32, 4, 4), (32, 4, 4), (32,),
    ]  # fmt: skip
    assert sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in model.modules()) == 9
    pair = model.eval().pair4
    nn.init.zeros_(pair.bn2.weight)
    x = torch.rand(2, 32, 4, 4)
    torch.testing.assert_close(pair(x), x)


def test_mobilenet_has_seventeen_blocks_ten_of_which_add_their_input():
    model = build("mobilenet_v2", input_shape=(3, 32, 32))
    shapes = shapes_of(model, torch.rand(1, 3, 32, 32))
    sizes = [shapes[f"stage{number}"][1] for number in range(1, 8)]
    assert sizes == [32, 16, 8, 4, 4, 2, 2]
    blocks = [m for m in model.modules() if hasattr(m, "adds")]
    assert (len(blocks), sum(block.adds for block in blocks)) == (17, 10)
    depthwise = model.stage2[0].depthwise
    assert depthwise.groups == depthwise.in_channels == depthwise.out_channels


def test_airbench_starts_with_filters_that_pass_a_channel_each():
    model = build("airbench", input_shape=(3, 32, 32), width=32)
    shapes = shapes_of(model, torch.rand(1, 3, 32, 32))
    names = ("whiten", "gelu1_2", "gelu2_2", "gelu3_2", "flatten")
    assert [shapes[name] for name in names] == [
        (24, 31, 31), (32, 15, 15), (128, 7, 7), (128, 3, 3), (128,),
    ]  # fmt: skip
    x = torch.rand(2, 24, 8, 8)
    torch.testing.assert_close(model.conv1_1(x)[:, :24], x)
    assert model.bn1_1.weight is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "simpel_conv"}, r"unknown network 'simpel_conv'. Closest: 'simple_conv'"),
        ({"name": "simple_conv", "filter": 3}, r"unknown option of simple_conv 'filter'. Closest: 'filters'"),
        ({"name": "vgg16", "filters": 0}, r"filters must be an integer, at least 1; got 0"),
        ({"name": "resnet18", "width": 2.5}, r"width must be an integer, at least 1; got 2\.5"),
        ({"name": "vgg16", "input_shape": (28, 28)}, r"input_shape must be \(C, H, W\).*got \(28, 28\)"),
        ({"name": "vgg16", "input_shape": (1, 0, 28)}, r"three positive integers"),
        ({"name": "simple_conv", "input_shape": (1, 3, 28)}, r"simple_conv needs images of at least 4 x 4"),
        ({"name": "all_conv", "classes": 1}, r"classes must be an integer, at least 2; got 1"),
    ],
)
def test_impossible_networks_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


def test_a_network_added_in_one_file_is_listed_and_built(tmp_path):
    new = (
        "from torch import nn\nfrom invariscope.zoo.networks.base import network\n\n@network\n"
        "def linear_probe(input_shape, classes, *, bias=True):\n"
        "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes, bias=bias), nn.LogSoftmax(1))\n"
    )
    (tmp_path / "linear_probe.py").write_text(new)
    check = (
        "import invariscope.zoo.networks as package\n"
        f"package.__path__.append({str(tmp_path)!r})\n"
        "assert 'linear_probe' in package.NETWORKS.names()\n"
        "print(type(package.build('linear_probe', bias=False)).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", check], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("Sequential", 0), done.stderr
