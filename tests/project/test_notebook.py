"""A notebook, executed in a Jupyter kernel as users execute it."""

from __future__ import annotations

import base64

import pytest

from cards_html import seen

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

from notebook_runs import execute  # noqa: E402

CELLS = {
    "prepare": """
import torch, invariscope as iv
torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 3)
)
images = torch.rand(64, 1, 8, 8)
shown = []
import IPython.display
IPython.get_ipython().display_pub.register_hook(
    lambda message: shown.append(message["content"]["data"].get("text/plain")) or message
)
""",
    "transform": "turns = iv.QuarterTurns()\nturns",
    "result": "result = iv.measure(model, images, turns, batch_size=16, label='Net')\nresult",
    "progress": "[text for text in shown if text and text.startswith('measuring')]",
    "several": "for _ in range(3): iv.measure(model, images, turns)",
    "figure": "result.plot('layer_profile')",
    "comparison": "iv.compare(result, result.labelled('same'))",
    "maps": "result.maps",
    "measures": "iv.list_measures()",
    "hidden": "_ = iv.measure(model, images, turns, progress=False)",
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The outputs of each cell by its name, as a saved notebook holds them."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in CELLS.values()])
    execute(notebook, folder)
    return {name: cell["outputs"] for name, cell in zip(CELLS, notebook["cells"], strict=True)}


def of(outputs, kind):
    return [output["data"][kind] for output in outputs if kind in output.get("data", {})]


def test_no_cell_prints_warns_or_fails(outputs):
    kinds = {name: [output["output_type"] for output in cell] for name, cell in outputs.items()}
    assert {kind for several in kinds.values() for kind in several} <= {"display_data", "execute_result"}
    assert kinds["prepare"] == kinds["hidden"] == []


def test_the_strip_of_a_transform_has_a_picture_per_element(outputs):
    (html,) = of(outputs["transform"], "text/html")
    assert len(seen(html, most=60_000).images) == 4


def test_a_bar_was_shown_and_left_one_empty_line(outputs):
    (texts,) = of(outputs["progress"], "text/plain")
    assert "measuring Net: " in texts
    assert "/64" in texts
    bar, result = outputs["result"]
    assert bar["data"] == {"text/html": "", "text/plain": ""}
    assert result["output_type"] == "execute_result"
    assert [output["data"] for output in outputs["several"]] == [{"text/html": "", "text/plain": ""}]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("result", "Net"),
        ("comparison", "the same values in all 3 layers"),
        ("maps", "normalized_variance"),
        ("measures", "goodfellow"),
    ],
)
def test_a_card_is_displayed(outputs, name, said):
    html = of(outputs[name], "text/html")[-1]
    assert said in seen(html).text


def test_a_figure_is_displayed(outputs):
    (picture,) = of(outputs["figure"], "image/png")
    assert base64.b64decode(picture).startswith(b"\x89PNG")
