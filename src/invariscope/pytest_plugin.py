"""Pytest plugin: options for reproducible assertions about symmetry, and a summary of their verdicts.

Pytest loads this plugin in every environment with Invariscope installed, so importing it must be fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from invariscope.checking.session import Session, using
from invariscope.common.wording import visible

_PROPERTY = "invariscope"
_RAN = ("passed", "failed", "xfailed", "xpassed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options `--invariscope-seed` and `--invariscope-samples`."""
    group = parser.getgroup("invariscope", "symmetry of networks (invariscope)")
    group.addoption(
        "--invariscope-seed",
        type=int,
        metavar="INT",
        help="default seed of symmetry assertions (default: 0)",
    )
    group.addoption(
        "--invariscope-samples",
        type=int,
        metavar="INT",
        help="largest number of samples in symmetry assertions, drawn with the seed (default: all samples)",
    )


@pytest.fixture
def invariscope_seed(request: pytest.FixtureRequest) -> int:
    """Return the seed of this run, for a test's own random draws, such as weights and images."""
    return request.config.getoption("--invariscope-seed") or 0


@pytest.hookimpl(hookwrapper=True)  # unlike `wrapper`, supported by older versions of pytest
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Apply the run's options to the assertions of fixtures, as to those of tests."""
    with _session(item):
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Apply the run's options to a test's assertions."""
    with _session(item):
        yield


def _session(item: pytest.Item) -> AbstractContextManager[None]:
    """Return a context with the run's options, which attaches verdicts to the test's report."""

    def keep(line: str) -> None:
        item.user_properties.append((_PROPERTY, line))

    options = item.config.option
    return using(Session(options.invariscope_seed, options.invariscope_samples, keep))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print one line per assertion."""
    reports = [report for kind in _RAN for report in terminalreporter.getreports(kind)]
    # Reports on fixtures that fail after a test repeat the lines of the test.
    reports += [report for report in terminalreporter.getreports("error") if report.when == "setup"]
    lines = [
        f"{report.nodeid}: {text}"
        for report in reports
        for name, text in getattr(report, "user_properties", ())
        if name == _PROPERTY
    ]
    if lines:
        terminalreporter.section("symmetry (invariscope)")
    for line in lines:
        terminalreporter.line(visible(line))
