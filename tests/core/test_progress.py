"""Progress bars: in a notebook, in a terminal, or nowhere."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest
import torch
from torch import nn

import invariscope as iv
from cards_html import Seen
from invariscope.common import progress


class Display:
    """IPython's display with `display_id=True`: what is on the screen, one entry per output."""

    def __init__(self, outputs):
        self.outputs, self.place = outputs, len(outputs)

    def update(self, content, *, raw):
        assert raw
        self.outputs[self.place] = content


@pytest.fixture
def notebook(monkeypatch):
    """A shell with a kernel, and the outputs of the present cell."""
    outputs = []

    def display(content, *, raw, display_id):
        assert raw
        assert display_id
        shown = Display(outputs)
        outputs.append(content)
        return shown

    shell = types.SimpleNamespace(kernel=object(), execution_count=1, outputs=outputs)
    ipython, module = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython, module.display = lambda: shell, display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(progress, "_INTERVAL_S", 0.0)
    return shell


def text_of(content):
    found = Seen()
    found.feed(content["text/html"])
    return found.text


def test_a_notebook_shows_a_bar_and_keeps_nothing(notebook):
    with progress.ticking(True, "measuring Net") as tick:
        tick(0, 512)
        assert text_of(notebook.outputs[0]) == "measuring Net0/512"
        assert 'value="0" max="512"' in notebook.outputs[0]["text/html"]
        tick(512, 512)
        assert notebook.outputs[0]["text/plain"] == "measuring Net: 512/512"
    assert notebook.outputs == [{"text/html": "", "text/plain": ""}]


def test_all_bars_of_a_cell_share_one_line(notebook):
    for name in ("a", "b"):
        with progress.ticking(True, name) as tick:
            tick(1, 2)
            assert name in notebook.outputs[0]["text/plain"]
    assert len(notebook.outputs) == 1
    notebook.execution_count += 1
    with progress.ticking(True, "c") as tick:
        tick(1, 2)
    assert len(notebook.outputs) == 2


def test_the_line_is_emptied_when_a_cell_is_interrupted(notebook):
    def interrupted():
        with progress.ticking(True, "a") as tick:
            tick(1, 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert notebook.outputs[0]["text/html"] == ""


def test_a_notebook_is_not_flooded_with_updates(notebook, monkeypatch):
    monkeypatch.setattr(progress, "_INTERVAL_S", 3600.0)
    with progress.ticking(True, "a") as tick:
        tick(1, 2)
        tick(2, 2)
        assert "1/2" in notebook.outputs[0]["text/plain"]


def test_names_and_unknown_totals_are_shown_as_text(notebook):
    with progress.ticking(True, "<b>\x1b[31m") as tick:
        tick(1234, None)
        assert text_of(notebook.outputs[0]) == "<b>\\x1b[31m1,234"


def test_nothing_is_shown_if_it_is_not_wanted_and_functions_are_called(notebook):
    called = []
    with progress.ticking(False, "a") as tick:
        tick(1, 2)
    with progress.ticking(lambda *counts: called.append(counts), "a") as tick:
        tick(1, 2)
    assert notebook.outputs == []
    assert called == [(1, 2)]


def test_the_terminal_of_ipython_is_no_notebook(notebook, capsys):
    notebook.kernel = None
    with progress.ticking(True, "a") as tick:
        tick(1, 2)
    assert notebook.outputs == []
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_a_bar_with_the_name_as_it_is(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.ticking(True, "measuring [red]Net") as tick:
        tick(3, 8)
    assert "measuring [red]Net" in capsys.readouterr().err


def test_a_bar_does_not_import_ipython():
    code = "from invariscope.common.progress import ticking\nwith ticking(True, 'a') as tick: tick(1, 2)\n"
    code += "import sys\nassert 'IPython' not in sys.modules and 'rich' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_lie_derivatives_neurons_and_training_report_their_progress(notebook):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    images, seen = torch.rand(20, 1, 8, 8), []
    iv.lie_derivative(net, images, generators="rotation", batch_size=8, progress=lambda *at: seen.append(at))
    assert seen == [(8, 20), (16, 20), (20, 20)]
    seen.clear()
    small = {"deformations": ["rotation"], "min_firing": 1}
    iv.neuron_stability(net, ["0", "1"], images, **small, progress=lambda *at: seen.append(at))
    assert seen == [(0, 2), (1, 2), (2, 2)]
    assert notebook.outputs == []
    iv.zoo.train(net, (images, torch.arange(20) % 2), epochs=1, batch_size=10, progress=True)
    assert notebook.outputs == [{"text/html": "", "text/plain": ""}]
    shown = len(notebook.outputs)
    iv.zoo.train(net, (images, torch.arange(20) % 2), epochs=1, batch_size=10)
    assert len(notebook.outputs) == shown
