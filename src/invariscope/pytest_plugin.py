"""Plugin of pytest: options by which assertions replay, and what they measured, below the tests.

Loaded into every run of pytest where the package is installed, so it loads nothing heavy itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from invariscope.checking.session import Session, using

_PROPERTY = "invariscope"
_RAN = ("passed", "failed", "xfailed", "xpassed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options `--invariscope-seed` and `--invariscope-samples`."""
    group = parser.getgroup("invariscope", "symmetry of networks (invariscope)")
    group.addoption(
        "--invariscope-seed",
        type=int,
        metavar="INT",
        help="seed of assertions about symmetry that name none (default: 0)",
    )
    group.addoption(
        "--invariscope-samples",
        type=int,
        metavar="INT",
        help="size of the seeded subset on which they are made, where they name none (default: all samples)",
    )


@pytest.fixture
def invariscope_seed(request: pytest.FixtureRequest) -> int:
    """The seed of this run, for what a test draws itself: weights, images."""
    return request.config.getoption("--invariscope-seed") or 0


@pytest.hookimpl(hookwrapper=True)  # the form that older versions of pytest know too
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Assertions of this test take the run's options, and what they find is kept with its report."""

    def keep(line: str) -> None:
        item.user_properties.append((_PROPERTY, line))

    options = item.config.option
    with using(Session(options.invariscope_seed, options.invariscope_samples, keep)):
        yield


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line for every assertion that was made."""
    reports = [report for kind in _RAN for report in terminalreporter.getreports(kind)]
    lines = [
        f"{report.nodeid}: {text}"
        for report in reports
        for name, text in getattr(report, "user_properties", ())
        if name == _PROPERTY
    ]
    if lines:
        terminalreporter.section("symmetry (invariscope)")
    for line in lines:
        terminalreporter.line(line)
