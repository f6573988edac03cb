"""The outputs that pages show are what their code prints; and the verdicts on failing tests are right."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from marked_pages import ROOT
from shown_outputs import generator, outputs, same

PAGE = ROOT / "docs" / "failing_tests.md"

# How the message of each mistake begins.
BROKEN = {
    "Stride and even sizes": "layer '0' (Conv2d) is the first that is not equivariant",
    "Pooling that drops a row": "layer '1' (MaxPool2d) is the first that is not equivariant",
    "Even kernel": "layer '0' (ZeroPad2d) is the first that is not equivariant",
    "Zero padding and shifts": "layer '0' (Conv2d) is the first that is not equivariant",
    "Wrong weight tie": "layer 'conv2' (Slipped) is the first that is not equivariant",
    "One parameter per channel": "layer '1' (BatchNorm2d) is the first that is not equivariant",
    "Wrong order of channels": "layer 'sorted' (Identity) is not equivariant",
    "Turned in the wrong direction": "layer '0' (Lift) is the first that is not equivariant",
    "Pooling over the wrong axis": "layer 'mean' is the first that is not equivariant",
    "Channels last": "layer 'output' is not invariant",
    "Half precision": "layer 'output' is not invariant",
    "TF32": "layer 'output' is not invariant",
    "Interpolation": "layer '1' (Tanh) is the first that is not equivariant",
    "Dropout that stays on": "the model's response depends on chance",
    "Batch normalisation in training mode": "the model's response to an input depends on the other inputs",
}
# What the message says about the cause, where it can be seen.
HINTS = {
    "Stride and even sizes": "positions grid off the image's centre, 0.5 px",
    "Pooling that drops a row": "positions grid off the image's centre, 0.5 px",
    "Even kernel": "padding must be equal on both sides",
    "Turned in the wrong direction": "each its own inverse. Is the action, or a turn of the weights,",
    "Channels last": "inputs (12, 12, 3) is read as (channel, row, column). If channels come last,",
    "Half precision": "as given; less than the 0.099 for rounding (bfloat16",
    "Interpolation": "as given; this element is inexact",
    "Dropout that stays on": "first in 'dropout'",
    "Batch normalisation in training mode": "first in 'norm'",
}


@cache
def printed_by(page: Path) -> dict[str, list[str]]:
    """What the code of a page prints now, by heading."""
    return outputs(generator().with_outputs(page.read_text()))


@pytest.fixture
def printed() -> dict[str, list[str]]:
    return printed_by(PAGE)


@pytest.mark.parametrize("page", generator().pages(), ids=lambda page: page.name)
def test_a_page_shows_what_its_code_prints(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = printed_by(page)
    for heading, shown in outputs(page.read_text()).items():
        for pair in zip(shown, found[heading], strict=True):
            assert same(*pair), f"{heading} is out of date; run `python docs/generate/outputs.py`"


def test_the_page_has_the_mistakes_that_are_listed(printed):
    assert list(printed) == list(BROKEN)
    assert {len(own) for own in printed.values()} == {2}


@pytest.mark.parametrize("heading", BROKEN)
def test_each_mistake_is_found_where_it_is_with_its_cause_and_its_fix_passes(printed, heading):
    broken, fixed = printed[heading]
    assert broken.startswith(BROKEN[heading])
    assert HINTS.get(heading, "") in broken
    assert ": holds; " in fixed
    assert "inconclusive" not in fixed


def test_only_the_hinted_messages_hint(printed):
    marks = [" positions ", "own inverse", " inputs (", "; less than the", "element interpolates"]
    for heading in BROKEN:
        if heading not in HINTS:
            assert not [mark for mark in marks if mark in printed[heading][0]], heading


def test_outdated_outputs_are_noticed():
    shown = "layer 'a' (Conv2d) is not equivariant: relative error 0.5, 1e-06 allowed model Net"
    assert same(shown, shown.replace("0.5", "0.51"))
    assert not same(shown, shown.replace("0.5", "0.9"))
    assert not same(shown, shown.replace("'a'", "'b'"))
    assert not same(shown, "Net equivariant (1 layer): holds; a 1e-7, 1e-06 allowed")


def test_outputs_replace_the_block_behind_their_mark_and_a_mark_alone_is_refused():
    page = "<!-- run -->\n```python\nprint(1 + 1)\n```\n\n<!-- output -->\n```text\n3\n```\n"
    assert generator().with_outputs(page) == page.replace("3\n", "2\n")
    with pytest.raises(ValueError, match="no block of text"):
        generator().with_outputs("<!-- output -->\n\nwords\n")
