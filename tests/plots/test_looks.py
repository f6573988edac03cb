"""Options that every plot takes: axes, size, title, scale, theme; deep networks; wrong input."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from figure_checks import faults
from matplotlib.figure import Figure
from sample_results import sample_result

import invariscope as iv
from invariscope.plots.shared.depth import FEW, shown_layers

# One of each kind: lines, violins, columns of cells, two panels, curves, images.
KINDS = [
    "layer_profile",
    "unit_distribution",
    "unit_heatmap",
    "class_heatmap",
    "element_curve",
    "orbit_strip",
]
OF_LAYERS = ["layer_profile", "unit_distribution", "unit_heatmap", "class_heatmap"]


def deep(blocks):
    """A result with three layers per block, at two levels of names."""
    parts = [f"stage{i // 8}.{i % 8}.{part}" for i in range(blocks) for part in ("conv", "bn", "relu")]
    return sample_result(
        f"net of {blocks}", layers=dict.fromkeys(parts, (3, 4, 4)), curves=False, examples=False
    )


@pytest.fixture(scope="module")
def sample():
    return sample_result()


def overlaps(figure):
    """Pairs of visible tick labels of one axis that are printed over each other."""
    figure.draw_without_rendering()
    found = []
    for ax in figure.axes:
        for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
            texts = [label for label in labels if label.get_text()]
            for left, right in pairwise(texts):
                if _covered(left, right):
                    found.append((left.get_text(), right.get_text()))
    return found


def _covered(left, right):
    if left.get_rotation() % 90:  # slanted labels: the distance between the lines, not the boxes
        one, other = (label.get_window_extent() for label in (left, right))
        angle = np.deg2rad(left.get_rotation())
        return abs(other.x1 - one.x1) * np.sin(angle) < 0.8 * left.get_fontsize() * left.figure.dpi / 72
    one, other = (label.get_window_extent() for label in (left, right))
    return one.shrunk(0.98, 0.9).overlaps(other.shrunk(0.98, 0.9))


CROWDED = [(name, 67, 2) for name in OF_LAYERS] + [("layer_profile", 20, 6), ("unit_distribution", 13, 1)]


@pytest.mark.parametrize(("name", "blocks", "count"), CROWDED)
def test_labels_are_never_printed_over_each_other_at_the_width_of_a_column(name, blocks, count):
    result = deep(blocks)
    several = [result.labelled(f"net {i}") for i in range(count)]
    figure = iv.plot(name, several, theme="paper")
    assert figure.get_size_inches()[0] <= 3.4
    assert overlaps(figure) == []


OF_CONVENTION = [name for name in OF_LAYERS if name != "class_heatmap"]


@pytest.mark.parametrize("name", [*OF_CONVENTION, "model_graph"])
def test_labels_of_vertical_axes_fit_into_the_panels_of_a_column(name):
    convention = "normalized_variance.quiroga2019"
    plain = sample_result(curves=False, examples=False)
    renamed = [replace(row, measure=convention) for row in plain.rows if row.measure == "normalized_variance"]
    maps = {(convention, *key[1:]): array for key, array in plain.arrays.items()}
    result = replace(plain, rows=tuple(renamed), arrays=maps)
    figure = Figure((3.4, 4.2), layout="constrained")
    for ax in figure.subplots(2, 1):
        iv.plot(name, result, theme="paper", ax=ax)
    assert any("Quiroga 2019" in ax.get_ylabel() for ax in figure.axes)
    assert faults(figure) == []


def test_deep_networks_show_the_outputs_of_blocks_unless_layers_are_named():
    result = deep(20)
    assert len(iv.plot("layer_profile", result).axes[0].lines[0].get_xdata()) == 20
    assert len(iv.plot("layer_profile", result, layers=None).axes[0].lines[0].get_xdata()) == 60
    assert len(iv.plot("layer_profile", result, layers="stage0.*").axes[0].lines[0].get_xdata()) == 24
    labels = list(dict.fromkeys(result.table["layer"]))
    assert [label for label, shown in zip(labels, shown_layers(labels), strict=True) if shown][:2] == [
        "stage0.0.relu",
        "stage0.1.relu",
    ]
    assert shown_layers([str(i) for i in range(200)]).sum() == FEW
    with pytest.raises(ValueError, match=r"no layer matches 'fc\*'; the layers are stage0.0.conv, "):
        iv.plot("layer_profile", result, layers="fc*")


@pytest.mark.parametrize("name", KINDS)
def test_a_plot_draws_into_given_axes(name, sample):
    panels = 2 if name == "class_heatmap" else 1
    figure = Figure((8, 4))
    axes = figure.subplots(1, panels + 1)
    ax = axes[:panels] if panels > 1 else axes[0]
    assert iv.plot(name, sample, ax=ax, title="mine") is figure
    assert axes[0].has_data()
    assert not axes[-1].has_data()
    assert axes[0].get_title(loc="left") == "mine"
    with pytest.raises(ValueError, match=f"ax= must have {panels} axes, one per panel; got {panels + 1}"):
        iv.plot(name, sample, ax=axes)


@pytest.mark.parametrize("name", KINDS)
def test_size_and_title_are_as_requested(name, sample):
    figure = iv.plot(name, sample, figsize=(5, 3), title="Rotations")
    assert figure.get_size_inches().tolist() == [5, 3]
    titles = [ax.get_title(loc="left") for ax in figure.axes] + [figure.get_suptitle()]
    assert titles.count("Rotations") == 1
    bare = iv.plot(name, sample, title="")
    assert bare.axes[0].get_title(loc="left") == ""


def test_a_scale_that_is_cut_off_has_an_arrow(sample):
    whole = iv.plot("unit_heatmap", sample, vmin=0, vmax=1000)
    cut = iv.plot("unit_heatmap", sample, vmax=0.4, cmap="magma")
    assert whole.axes[-1]._colorbar.extend == "neither"
    assert cut.axes[-1]._colorbar.extend == "max"
    assert cut.axes[-1]._colorbar.vmax == 0.4
    assert cut.axes[0].images[0].get_cmap().name == "magma"
    assert iv.plot("layer_profile", sample, vmin=0.1, vmax=2).axes[0].get_ylim() == (0.1, 2)


def test_results_beside_each_other_share_a_scale(sample):
    strong = sample_result("strong", level=3.0, seed=1)
    figure = iv.plot("unit_heatmap", [sample, strong], title="Both")
    scales = {ax.images[0].get_clim() for ax in figure.axes if ax.images and ax.get_title(loc="left")}
    assert len(scales) == 1
    assert [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")] == ["plain", "strong"]
    assert figure.get_suptitle() == "Both"
    alone = iv.plot("unit_heatmap", sample).axes[0].images[0].get_clim()
    assert alone != scales.pop()


def test_the_null_and_dead_units_are_explained(sample):
    legend = iv.plot("layer_profile", sample).axes[0].get_legend()
    assert "null" in [text.get_text() for text in legend.get_texts()]
    lines = iv.plot("layer_profile", [sample, sample_result("other")]).axes[0].lines
    assert {line.get_linestyle() for line in lines} == {"-", ":"}


def test_notebooks_display_figures(sample):
    assert iv.plot("layer_profile", sample)._repr_png_().startswith(b"\x89PNG")


WRONG = [
    ({"figsize": 3}, ValueError, r"figsize= must be \(width, height\) in inches"),
    ({"figsize": (0, 2)}, ValueError, r"figsize= must be .*got \(0, 2\)"),
    ({"ax": "left"}, TypeError, "ax= must be matplotlib axes, or a sequence of them; got str"),
    ({"vmin": 1, "vmax": 1}, ValueError, "vmin= must be less than vmax=; got 1 and 1"),
    ({"vmax": "high"}, ValueError, "vmin= and vmax= must be finite numbers"),
    ({"cmap": "viridsi"}, ValueError, r"unknown colour map 'viridsi'.*'viridis'"),
    ({"theme": "papre"}, ValueError, r"unknown theme 'papre'.*'paper'"),
    ({"mesure": "nv"}, TypeError, r"unknown option of 'layer_profile' 'mesure'.*'measure'"),
]


def test_a_name_that_is_no_text_is_refused(sample):
    with pytest.raises(TypeError, match="give the name of a plot, as a string; got list"):
        iv.plot([sample], sample)


@pytest.mark.parametrize(("options", "kind", "message"), WRONG)
def test_wrong_options_are_refused_in_one_line(options, kind, message, sample):
    with pytest.raises(kind, match=message) as caught:
        iv.plot("layer_profile", sample, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("results", [None, [None], 3, "run", [1, 2], {"a": 1}, np.zeros(3)])
@pytest.mark.parametrize("name", ["layer_profile", "unit_heatmap"])
def test_what_is_no_result_is_refused_in_one_line(name, results):
    with pytest.raises(TypeError, match=re.escape("plots take one Result, or a list of them")):
        iv.plot(name, results)


def test_no_results_are_refused():
    with pytest.raises(ValueError, match="no results"):
        iv.plot("layer_profile", [])
