"""The first sentence of a report: what happens to predictions."""

import pytest
import torch
from plot_rows import NAN, curve, result, row

import invariscope as iv
from invariscope.report import findings, predictions
from invariscope.report.comparison import compare_all
from invariscope.report.predictions import Share

QUARTERS = {"transform": {"family": "quarter_turns", "labels": ["0°", "90°", "180°"], "fingerprint": "t"}}
IMAGES = {"data": {"shape": [1, 28, 28], "samples": 100, "labelled": True, "fingerprint": "d"}}
FLIPS = "prediction.flips"


def classifier(flips, accuracy=(), mean=NAN, name="net", interval=0.02, **about):
    """A network whose predictions change for these shares of samples at 0°, 90°, ..., and its accuracies."""
    rows = [row("conv", 0.5), row("fc", 0.25)]
    if mean == mean:
        ends = {"ci_low": mean - interval, "ci_high": mean + interval}
        rows.append(row("output", mean, measure=FLIPS, samples=100, **ends))
    curves = [curve(k, share, measure=FLIPS, samples=100) for k, share in enumerate(flips)]
    curves += [curve(k, share, samples=100) for k, share in enumerate(accuracy)]
    return result(rows, curves=curves, name=name, **(QUARTERS | IMAGES | about))


def said(*results):
    return [text.replace("\u00a0", " ") for text in findings.sentences(results, compare_all(results).rows)]


def test_the_share_of_a_single_transformation_leads_with_its_interval_and_the_accuracy():
    first, *_ = said(classifier([0.0, 0.52], [0.97, 0.45], mean=0.52, interval=0.04))
    assert first == (
        "52 % of images change class when turned by 90° (95 % interval 48 to 56 %), and the accuracy falls "
        "from 97 % to 45 %."
    )


def test_the_mean_over_several_transformations_leads_and_the_worst_of_them_follows():
    first, second, *_ = said(classifier([0.0, 0.3, 0.5], [0.9, 0.6, 0.7], mean=0.4))
    assert first == (
        "On average over 2 quarter turns, 40 % of images change class (95 % interval 38 to 42 %), and the "
        "accuracy falls from 90 % to 60 % at 90°."
    )
    assert second == "The largest share, 50 % (95 % interval 40 to 60 %), changes class when turned by 180°."


def test_without_a_mean_the_worst_transformation_leads():
    first, *_ = said(classifier([0.0, 0.3, 0.5]))
    assert first == (
        "50 % of images change class when turned by 180°, the most of 2 quarter turns (95 % interval 40 to "
        "60 %)."
    )


def test_an_accuracy_that_does_not_fall_is_said_to_hold():
    first, *_ = said(classifier([0.0, 0.5], [0.25, 0.5], mean=0.5))
    assert first.endswith("; the accuracy never falls below 25 %, its value without a transformation.")


def test_a_fall_that_the_samples_may_explain_is_no_fall():
    network = classifier([0.0, 0.1], [0.5, 0.45], mean=0.1)  # 0.35 to 0.55
    assert said(network)[0].endswith(
        "; the accuracy does not clearly fall (50 % without a transformation, 45 % at 90°)."
    )
    assert not any("accuracy falls" in text for text in said(network, network.labelled("other")))


def test_predictions_that_never_change_are_bounded():
    first, *rest = said(classifier([0.0, 0.0, 0.0], mean=0.0))
    # 1 - 0.05 ** (1 / 100) = 0.0295...
    assert first == (
        "None of 100 images changes class under any of 2 quarter turns (at 95 % confidence, fewer than 3 % "
        "of all images do)."
    )
    assert not any("largest share" in text for text in rest)


def test_samples_that_are_no_images_are_called_samples_and_other_families_transformations():
    about = {"data": {"shape": [16]}, "transform": {"family": "elements", "labels": ["a", "b"]}}
    first, *_ = said(classifier([0.0, 0.5], mean=0.5, **about))
    assert first.startswith("50 % of samples change class when transformed by 90°")


def test_a_missing_interval_is_explained_in_the_sentence():
    note = "no interval yet: predictions change for only 2 of 100 samples"
    shown = classifier([0.0, 0.02])
    flips = row("output", 0.02, measure=FLIPS, ci_low=NAN, ci_high=NAN, note=note)
    first, *_ = said(result([*shown.rows, flips], curves=shown.curve_rows, **(QUARTERS | IMAGES)))
    assert first == (
        "2 % of images change class when turned by 90° (no interval: predictions change for only 2 of 100 "
        "samples)."
    )


def test_the_reason_has_no_parentheses_of_its_own():
    note = "dead units; no interval yet: it changes for none (fewer than 5 %, at 95 %); see the notes"
    share = Share.of({"value": 0.0, "ci_low": NAN, "ci_high": NAN, "note": note})
    assert share.reason == "it changes for none, fewer than 5 %, at 95 %"


def test_consistency_is_reported_as_the_share_that_changes():
    rows = [row("output", 0.75, measure="consistency.untransformed", ci_low=0.7, ci_high=0.8)]
    curves = [curve(k, v, measure="consistency.by_element") for k, v in enumerate((1.0, 0.5, 1.0))]
    first, second, *_ = said(result(rows, curves=curves, **(QUARTERS | IMAGES)))
    assert first == "On average over 2 quarter turns, 25 % of images change class (95 % interval 20 to 30 %)."
    assert second == "The largest share, 50 % (95 % interval 40 to 60 %), changes class when turned by 90°."


def test_few_networks_are_named_one_by_one():
    both = classifier([0, 0.4], [0.9, 0.5], 0.4, "plain"), classifier([0, 0.1], [0.8, 0.6], 0.1, "rotated")
    first, second, *_ = said(*both)
    assert first == (
        "When turned by 90°, 40 % of images change class for plain (95 % interval 38 to 42 %) and 10 % for "
        "rotated (8 to 12 %)."
    )
    assert second == (
        "The accuracy falls from 90 % to 50 % at 90° for plain and from 80 % to 60 % at 90° for rotated."
    )


def test_of_many_networks_the_best_and_the_worst_are_named():
    several = [classifier([0, 0.1 * k], mean=0.1 * k, name=f"n{k}") for k in range(1, 6)]
    first, second = said(*several)
    assert first == "When turned by 90°, between 10 % (n1) and 50 % (n5) of images change class."
    assert second == (
        "Quarter turns change the responses of the last layer 0.25 times as much as replacing the image does."
    )


def test_labelled_data_without_predictions_say_how_to_measure_them():
    shown = result([row("conv", 0.5)], **(QUARTERS | IMAGES))
    assert said(shown)[-1] == (
        "What happens to predictions was not measured; add “prediction” to the measures, which needs no "
        "further forward pass."
    )
    assert len(said(result([row("conv", 0.5)], **QUARTERS))) == 1


@pytest.mark.parametrize(
    ("share", "texts"),
    [
        (Share(0.5, 0.4, 0.6), ("50 %", " (95 % interval 40 to 60 %)")),
        (Share(0.001, 0.0005, 0.0015), ("0.10 %", " (95 % interval 0.05 to 0.15 %)")),
        (Share(0.5), ("50 %", "")),
    ],
)
def test_percentages_have_as_many_decimals_as_needed(share, texts):
    assert tuple(text.replace("\u00a0", " ") for text in share.texts) == texts


def test_the_chart_of_changes_leads_the_page_only_if_there_is_one():
    assert predictions.predictions([classifier([0.0, 0.5])])
    assert not predictions.predictions([result([row("a", 0.5)], curves=[curve(0, 0.9), curve(1, 0.8)])])


class SameClass(torch.nn.Module):
    """Gives every image class 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([0 * x.mean((1, 2, 3)) + 1, 0.001 * x.mean((1, 2, 3))], dim=1)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("measures", ["prediction", "consistency"])
def test_a_network_that_gives_all_images_the_same_class_is_called_so(measures):
    data = torch.rand(64, 3, 8, 8), torch.arange(64) % 2
    result = iv.measure(SameClass(), data, iv.QuarterTurns(), measures=measures, label="it", progress=False)
    assert "insensitivity explains the value" in " ".join(result.cautions["caution"])
    assert predictions.details([result])[-1] == (
        "it predicts the same class for every image, so this share of 0\N{NO-BREAK SPACE}% says nothing "
        "about invariance."
    )


@pytest.mark.usefixtures("seeded")
def test_the_accuracy_of_every_network_is_named_if_that_of_one_falls():
    weights = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2, bias=False))
    images = torch.rand(128, 3, 8, 8)
    labels = weights(images).argmax(1).detach()
    both = [
        iv.measure(
            model, (images, labels), iv.QuarterTurns(), measures="prediction", label=label, progress=False
        )
        for model, label in ((weights, "its own"), (SameClass(), "constant"))
    ]
    share = round(100 * float((labels == 0).double().mean()))
    (accuracy, same) = predictions.details(both)
    assert accuracy.startswith("The accuracy falls from 100\N{NO-BREAK SPACE}% to ")
    assert accuracy.endswith(f" for its own, and stays at {share}\N{NO-BREAK SPACE}% for constant.")
    assert same.startswith("constant predicts the same class")
