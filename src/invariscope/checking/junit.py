"""Outcomes of limits as JUnit XML, for continuous integration."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from invariscope.checking.outcomes import Outcome, Unmeasured
from invariscope.common.files import replacing

SUITE = "invariscope check"
# Characters that XML 1.0 cannot represent, even if escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_KINDS = {"broken": "failure", "no value": "error"}


def write_junit(path: Path, cases: Sequence[Outcome | Unmeasured], *, model: str, seconds: float) -> None:
    """Write one test case per limit and layer, atomically.

    A broken limit is a failure, a missing value is an error, and a layer that was not measured is skipped.

    Raises:
        OSError: the folder cannot be written to.
    """
    suites = document(cases, model=model, seconds=seconds)
    data = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    with replacing(path) as scratch:
        scratch.write_bytes(data + b"\n")


def document(cases: Sequence[Outcome | Unmeasured], *, model: str, seconds: float) -> ElementTree.Element:
    """Return the XML tree: one suite with a test case per limit and layer."""
    kinds = list(map(_kind, cases))
    counts = {
        "tests": str(len(cases)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
        "skipped": str(kinds.count("skipped")),
        "time": f"{seconds:.3f}",
    }
    suites = ElementTree.Element("testsuites", {"name": SUITE, **counts})
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    suite = ElementTree.SubElement(suites, "testsuite", {"name": SUITE, **counts, "timestamp": now})
    for case in cases:
        _add(suite, case, _clean(model), seconds / len(cases))
    return suites


def _add(suite: ElementTree.Element, outcome: Outcome | Unmeasured, model: str, seconds: float) -> None:
    limit = outcome.limit
    name = _clean(f"{outcome.name} {limit.row} {limit.sign} {limit.bound:g}")
    classname = _clean(f"{model}.{limit.measure.name}")
    case = ElementTree.SubElement(
        suite, "testcase", {"name": name, "classname": classname, "time": f"{seconds:.3f}"}
    )
    kind, message = _kind(outcome), _clean(outcome.message)
    if isinstance(outcome, Unmeasured):
        ElementTree.SubElement(case, kind, {"message": message})
    elif kind:
        found = ElementTree.SubElement(case, kind, {"message": message, "type": outcome.status})
        found.text = _clean(f"{message}\nlimit: {limit.text}\nvalue: {outcome.evidence}")


def _kind(case: Outcome | Unmeasured) -> str:
    """Return the name of the element that says how a case ended; "" for a limit that holds."""
    return "skipped" if isinstance(case, Unmeasured) else _KINDS.get(case.status, "")


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
