"""A constant network is flagged, not praised; a value that differs from its null is not flagged."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.cli.tables import remarks
from invariscope.engine.extras.cautions import (
    AS_NOISE,
    CARRIED,
    INSENSITIVE,
    OUTWEIGHED,
    UNPAIRED,
    with_cautions,
)
from invariscope.intervals import reaches_null
from invariscope.measures.base import as_measures
from invariscope.report.findings import sentences
from invariscope.results.rows import Row

MEASURES = [
    *("normalized_variance", "equivariance_deviation", "consistency", "worst_element", "cka", "stability"),
    *("gradient_norm", "twirl"),
]


class Scores(nn.Module):
    """Three scores of an image: constant, the same for all turns, or of its pixels."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.linear = kind, nn.Linear(64, 3)
        self.head = nn.Linear(3, 3)
        with torch.no_grad():
            (self.linear.weight if kind == "constant" else self.linear.bias).zero_()
            self.linear.weight.mul_(20)
            self.head.weight.copy_(torch.eye(3))

    def forward(self, x):
        if self.kind == "invariant":
            x = sum(torch.rot90(x, k, (2, 3)) for k in range(4)) / 4
        return self.head(self.linear((x - 0.5).flatten(1)))


@pytest.fixture(scope="module")
def results():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    options = {"measures": MEASURES, "layers": ["linear", "head"], "progress": False}
    data = (torch.rand(160, 1, 8, 8, generator=generator), torch.arange(160) % 3)
    return {
        kind: iv.measure(Scores(kind), data, iv.QuarterTurns(), **options)
        for kind in ("constant", "invariant", "pixels")
    }


def cautioned(result, measure):
    return set(result.cautions.query("measure == @measure")["caution"])


def test_a_constant_network_is_flagged_and_not_praised(results):
    constant = results["constant"]
    for measure in ("equivariance_deviation.latent", "consistency", "worst_element", "twirl.symmetry"):
        assert cautioned(constant, measure) == {INSENSITIVE}, measure
    # These have no value at all for it, and the note says why.
    for measure in ("normalized_variance", "cka", "stability.D"):
        rows = [row for row in constant.rows if row["measure"] == measure]
        assert all(math.isnan(row["value"]) and row["note"] for row in rows), measure


def test_an_invariant_network_is_not(results):
    assert results["invariant"].cautions.empty
    assert results["invariant"].provenance["notes"] == []


def test_values_like_those_of_unrelated_samples_are_said_to_be_so(results):
    rows = [row for row in results["pixels"].rows if row.get("caution")]
    assert rows
    assert all(reaches_null(row, ideal=1.0 if "consistency" in row["measure"] else 0.0) for row in rows)


def test_terminal_report_and_provenance_say_the_same(results):
    constant = results["constant"]
    said = "worst_element of 2 layers (linear, head) is " + INSENSITIVE
    assert said in constant.provenance["notes"]
    assert said in remarks(constant)
    assert any(INSENSITIVE in sentence for sentence in sentences([constant], None))
    assert not any(INSENSITIVE in sentence for sentence in sentences([results["invariant"]], None))


def test_cautions_are_saved(results, tmp_path):
    constant = results["constant"]
    saved = iv.load(constant.save(tmp_path / "run"))
    assert saved.cautions.to_dict() == constant.cautions.to_dict()


def row(measure, value, **columns):
    known = {"null": math.nan, "ci_low": math.nan, "ci_high": math.nan}
    return Row.of(
        known | {"measure": measure, "layer": "conv1", "value": value} | columns, iv.list_measures()
    )


@pytest.mark.parametrize(
    ("moved", "ratio", "high", "flagged"),
    [(0.02, 1.1, 1.3, True), (0.02, 0.9, 1.1, True), (0.02, 0.3, 0.4, False), (0.5, 1.1, 1.3, False)],
)
def test_a_small_displacement_is_not_invariance_if_noise_moves_as_little(moved, ratio, high, flagged):
    rows = [
        row("gradient_norm.moved", moved),
        row("gradient_norm.moved_to_noisy", ratio, ci_low=ratio - 0.2, ci_high=high),
    ]
    rows, notes = with_cautions(rows, as_measures("gradient_norm"))
    assert (rows[0].get("caution") == AS_NOISE) == flagged
    assert bool(notes) == flagged


def test_values_in_units_of_the_activation_are_never_called_small():
    rows = [row("transformation_variance", 1e-6, null=1e-6, ci_low=5e-7, ci_high=2e-6)]
    rows, _ = with_cautions(rows, as_measures("transformation_variance"))
    assert rows[0]["caution"] == UNPAIRED


@pytest.mark.parametrize(
    ("value", "low", "high", "null", "ideal", "answer"),
    [
        (0.5, 0.4, 0.6, 1.0, 0.0, False),
        (0.9, 0.7, 1.1, 1.0, 0.0, True),
        (1.4, 1.3, 1.5, 1.0, 0.0, True),
        (1.0, math.nan, math.nan, 1.0, 0.0, True),
        (0.8, 0.7, 0.9, 0.1, 1.0, False),  # an agreement, for which more is better
        (0.2, 0.05, 0.3, 0.1, 1.0, True),
        (-0.999, -0.9992, -0.9988, -0.999, -1.0, True),
        (0.5, 0.4, 0.6, math.nan, 0.0, False),
        (0.0, 0.0, 0.0, 0.0, math.nan, False),
    ],
)
def test_the_null_is_reached_from_the_side_of_the_perfect_value(value, low, high, null, ideal, answer):
    found = {"value": value, "ci_low": low, "ci_high": high, "null": null}
    assert reaches_null(found, ideal=ideal) == answer


def test_an_interval_that_would_not_cover_is_not_issued_and_the_note_says_why():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(128, 1, 8, 8, generator=generator)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU())
    with torch.no_grad():
        drive = torch.stack([net[:2](torch.rot90(x, k, (2, 3))) for k in range(4)]).amax(0)
        net[1].bias -= drive.sort(0).values[-31]  # each unit responds to 30 of the samples
    measures = ["normalized_variance", "anova", "worst_element"]
    result = iv.measure(net, x, iv.QuarterTurns(), measures=measures, layers="2", progress=False)
    rows = {row["measure"]: row for row in result.rows}
    rare = "half of the units deviate from their usual response for fewer than 43 samples"
    said = {
        "normalized_variance": rare,
        "anova.share_sample": rare,
        "worst_element.tail": "too few samples are in a tail",
    }
    for measure, reason in said.items():
        assert math.isfinite(rows[measure]["value"]), measure
        assert math.isnan(rows[measure]["ci_low"]), measure
        assert reason in rows[measure]["note"], measure
    assert math.isfinite(rows["normalized_variance"]["ratio_low"])


def test_a_mean_that_a_few_nearly_silent_samples_decide_has_no_interval():
    x = torch.rand(128, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    x[:3] *= 1e-3  # their responses are next to zero, and noise beside them is not
    halves = [lambda x: x, lambda x: x + 0.01]
    error = iv.EquivarianceError(feature_action="trivial")
    options = {"measures": error, "layers": "0", "progress": False}
    dark = iv.measure(nn.Sequential(nn.Flatten()), x, halves, **options)
    bright = iv.measure(nn.Sequential(nn.Flatten()), x[3:], halves, **options)
    for result, issued in ((dark, False), (bright, True)):
        row = next(row for row in result.rows if row["measure"] == "equivariance_error.trivial")
        assert math.isfinite(row["ci_low"]) == issued
        assert ("hardly any response" in row.get("note", "")) == (not issued)


class Units(nn.Module):
    """Units that follow the mean of an image, and perhaps one that hardly varies between samples."""

    def __init__(self, spoiled):
        super().__init__()
        self.spoiled, self.end = spoiled, nn.Identity()

    def forward(self, x):
        mean, corner = x.mean((1, 2, 3))[:, None], x[:, 0, :1, 0]
        quiet = 0.01 * (corner > 2) + 1e-6 * mean
        return self.end(torch.cat([mean + 0.02 * corner, mean - 0.02 * corner, quiet][: 2 + self.spoiled], 1))


@pytest.mark.parametrize("spoiled", [False, True])
def test_a_mean_that_nearly_dead_units_carry_is_flagged_with_what_to_read_instead(spoiled):
    images = torch.rand(160, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    images[:, 0, 0, 0] = 3  # alike in all samples, and not where turns take it
    result = iv.measure(Units(spoiled), images, iv.QuarterTurns(), layers="end", progress=False)
    (row,) = result.rows
    assert row["value_ratio"] < 1
    assert (row["value"] > 1e5) == spoiled
    assert (CARRIED in row.get("caution", "")) == spoiled
    assert any("value_ratio" in text for text in result.provenance["notes"]) == spoiled


@pytest.mark.parametrize(
    ("measure", "value", "ratio", "expected"),
    [
        ("normalized_variance", 0.05, 0.9, OUTWEIGHED),
        ("normalized_variance", 3.0, 0.9, ""),
        ("normalized_variance", 1e-9, 1e-12, ""),  # both are small
        ("normalized_variance", math.inf, 1.0, ""),
        ("anova.share_transform", 0.9, 0.01, ""),  # a share is nobody's outlier
    ],
)
def test_means_near_the_ratio_of_means_and_shares_are_not_flagged(measure, value, ratio, expected):
    one = row(measure, value, value_ratio=ratio, ci_low=value, ci_high=value)
    (cautioned,), found = with_cautions([one], as_measures(measure.partition(".")[0]))
    assert cautioned.caution == expected
    assert [text.partition(" is ")[2] for text in found] == ([expected] if expected else [])


def test_ordinary_layers_are_not_flagged(results):
    texts = [text for result in results.values() for text in result.cautions["caution"]]
    assert not any(CARRIED in text or OUTWEIGHED in text for text in texts)
