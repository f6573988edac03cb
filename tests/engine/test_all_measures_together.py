"""All measures of one call share the forwards, and say what they say alone."""

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.zoo import load

EXAMPLE = 4  # one more orbit, for feature maps, if there are 100 samples or more
FAMILY = [
    "transformation_variance",
    "sample_variance",
    "normalized_variance",
    "anova",
    "transformation_distance",
    "sample_distance",
    "normalized_distance",
    "information",
    "goodfellow",
    "same_equivariance",
    "prediction",
]


SEEN = []  # outside of the network, which measuring leaves as it was


class Counting(nn.Module):
    """A small network that tells how many inputs it has seen."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4 * 14 * 14, 10)

    def forward(self, x):
        SEEN.append(len(x))
        maps = torch.relu(self.conv(x))
        return self.fc(nn.functional.max_pool2d(maps, 2).flatten(1))


def digits(samples):
    data = load("mnist_subset", split="test", samples=samples)
    return data.images, data.labels


def forwards(measures, data, **options):
    """(inputs that went through the network, those of the inspection among them; the result).

    Without looks at whether the output depends on the batch, which forward a few inputs of some blocks again.
    """
    SEEN.clear()
    net, options = Counting().eval(), {"unstable": "measure", "progress": False} | options
    result = iv.measure(net, data, iv.QuarterTurns(), measures=measures, **options)
    return sum(SEEN), result


def test_each_input_is_forwarded_once_for_all_measures_and_once_more_for_one_shared_pilot():
    few, many = digits(40), digits(140)
    cost = forwards(FAMILY, few)[0]
    more, result = forwards(FAMILY, many)
    elements, pilot = 4, 1
    assert more - cost == 100 * (elements + pilot) + EXAMPLE
    assert result.provenance["options"]["forwarded_inputs"] == 140 * (elements + pilot)
    assert any("pilot" in note for note in result.provenance["notes"])


def test_without_thresholds_there_is_no_pilot():
    plain = [name for name in FAMILY if name not in ("information", "goodfellow")]
    _, result = forwards(plain, digits(40))
    assert result.provenance["options"]["forwarded_inputs"] == 40 * 4


@pytest.fixture(scope="module")
def together():
    """What all measures say of 96 digits in one call."""
    return forwards(FAMILY, digits(96))[1].table


@pytest.mark.parametrize("name", FAMILY)
def test_a_measure_says_together_with_the_others_what_it_says_alone(name, together):
    alone = forwards([name], digits(96))[1].table
    own = together[together.measure.str.split(".").str[0] == name].reset_index(drop=True)
    for column in ("value", "ci_low", "ci_high", "null", "dead_units"):
        np.testing.assert_allclose(own[column], alone[column], rtol=1e-6, err_msg=column)


def test_classes_come_in_the_same_forwards():
    few, many = digits(40), digits(140)
    measures = [name for name in FAMILY if name != "prediction"]
    cost = forwards(measures, few, by_class=True)[0]
    more, result = forwards(measures, many, by_class=True)
    assert more - cost == 100 * 5 + EXAMPLE
    table = result.table
    for name in measures:
        own = table[table.measure.str.split(".").str[0] == name]
        assert {"all", "mean", "3"} <= set(own.stratum)
