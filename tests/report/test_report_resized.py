"""A page whose window changes its size."""

import asyncio

import pytest
from browser import CHROMIUM, opened
from sample_results import sample_result

from invariscope.report import write_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")

BOXES = """[...document.querySelectorAll('.scroll')].filter(b => b.clientWidth).map(b =>
    [b.closest('section').id, b.scrollWidth > b.clientWidth + 2, b.classList.contains('more-right')])"""


def test_nothing_fades_any_more_that_fits_after_the_window_was_narrowed(tmp_path):
    page = write_report(sample_result(), tmp_path / "report.html")
    boxes = asyncio.run(_narrowed(page, tmp_path / "profile"))
    assert any(goes_on for _, goes_on, _ in boxes)
    assert [name for name, goes_on, faded in boxes if goes_on != faded] == []


async def _narrowed(page, profile):
    async with opened(page, profile, width=500) as tab:
        await asyncio.sleep(0.3)
        size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        await tab.call("Emulation.setDeviceMetricsOverride", **size)
        await asyncio.sleep(0.8)
        return await tab.run(BOXES)
