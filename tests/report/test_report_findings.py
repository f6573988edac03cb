import numpy as np
import pandas as pd
import pytest
from plot_rows import NAN, curve, result, row

from invariscope.report import findings
from invariscope.report.comparison import compare_all
from invariscope.report.facts import key_facts, provenance, words

ROTATION = {"transform": {"family": "rotation", "labels": ["0°", "90°"], "fingerprint": "t"}}


def net(values, name="plain", **columns):
    rows = [row(f"layer{i}", value, **columns) for i, value in enumerate(values)]
    return result(rows, name=name, **ROTATION)


def with_replicates(values, name, scatter):
    """Values whose leave-one-group-out values differ from them by `scatter`."""
    wobble = scatter * np.array([1, -1, 2, -2, 1, -1, 2, -2])
    rows = [
        row(f"layer{i}", v, replicates=(v + wobble).tolist(), group_sizes=[8] * 8)
        for i, v in enumerate(values)
    ]
    return result(rows, name=name, **ROTATION)


def said(*results):
    return findings.sentences(results, compare_all(results).rows)


def test_the_sentence_names_the_most_and_the_least_invariant_layer():
    assert said(net([0.5, 0.25, 0.75])) == [
        "Rotation changes responses between 0.25 times (in layer1) and 0.75 times (in layer2) as much as "
        "replacing the sample does.",
        "Rotation affects layer1 least, changing its responses 0.25 times as much as replacing the sample "
        "does, and layer2 most: 0.75 times as much.",
    ]


def test_the_values_of_the_extremes_come_with_their_intervals_and_the_samples_with_their_noun():
    rows = [row("a", 0.5, ci_low=0.4, ci_high=0.6), row("b", 0.75, ci_low=0.7, ci_high=0.8)]
    _, sentence = said(result(rows, data={"shape": [3, 8, 8]}, **ROTATION))
    assert sentence.replace("\u00a0", " ") == (
        "Rotation affects a least, changing its responses 0.5 times as much as replacing the image does "
        "(95 % interval 0.4 to 0.6), and b most: 0.75 times as much (95 % interval 0.70 to 0.80)."
    )


def test_an_interval_that_does_not_contain_its_value_is_left_to_the_table():
    (sentence,) = said(result([row("a", 0.5, ci_low=0.6, ci_high=0.7)], **ROTATION))
    assert sentence == "Rotation changes the responses of a 0.5 times as much as replacing the sample does."


def test_the_layers_of_a_deep_network_are_named_with_their_position():
    _, sentence = said(net([0.5] * 30 + [0.25] + [0.5] * 10 + [0.75]))
    assert "affects layer30 (layer 31 of 42) least" in sentence
    assert "layer41 (layer 42 of 42) most" in sentence


def test_each_call_of_a_shared_module_counts_as_a_layer():
    rows = [row("conv", 0.5, call=k) for k in range(40)] + [
        row("relu", v, call=k) for k, v in enumerate((0.2, 0.9))
    ]
    shown = result(rows, **ROTATION)
    _, sentence = said(shown)
    assert "affects relu (layer 41 of 42) least" in sentence
    assert "relu, call 1 (layer 42 of 42) most" in sentence
    assert dict(key_facts([shown]))["Layers"] == ["42 measured"]
    repeated = result(rows, **ROTATION, repeated=[{"layer": "flatten", "call": 0, "repeats": ["conv", 0]}])
    assert dict(key_facts([repeated]))["Layers"] == ["42 measured, 1 with the values of another"]
    assert "42 layers" in repr(shown)


@pytest.mark.parametrize(
    ("spread", "words"), [("variance", "(variance ratio)"), ("std", "(ratio of standard deviations)")]
)
def test_the_sentence_says_what_kind_of_ratio_it_is(spread, words):
    shown = result(
        [row("a", 0.5)], measures={"normalized_variance": {"options": {"spread": spread}}}, **ROTATION
    )
    assert said(shown) == [
        f"Rotation changes the responses of a 0.5 times as much as replacing the sample does {words}."
    ]


def test_layers_without_a_value_are_not_the_most_invariant():
    assert "affects layer2 least" in said(net([NAN, 0.5, 0.25]))[1]


def test_without_any_value_the_page_says_so():
    assert said(net([NAN, NAN])) == ["No layer has a value; see the notes for the reason."]


def test_another_measure_is_reported_without_a_claim_about_samples():
    (sentence,) = said(net([1.0, 3.0], measure="anova.share_transform"))
    assert sentence == "The ANOVA: share transform ranges from 1.000 (layer0) to 3.000 (layer1)."


DEVIATION = "equivariance_deviation.channelwise"


def test_the_first_layer_at_which_a_value_jumps_is_named_beside_the_ends():
    (sentence,) = said(net([4e-6, 5e-6, 0.115, 0.25, 3e-6], measure=DEVIATION))
    assert sentence == (
        "The equivariance deviation: channelwise ranges from 3.000e−06 (layer4) to 0.2500 (layer3), and "
        "jumps at layer2: 0.1150, compared with at most 5.000e−06 in earlier layers."
    )


def test_of_similarities_it_is_one_plus_the_value_that_jumps():
    values = [-1.0, -1.0, -0.885]
    rows = [row(f"layer{i}", v, measure=DEVIATION) for i, v in enumerate(values)]
    ones = [row(f"layer{i}", v, measure=f"{DEVIATION}.one_plus") for i, v in enumerate([-1e-7, 6e-8, 0.115])]
    (sentence,) = said(result([*rows, *ones], **ROTATION))
    assert sentence.endswith(
        "to −0.885 (layer2), and one plus this value jumps at layer2: 0.1150, compared with at most "
        "1.000e−07 in earlier layers."
    )


@pytest.mark.parametrize("values", [[0.01, 0.9], [0.9, 1e-6], [0.0, 1e-6], [-1.0, 1e-6, 1.0]])
def test_no_jump_is_told_of_where_values_rise_less_fall_or_have_nothing_to_rise_from(values):
    assert "jumps" not in said(net(values, measure=DEVIATION))[0]


def test_a_comparison_leads_and_counts_the_layers_whose_difference_is_significant():
    a, b = (
        with_replicates([0.5, 0.5, 0.5], "plain", 0.0),
        with_replicates([0.3, 0.4999, 0.6], "rotated", 0.001),
    )
    assert said(a, b)[0] == (
        "Under rotation, rotated is more invariant than plain in 1 of 3 layers (most in layer0: 0.5000 → "
        "0.3000) and less in 1 (most in layer2: 0.5000 → 0.6000); in 1 the difference is not significant "
        "(Holm-adjusted p ≥ 0.05)."
    )


def differences(*rows, p_holm=0.01):
    """Layers with values 1 and 1 + the interval's middle."""
    return pd.DataFrame(
        {
            "a": "plain",
            "b": "rotated",
            "layer": [f"layer{i}" for i in range(len(rows))],
            "call": 0,
            "value_a": 1.0,
            "value_b": [1 + (low + high) / 2 for low, high in rows],
            "difference": [(low + high) / 2 for low, high in rows],
            "ci_low": [low for low, _ in rows],
            "ci_high": [high for _, high in rows],
            "p_holm": p_holm,
        }
    )


@pytest.mark.parametrize(
    ("rows", "p_holm", "words"),
    [
        (
            [(-0.2, -0.1), (-0.5, -0.4)],
            0.01,
            "more invariant than plain in 2 of 2 layers (most in layer1: 1.000 → 0.550), each with "
            "Holm-adjusted p < 0.05",
        ),
        (
            [(0.1, 0.3)],
            0.01,
            "less invariant than plain in the only layer (most in layer0: 1.000 → 1.200), with "
            "Holm-adjusted p < 0.05",
        ),
        (
            [(-0.5, -0.4), (-0.2, -0.1), (-0.2, -0.1)],
            [0.01, 0.05, 0.14],
            "more invariant than plain in 1 of 3 layers (most in layer0: 1.000 → 0.550); in 2 the difference "
            "is not significant (Holm-adjusted p ≥ 0.05)",
        ),
        (
            [(-0.2, 0.1), (-0.2, -0.1)],
            [0.4, 0.06],
            "neither significantly more nor less invariant than plain in any of 2 layers (Holm-adjusted "
            "p ≥ 0.05)",
        ),
    ],
)
def test_the_comparison_claims_only_what_is_significant_after_adjustment(rows, p_holm, words):
    table = differences(*rows, p_holm=p_holm)
    sentence = findings.compared(table, "normalized_variance", "rotation")
    assert sentence == f"Under rotation, rotated is {words}."


def test_differences_between_copies_are_rarely_counted_although_their_intervals_often_exclude_zero():
    draws = np.random.default_rng(0)
    found = {"unadjusted": 0, "counted": 0}
    for _ in range(60):
        a, b = (independent(draws, name) for name in ("plain", "copy"))
        rows = compare_all([a, b]).rows
        found["unadjusted"] += ((rows["ci_low"] > 0) | (rows["ci_high"] < 0)).any()
        sentence = findings.compared(rows, "normalized_variance", "rotation")
        found["counted"] += "neither" not in sentence
    assert found["unadjusted"] > 20
    assert found["counted"] <= 8  # 5 % of 60, and chance


def independent(draws, name):
    """Sixteen layers whose values are means over eight groups of the same expectation."""
    rows = []
    for i in range(16):
        groups = draws.normal(1.0, 0.1, 8)
        left_out = (groups.sum() - groups) / 7
        rows.append(row(f"layer{i}", groups.mean(), replicates=left_out.tolist(), group_sizes=[8] * 8))
    return result(rows, name=name, **ROTATION)


def test_layers_without_a_test_do_not_count():
    rows = differences((-0.2, -0.1), (-0.5, -0.5), p_holm=[0.01, NAN])
    sentence = findings.compared(rows, "anova.share_transform", "rotation")
    assert "lower than plain in ANOVA: share transform in the only layer with a p-value (most in" in sentence


def test_no_difference_is_claimed_where_no_interval_was_issued():
    sentence = said(net([0.5, 0.5]), net([0.3, 0.4], "rotated"))[0]
    assert sentence == (
        "Under rotation, no difference between rotated and plain is established: none has an interval."
    )


def test_no_difference_is_claimed_if_all_groups_of_samples_agree_exactly():
    rows = differences((-0.5, -0.5), p_holm=NAN)
    assert findings.compared(rows, "normalized_variance", "rotation") == (
        "Under rotation, no difference between rotated and plain is established: it is the same in every "
        "group of samples, so it has no p-value."
    )


def test_networks_with_the_same_values_are_said_to_have_them():
    a, b = with_replicates([0.5, 0.5], "plain", 0.01), with_replicates([0.5, 0.5], "copy", 0.01)
    assert said(a, b)[0] == "Under rotation, copy and plain have the same values in all 2 layers."


def test_a_single_layer_is_the_only_one():
    a, b = with_replicates([0.5], "plain", 0.01), with_replicates([0.5], "copy", 0.01)
    assert said(a, b)[0] == "Under rotation, copy and plain have the same values in the only layer."
    sentence = findings.compared(differences((-0.2, -0.1)), "normalized_variance", "rotation")
    assert "more invariant than plain in the only layer (most in" in sentence


def test_layers_that_cannot_be_told_from_unrelated_samples_are_counted():
    rows = [
        row("a", 0.5, ci_high=0.6, null=1.0),
        row("b", 0.9, ci_high=1.1, null=1.0),
        row("c", 0.9, null=1.0),
    ]
    assert said(result(rows, **ROTATION))[2] == (
        "The interval reaches the null, the value for unrelated samples, in 1 of 3 layers."
    )


def test_a_layer_that_is_only_a_number_is_called_a_layer():
    assert "Transformation affects layer 3 least" in said(result([row("3", 0.1), row("4", 0.2)]))[1]


def test_the_accuracy_is_given_with_the_elements_of_its_extremes():
    shown = result([row("a", 0.5)], curves=[curve(0, 0.975), curve(2, 0.4)], **ROTATION)
    assert said(shown)[-1] == "The accuracy ranges from 40\u00a0% (180°) to 98\u00a0% (0°)."


def test_the_title_names_the_transform_and_up_to_three_networks():
    nets = [net([0.5], name) for name in ("a", "b", "c", "d")]
    assert findings.title(nets[:3]) == "Invariance under rotation: a, b and c"
    assert findings.title(nets) == "Invariance under rotation: 4 networks"


def test_facts_that_differ_are_said_for_each_network():
    a, b = net([0.5], "a"), net([0.5], "b")
    a.provenance["seed"], b.provenance["seed"] = 0, 1
    extra = row("output", 0.9, measure="prediction.accuracy")
    a, b = (result([*r.rows, row("fc", 0.4), extra], name=r.name, **r.provenance) for r in (a, b))
    facts = dict(key_facts([a, b]))
    assert facts["Seed"] == ["a: 0", "b: 1"]
    assert facts["Layers"] == ["2 measured"]
    assert facts["Transform"] == ["rotation, 2 elements: 0°, 90°"]


def test_only_words_that_occur_are_explained():
    assert [word for word, _ in words([net([0.5])])] == ["layer", "value"]
    told = words([result([row("a", 0.5, null=1.0, dead_units=2), row("a", 0.5, stratum="cat")])])
    assert [word for word, _ in told] == ["layer", "value", "null", "dead", "class"]


def test_a_single_layer_has_a_value_and_no_span():
    (sentence,) = said(result([row("output", 2.0, measure="stability_curve.gain")], **ROTATION))
    assert sentence == "The stability curve: gain of output is 2.000."


def test_provenance_shows_notes_and_reasons_that_differ_only_in_numbers_once():
    note = "no interval: the smallest group has {} of 8 samples needed"
    rows = [row(f"conv{k}", 0.5, note=note.format(k)) for k in (1, 2, 4)]
    skipped = [{"layer": "a", "call": k, "reason": f"{k + 2} rows for 3 samples"} for k in (0, 1)]
    (entry,) = provenance([result(rows, skipped=skipped)])
    assert entry["notes"] == [f"{note.format('1 to 4')} (3 rows: conv1, conv2, conv4)"]
    assert entry["skipped"] == [("a, a, call 1", "2 to 3 rows for 3 samples")]
