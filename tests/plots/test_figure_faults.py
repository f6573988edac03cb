"""Figures at the width of a column: no text over another or outside, none too small, files with real text."""

import re
import zlib

import pytest
from figure_checks import crossing, faults
from figure_samples import grid, samples, variants
from matplotlib.figure import Figure
from sample_results import sample_result

import invariscope as iv
from invariscope.plots import PLOTS

# Several panels per result: so many results do not fit on a page, and the error says so.
CROWDED = {"local_fields": 6, "local_decomposition": 6, "filter_spectra": 6}
CASES = [
    (name, layers, results, i)
    for name, layers, results in grid()
    for i in range(len(variants(name)))
    if results < CROWDED.get(name, 7)
]
# The first result has the title of all; headings say what the colour scales show.
TITLED_ELSEWHERE = ("gabor_filters", "local_fields")
# Each plot once with few layers, and the hardest cases of those that show layers.
SAMPLE = [(name, 10, 2, 0) for name in PLOTS.names()] + [
    ("layer_profile", 60, 2, 0), ("unit_heatmap", 60, 2, 0), ("class_heatmap", 60, 2, 0),
    ("unit_distribution", 60, 2, 0), ("epoch_heatmap", 60, 2, 0), ("neuron_stability", 60, 2, 0),
    ("layer_profile", 60, 1, 1),
]  # fmt: skip


def found(name, layers, results, variant):
    options = variants(name)[variant]
    figure = iv.plot(name, list(samples(layers, results)), theme="paper", **options)
    texts = faults(figure)
    width, height = figure.get_size_inches()
    assert width <= 3.4
    assert height <= 8.8
    return [text for text in texts if "without a title" not in text or name not in TITLED_ELSEWHERE]


@pytest.mark.parametrize(("name", "layers", "results", "variant"), SAMPLE)
def test_texts_of_a_figure_are_apart_and_inside(name, layers, results, variant):
    assert found(name, layers, results, variant) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layers", "results", "variant"), CASES)
def test_texts_of_every_figure_are_apart_and_inside(name, layers, results, variant):
    assert found(name, layers, results, variant) == []


@pytest.mark.parametrize("name", CROWDED)
def test_results_that_do_not_fit_on_a_page_are_refused_unless_a_size_is_given(name):
    several = list(samples(10, 6))
    with pytest.raises(ValueError, match=r"6 results .* do not fit on a page .* give at most \d results"):
        iv.plot(name, several, theme="paper")
    assert iv.plot(name, several, theme="paper", figsize=(7, 40)).get_size_inches().tolist() == [7, 40]


def test_image_grids_of_many_results_show_fewer_rows_and_say_so():
    figure = iv.plot("feature_orbits", list(samples(10, 6)), theme="paper")
    below = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert below == ["3 of 5 rows shown"]
    shown = [label.get_text().split("\n")[0] for label in figure.axes[0].get_yticklabels()]
    assert shown == ["input", "conv2 · 3", "conv2 · 5"]


def fonts(pdf):
    """The kinds of fonts in a PDF file, including those in compressed objects."""
    parts = [pdf]
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL):
        try:
            parts.append(zlib.decompress(stream))
        except zlib.error:
            continue
    return {
        kind for part in parts for kind in re.findall(rb"/Subtype\s*/(Type\w+|TrueType|CIDFontType\w)", part)
    }


@pytest.mark.parametrize("name", PLOTS.names())
def test_files_hold_truetype_and_text(name, tmp_path):
    figure = iv.plot(name, samples(10, 1)[0], theme="paper", title="Rotations by 90°")
    assert figure.get_size_inches()[0] <= 3.4
    figure.savefig(tmp_path / "figure.pdf", metadata={"CreationDate": None})
    figure.savefig(tmp_path / "figure.svg", metadata={"Date": None})
    kinds = fonts((tmp_path / "figure.pdf").read_bytes())
    assert b"Type3" not in kinds
    assert kinds & {b"TrueType", b"CIDFontType2", b"Type42"}
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", (tmp_path / "figure.svg").read_text())
    assert "Rotations by 90°" in texts


def test_the_font_check_finds_type_3(tmp_path):
    figure = Figure()
    figure.text(0.5, 0.5, "abc")
    figure.savefig(tmp_path / "plain.pdf")  # matplotlib's own default
    assert b"Type3" in fonts((tmp_path / "plain.pdf").read_bytes())


def test_the_checks_find_texts_over_each_other_outside_and_too_small():
    figure = Figure((3, 2))
    figure.text(0.5, 0.5, "one")
    figure.text(0.52, 0.52, "two")
    figure.text(0.9, 0.2, "far too long for this figure")
    figure.text(0.1, 0.9, "tiny", fontsize=4)
    texts = faults(figure)
    assert any("'one' is printed over 'two'" in text for text in texts)
    assert any("'far too long for this figure' leaves the figure" in text for text in texts)
    assert any("'tiny' has 4.0 points" in text for text in texts)


def test_slanted_texts_are_compared_by_their_own_boxes():
    figure = Figure((3, 2))
    for x in (0.3, 0.45):
        figure.text(x, 0.3, "a slanted text", rotation=45, rotation_mode="anchor")
    assert faults(figure) == []
    figure.text(0.31, 0.3, "another", rotation=45, rotation_mode="anchor")
    assert len(faults(figure)) == 1


def test_polygons_that_touch_do_not_cross():
    import numpy as np

    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    assert not crossing(square, square + np.array([1, 0]))
    assert crossing(square, square + np.array([0.9, 0.9]))


@pytest.mark.parametrize("name", ["class_heatmap", "layer_profile", "unit_distribution"])
@pytest.mark.parametrize(("count", "named"), [(12, 12), (24, 24), (27, 27)])
def test_every_layer_is_named_if_a_smaller_size_makes_room(name, count, named):
    layers = {f"{'relu' if k % 2 else 'conv'}{k}": (4, 3, 3) for k in range(count)}
    shown = sample_result(layers=layers, curves=False, examples=False)
    figure = iv.plot(name, shown, theme="paper")
    assert len(figure.axes[0].get_xticklabels()) == named
    assert faults(figure) == []
