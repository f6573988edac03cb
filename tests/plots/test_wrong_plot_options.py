"""Wrong options of every plot are refused in one line of ours, or the figure is drawn."""

import inspect
import traceback
import warnings

import numpy as np
import pytest
from figure_samples import samples

import invariscope as iv
from invariscope.plots import PLOTS
from invariscope.plots.shared.look import Look

NEVER = 10**400
VALUES = [
    *(None, True, 0, -1, 2.5, float("nan"), float("inf"), NEVER, "", "no such thing", "$x$\n", b"conv1"),
    *([], ["conv1", 3], [None], {"a": 1}, (1, 2), np.zeros(3), np.float64(0.5), object(), len),
]
SHARE = 7  # one of so many values is tried without `-m slow`
LOOK = ["theme", "ax", "figsize", "title", "vmin", "vmax", "cmap"]


def own_options(name):
    return list(inspect.signature(PLOTS.get(name).prepare).parameters)[1:]


def refusal(name, result, options):
    """The message if the options are refused; anything but a refusal of ours fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "constrained_layout not applied")  # figures of one inch
        found = raised(lambda: iv.plot(name, result, **options).draw_without_rendering())
    if found is None:
        return ""
    *_, last = traceback.extract_tb(found.__traceback__)
    assert "invariscope" in last.filename, f"{options} of {name}: {found!r} from {last.filename}"
    return str(found)


def raised(call):
    """The ValueError or TypeError that a call raises, if any."""
    try:
        call()
    except (ValueError, TypeError) as error:
        return error
    return None


@pytest.fixture(scope="module")
def result():
    return samples(10, 1)[0]


def refuse_in_one_line(name, result, options):
    message = refusal(name, result, options)
    assert "\n" not in message
    assert len(message) < 700


@pytest.mark.parametrize("name", PLOTS.names())
def test_some_wrong_values_of_a_plots_own_options_are_refused_in_one_line(name, result):
    for place, option in enumerate(own_options(name)):
        for value in VALUES[place % SHARE :: SHARE]:
            refuse_in_one_line(name, result, {option: value})


@pytest.mark.slow
@pytest.mark.parametrize("name", PLOTS.names())
def test_wrong_values_of_a_plots_own_options_are_refused_in_one_line(name, result):
    for option in own_options(name):
        for value in VALUES:
            refuse_in_one_line(name, result, {option: value})


@pytest.mark.parametrize("name", PLOTS.names())
def test_numbers_and_lists_are_refused_as_names(name, result):
    texts = [option for option in own_options(name) if option in ("measure", "stratum", "layer", "model")]
    for option in texts:
        for value in (3, ["conv1"], b"conv1"):
            assert f"{option}= must be a name" in refusal(name, result, {option: value})


@pytest.mark.parametrize("option", LOOK)
@pytest.mark.parametrize("name", ["layer_profile", "unit_heatmap", "element_curve"])
def test_wrong_values_of_the_options_of_all_plots_are_refused_in_one_line(name, option, result):
    for value in VALUES:
        if not (option == "title" and isinstance(value, str)):  # any text is a title
            assert "\n" not in refusal(name, result, {option: value})


@pytest.mark.parametrize("name", PLOTS.names())
@pytest.mark.parametrize("ends", [{"vmin": 1e6}, {"vmax": -1e6}, {"vmin": -1, "vmax": 1e-9}])
def test_ends_of_a_scale_far_from_all_values_are_refused_or_drawn(name, ends, result):
    assert "\n" not in refusal(name, result, ends)


@pytest.mark.parametrize("theme", ["light", "paper"])
def test_a_scale_that_begins_above_all_values_asks_for_the_other_end(theme, result):
    with pytest.raises(ValueError, match=r"vmin=1000000.0 lies beyond all values.*give vmax= too"):
        iv.plot("unit_heatmap", result, theme=theme, vmin=1e6)
    assert iv.plot("unit_heatmap", result, theme=theme, vmin=1e6, vmax=2e6).axes


def test_axes_of_several_figures_are_refused():
    from matplotlib.figure import Figure

    with pytest.raises(ValueError, match="axes of one figure"):
        Look(ax=[Figure().subplots(), Figure().subplots()])
