"""The outputs that pages show, and whether they are what their code prints."""

from __future__ import annotations

import importlib.util
import re

import pytest
from marked_pages import ROOT

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def generator():
    spec = importlib.util.spec_from_file_location("outputs", ROOT / "docs" / "generate" / "outputs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs(text: str) -> dict[str, list[str]]:
    """The outputs of each section by its heading, on one line each."""
    sections = re.split(r"^## ", text, flags=re.M)[1:]
    found = {section.partition("\n")[0]: list(generator().outputs_of(section)) for section in sections}
    return {heading: [" ".join(one.split()) for one in own] for heading, own in found.items() if own}


def same(shown: str, found: str) -> bool:
    """Whether two outputs agree, up to digits that depend on the processor."""
    if ": holds; " in shown:  # the rest is the largest rounding error
        return shown.partition(": holds; ")[0] == found.partition(": holds; ")[0]
    head, error = (shown.partition(" model ")[0], found.partition(" model ")[0])
    if _NUMBER.sub("#", head) != _NUMBER.sub("#", error):
        return False
    pairs = zip(_NUMBER.findall(head), _NUMBER.findall(error), strict=True)
    return all(float(a) == pytest.approx(float(b), rel=0.3) for a, b in pairs)
