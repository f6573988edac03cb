"""Public names: found by people, editors and type checkers, and explained."""

from __future__ import annotations

import importlib.util
import re
import tomllib

import pytest
from marked_pages import ROOT

import invariscope as iv


def generated() -> dict:
    spec = importlib.util.spec_from_file_location("stubs", ROOT / "docs" / "generate" / "stubs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.stubs()


def test_stubs_are_what_is_generated_from_the_registries():
    for path, text in generated().items():
        assert path.read_text() == text, f"{path.name} is out of date; run `make stubs`"


def test_every_public_name_is_in_the_stub_and_the_package_is_marked_as_typed():
    (text,) = (text for path, text in generated().items() if path.parent.name == "invariscope")
    for name in dir(iv):
        assert re.search(rf"^(.* as )?{name}(,|$| = |: )", text, re.M), name
    assert (ROOT / "src/invariscope/py.typed").exists()
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pyright"]["include"]
    assert "tests/project/typed_use.py" in checked


@pytest.mark.parametrize(
    ("name", "closest"),
    [("Rotatoin", "Rotation"), ("NormalisedVariance", "NormalizedVariance"), ("mesure", "measure")],
)
def test_a_misspelt_name_is_answered_with_the_closest_ones(name, closest):
    with pytest.raises(AttributeError, match=rf"no attribute '{name}'\. Closest: '{closest}'"):
        getattr(iv, name)


def test_private_names_are_refused_without_a_guess():
    with pytest.raises(AttributeError, match=r"no attribute '_rotation'$"):
        _ = iv._rotation  # pyright: ignore[reportAttributeAccessIssue]


def test_a_number_of_angles_is_answered_with_the_circle():
    with pytest.raises(TypeError, match=r"Rotation\.circle\(16\)"):
        iv.Rotation(16)  # pyright: ignore[reportArgumentType]


def test_the_old_name_of_the_report_warns_and_still_works():
    with pytest.warns(DeprecationWarning, match=r"iv\.report"):
        assert iv.write_report.__call__ == iv.report.__call__


@pytest.mark.parametrize("listed", [iv.list_measures, iv.list_transforms, iv.list_plots])
def test_whatever_is_listed_has_a_sentence_and_is_explained(listed):
    for name, sentence in listed().items():
        assert len(sentence.split()) > 3
        assert len(iv.explain(name)) > 60


def test_networks_recipes_readers_outputs_classes_and_instances_are_explained():
    assert "resnet" in iv.explain("resnet18").lower()
    assert "Quiroga" in iv.explain("quiroga2019")
    assert "torch" in iv.explain("torch_reader")
    assert iv.explain("prediction.accuracy") == iv.explain("Prediction") == iv.explain(iv.Prediction)
    assert iv.explain(iv.Rotation.circle(4)) == iv.explain("rotation")
    assert "Rotation.circle(m" in iv.explain("rotation")
    with pytest.raises(ValueError, match="Closest: 'rotation'"):
        iv.explain("rotatoin")


def test_a_name_of_several_kinds_gets_all_its_texts():
    assert "As a plot: " in iv.explain("neuron_stability") or "neuron_stability" not in iv.list_measures()


def test_studies_hold_the_verbs_of_the_top_level():
    for name in iv.studies.__all__:
        assert getattr(iv.studies, name) is getattr(iv, name)
