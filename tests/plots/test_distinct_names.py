"""Names that are shortened remain different names: of classes along an axis, and of networks in a legend."""

import pytest
from sample_results import sample_result

import invariscope as iv
from invariscope.common.wording import shorten_all
from invariscope.plots.shared.labels import axis_labels, curve_title, measure_title

BREEDS = [f"a long-haired domestic shepherd dog of the {k}th line, photographed outdoors" for k in range(30)]


@pytest.mark.parametrize("length", [8, 14, 26])
def test_thirty_long_names_that_differ_in_the_middle_stay_different_and_short(length):
    for texts in (shorten_all(BREEDS, length), axis_labels(BREEDS, length)):
        assert len(set(texts)) == len(BREEDS)
        assert max(map(len, texts)) <= length


def test_names_that_share_their_first_difference_are_numbered():
    texts = [f"{'a' * 40}{k}{'b' * 40}{end}" for k in range(2) for end in "xy"]
    found = shorten_all(texts, 12)
    assert len(set(found)) == 4
    assert max(map(len, found)) <= 12


def test_equal_names_stay_equal_and_short_ones_are_left_alone():
    assert shorten_all(["dog", "cat", BREEDS[0], BREEDS[0]], 20)[:2] == ["dog", "cat"]
    assert len(set(shorten_all([BREEDS[0]] * 3, 20))) == 1


@pytest.mark.parametrize("name", ["element_curve", "orbit_strip", "unit_heatmap"])
def test_networks_with_long_names_can_be_told_apart_in_narrow_figures(name):
    networks = [
        f"a residual network trained on photographs, seed {k}, with all augmentations" for k in range(2)
    ]
    small = {"conv": (3, 4, 4), "out": (4,)}
    results = [sample_result(network, seed=k, layers=small) for k, network in enumerate(networks)]
    figure = iv.plot(name, results, theme="paper")
    texts = [text.get_text() for ax in figure.axes if (box := ax.get_legend()) for text in box.get_texts()]
    texts += [ax.get_title(loc="left") for ax in figure.axes]
    assert len({text for text in texts if "…" in text}) == 2


def test_a_published_variant_is_named_after_its_paper():
    assert measure_title("stability.petrini2021.R") == "Stability: R (Petrini 2021)"
    assert measure_title("stability.R") == "Stability: R"


def test_an_output_whose_name_is_cut_short_has_the_title_that_its_measure_gives_it():
    title = iv.Prediction().output("probability_true").title
    assert measure_title("prediction.probability_true") == f"Prediction: {title}"
    assert curve_title("prediction.probability_true") == title.capitalize() == "Probability of the true class"
