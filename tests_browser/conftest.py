"""The reports are written from the sample results that the plots are tested with."""

import random
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "plots"))

import pytest
from browser import CHROMIUM, chromium, tab_in


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.fail("no chromium is installed: apt-get install chromium")
    random.seed(0)  # Playwright draws names
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def opened(browser):
    """Opens a page in a tab, as a context."""

    @contextmanager
    def opening(path, *, fragment="", **options):
        with tab_in(browser, **options) as tab:
            tab.open(path, fragment)
            yield tab

    return opening


@pytest.fixture
def open_page(opened):
    """Opens a page in a tab that is closed after the test."""
    with ExitStack() as stack:
        yield lambda path, **options: stack.enter_context(opened(path, **options))
