"""The documentation, built once and opened from a folder, without a server or a network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from browser import tab_in

ROOT = Path(__file__).parents[1]
WIDE, NARROW = 1300, 390
PAGES = (
    "index",
    "tutorial",
    "gallery/index",
    "gallery/layer_profile",
    "which_measure",
    "limits",
    "howto/index",
)
RESULTS = "[...document.querySelectorAll('.md-search-result__item a')].map(link => link.href)"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documentation") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True)
    return folder


def opened(tab, site, name):
    tab.page.goto((site / f"{name}.html").as_uri())


def test_the_search_finds_pages(browser, site):
    with tab_in(browser, width=WIDE) as tab:
        opened(tab, site, "index")
        tab.until("document.querySelector('.md-search__input') !== null")
        tab.page.click(".md-search__input")
        tab.page.keyboard.type("jackknife", delay=20)
        tab.until(f"{RESULTS}.length > 0")
        assert any("jackknife_limits.html" in link for link in tab.run(RESULTS))
        assert [url for url in tab.requests if not url.startswith(("file:", "data:", "blob:"))] == []
        assert tab.errors == []


def test_the_home_page_shows_a_report_that_responds(browser, site):
    with tab_in(browser, width=WIDE) as tab:
        opened(tab, site, "index")
        tab.page.locator("iframe.report").scroll_into_view_if_needed()
        report = tab.page.frame_locator("iframe.report")
        report.locator("canvas").first.wait_for(timeout=30_000)
        assert "change class" in report.locator("body").inner_text()
        assert tab.errors == []


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_the_window_and_shows_all_its_images(browser, site, name, width):
    with tab_in(browser, width=width) as tab:
        opened(tab, site, name)
        tab.until("[...document.images].every(image => image.complete)")
        assert (
            tab.run("[...document.images].filter(image => !image.naturalWidth).map(image => image.src)") == []
        )
        assert tab.run("document.documentElement.scrollWidth") <= width
        assert tab.errors == []
