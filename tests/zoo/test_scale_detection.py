"""The scale-detection task: what its images are, what its displacements do, and what training on it does."""

import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope import zoo


def pixels(images):
    """(sample, 2, (row, column)) of the bright ones."""
    return (images[:, 0] != 0).nonzero()[:, 1:].unflatten(0, (-1, 2))


def distances(images):
    size = torch.tensor(images.shape[2:])
    apart = (pixels(images)[:, 0] - pixels(images)[:, 1]).abs()
    return torch.minimum(apart, size - apart).float().norm(dim=1)


def test_the_label_says_on_which_side_of_the_gap_the_distance_lies():
    data = zoo.scale_detection(400, size=20, scale=7, gap=3)
    near, far = (distances(data.images)[data.labels == label] for label in (0, 1))
    assert 2 < near.min() <= near.max() <= 5.5
    assert far.min() >= 8.5
    assert data.labels.float().mean() == 0.5
    torch.testing.assert_close(data.images.square().mean(), torch.tensor(1.0))


def test_the_seed_and_the_split_decide():
    first, again = (zoo.scale_detection(20, seed=1) for _ in range(2))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, zoo.scale_detection(20, seed=2).images)
    assert not torch.equal(first.images, zoo.scale_detection(20, seed=1, split="test").images)


def test_the_task_is_a_data_set_by_its_name_that_lies_in_no_file():
    train, test = (zoo.load("scale_detection", split=split) for split in ("train", "test"))
    assert (len(train), len(test), train.classes) == (4096, 1024, ("near", "far"))
    assert torch.equal(test.images, zoo.scale_detection(1024, split="test").images)
    assert zoo.datasets.files("scale_detection") == []
    few = zoo.load("scale_detection", samples=10, seed=3)
    assert torch.equal(few.images, test.subset(10, seed=3).images)


def test_a_network_with_circular_padding_does_not_see_the_border():
    images = zoo.scale_detection(4).images
    moved = images.roll((3, 5), dims=(2, 3))
    round_, flat = (
        zoo.build("min_cnn", input_shape=(1, 16, 16), classes=2, padding_mode=mode).eval()
        for mode in ("circular", "zeros")
    )
    torch.testing.assert_close(round_(moved), round_(images))
    assert (flat(moved) - flat(images)).abs().max() > 1e-4
    with pytest.raises(ValueError, match="Closest: 'circular'"):
        zoo.build("min_cnn", padding_mode="circle")


def test_a_displacement_moves_each_pixel_by_one_and_keeps_its_value_bit_for_bit():
    images = torch.zeros(1, 1, 4, 4)
    images[0, 0, 0, 3], images[0, 0, 2, 1] = 0.1, 0.7
    transform = zoo.unit_displacements()
    moved = dict(zip(transform.labels, transform.orbit(images)[0], strict=True))
    expected = torch.zeros(1, 4, 4)
    expected[0, 0, 0], expected[0, 1, 1] = images[0, 0, 0, 3], images[0, 0, 2, 1]  # across the border
    assert torch.equal(moved["→ ↑"], expected)
    assert len({tuple(image.flatten().tolist()) for image in moved.values()}) == 16
    assert all(image.sum() == images.sum() for image in moved.values())


def test_no_displacement_changes_the_class():
    data = zoo.scale_detection(200)
    orbit = zoo.unit_displacements().orbit(data.images)
    for element in range(16):
        assert torch.equal((distances(orbit[:, element]) > 6).long(), data.labels)


def test_other_images_and_impossible_gaps_are_refused():
    with pytest.raises(ValueError, match="exactly two nonzero pixels"):
        zoo.unit_displacements().orbit(torch.ones(2, 1, 4, 4))
    three_and_one = torch.zeros(2, 1, 4, 4)
    three_and_one[0, 0, 0, :3] = three_and_one[1, 0, 0, 0] = 1
    with pytest.raises(ValueError, match="exactly two nonzero pixels"):
        zoo.unit_displacements().orbit(three_and_one)
    with pytest.raises(ValueError, match="are near at scale=2"):
        zoo.scale_detection(4, scale=2)
    with pytest.raises(ValueError, match="unknown split 'tests'"):
        zoo.scale_detection(4, split="tests")
    with pytest.raises(ValueError, match="are far at scale=20"):
        zoo.scale_detection(4, scale=20)


def test_training_on_the_task_makes_the_output_stable_to_displacements():
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 9, padding=4, padding_mode="circular"),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 2),
    ).eval()
    train, test = (zoo.scale_detection(samples, split=s) for samples, s in ((512, "train"), (128, "test")))

    def displaced():
        result = iv.measure(
            net, test, zoo.unit_displacements(), measures="stability", layers="4", progress=False
        )
        return result.table.set_index("measure").loc["stability.D"]

    before = displaced()
    trained = zoo.train(net, train, epochs=8, batch_size=32, lr=5e-3, schedule="cosine", test=test, seed=1)
    after = displaced()
    assert trained.test_accuracy > 0.95
    assert after.ci_high < before.ci_low
    assert after.value < before.value / 2
