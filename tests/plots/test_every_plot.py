import dataclasses
import inspect
import re
import sys
from pathlib import Path

import matplotlib.figure
import pytest
from sample_results import sample_result

import invariscope as iv
import invariscope.plots
from invariscope.common.registry import _import_all
from invariscope.plots import PLOTS, ChartPlot, View, draw
from invariscope.plots.shared.theme import DARK, LIGHT

HOSTILE = r"$\frac{<b>$$x$$ </script>"
SMALL = {"conv1": (4, 6, 6), HOSTILE: (8,), "out": (10,)}


@pytest.fixture(scope="module")
def sample():
    return sample_result(HOSTILE, layers=SMALL, information=True, maps=True, stability=True)


def test_the_figures_of_the_slides_are_all_there():
    assert set(PLOTS.names()) >= {
        *("layer_profile", "unit_heatmap", "class_heatmap", "element_curve"),
        *("orbit_strip", "feature_orbits", "unit_distribution", "epoch_heatmap"),
    }


@pytest.mark.parametrize("name", PLOTS.names())
def test_a_plot_is_frozen_numbers_that_say_how_to_read_them(name, sample):
    plot = PLOTS.get(name).prepare(sample)
    assert dataclasses.is_dataclass(plot)
    assert plot.title
    assert plot.reading.endswith((".", "?"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(plot, dataclasses.fields(plot)[0].name, None)


@pytest.mark.parametrize("name", PLOTS.names())
def test_a_plot_is_explained_by_its_reading_and_every_option_not_by_how_it_is_computed(name):
    cls = PLOTS.get(name)
    text = cls.explain()
    assert text == iv.explain(name)
    assert text.startswith(f"{cls.title}. {cls.reading}")
    for option in inspect.signature(cls.prepare).parameters:
        assert re.search(rf"^    (\w+, )*{option}(, \w+)*: ", text, re.M), option
    assert "shown_layers" not in text
    assert ("beside" in text) == cls.single
    assert (inspect.getdoc(cls.prepare) or "").splitlines()[0] not in text


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
@pytest.mark.parametrize("name", PLOTS.names())
def test_a_plot_draws_in_its_theme_without_pyplot_and_takes_names_literally(
    name, theme, sample, tmp_path, monkeypatch
):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    figure = draw(name, sample, theme=theme.name)
    assert isinstance(figure, matplotlib.figure.Figure)
    assert matplotlib.colors.to_hex(figure.get_facecolor()) == theme.surface
    figure.savefig(tmp_path / "figure.svg", metadata={"Date": None})
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize("name", PLOTS.names())
def test_views_are_labelled_plots_of_that_kind(name, sample):
    kind = PLOTS.get(name)
    later = sample_result(HOSTILE, layers=SMALL, epoch=2)
    views = kind.views([sample, sample.labelled("other"), later])
    assert views
    assert all(isinstance(view, View) and isinstance(view.plot, kind) for view in views)
    assert len({view.label for view in views}) == len(views)


@pytest.mark.parametrize("name", [n for n, c in PLOTS.classes().items() if issubclass(c, ChartPlot)])
def test_an_interactive_chart_carries_both_themes_and_no_template_made_of_names(name, sample):
    from bokeh.models import HoverTool

    chart = PLOTS.get(name).prepare(sample).chart()
    tagged = [tag["theme"] for model in chart.references() for tag in model.tags if "theme" in tag]
    assert tagged
    assert all(form.keys() == {"light", "dark"} for form in tagged)
    hovers = [model for model in chart.references() if isinstance(model, HoverTool)]
    assert hovers
    assert all(re.fullmatch(r"[@\w{}., ]+", text) for tool in hovers for _, text in tool.tooltips)


def test_an_unknown_plot_or_theme_is_refused_with_the_closest(sample):
    with pytest.raises(ValueError, match=r"unknown plot 'layer_profil'.*'layer_profile'"):
        draw("layer_profil", sample)
    with pytest.raises(ValueError, match=r"unknown theme 'drak'.*'dark'"):
        draw("orbit_strip", sample, theme="drak")


def test_a_saved_figure_has_the_format_of_its_suffix(sample, tmp_path):
    PLOTS.get("orbit_strip").prepare(sample).save(tmp_path / "strip.svg")
    assert (tmp_path / "strip.svg").read_text().startswith("<?xml")


NEW_PLOT = '''
"""A plot in one file."""
from dataclasses import dataclass
from invariscope.plots import Plot, View

@dataclass(frozen=True)
class LayerCount(Plot):
    """How many layers there are."""
    title = "Layer count"
    reading = "More is deeper."
    count: int

    @classmethod
    def prepare(cls, result):
        return cls(result.table["layer"].nunique())

    @classmethod
    def views(cls, results):
        return [View("", cls.prepare(results[0]))]

    def paint(self, canvas):
        canvas.panel(1, 1)
'''


def test_a_new_plot_is_one_new_file_and_stands_in_the_report(tmp_path, monkeypatch):
    from invariscope.report import write_report

    Path(tmp_path / "layer_count.py").write_text(NEW_PLOT)
    monkeypatch.setattr(invariscope.plots, "__path__", [*invariscope.plots.__path__, str(tmp_path)])
    _import_all.cache_clear()
    try:
        assert "layer_count" in PLOTS.names()
        small = sample_result(layers=SMALL, classes=False, curves=False, examples=False)
        page = write_report(small, tmp_path / "report.html").read_text()
        assert "Layer count" in page
        assert "More is deeper." in page
        assert '<img class="for-dark" src="data:image/png;base64,' in page
    finally:
        PLOTS._classes.pop("layer_count", None)
        del invariscope.plots.layer_count, sys.modules["invariscope.plots.layer_count"]


def luminance(colour):
    channels = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in matplotlib.colors.to_rgb(colour)
    ]
    return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]


def contrast(first, second):
    low, high = sorted(map(luminance, (first, second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_lines_and_texts_stand_out_from_their_surface(theme):
    assert all(contrast(colour, theme.surface) >= 3 for colour in theme.series)
    assert contrast(theme.text, theme.surface) >= 7
    assert min(contrast(theme.muted, ground) for ground in (theme.surface, theme.page)) >= 4.5
