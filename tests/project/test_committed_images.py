"""Committed images are legible at the width of a page, and pages show all of them and nothing else."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from marked_pages import ROOT

from invariscope.lab.recipes.figures.drawing import PNG_DPI, WIDTH_IN

DOCS = ROOT / "docs"
PALETTE = 3
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
IMAGES = sorted(path for path in DOCS.rglob("*") if path.suffix in (".png", ".svg"))
_SHOWN = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)|<img[^>]*src=\"([^\"]+)\"")


def png_header(content: bytes) -> tuple[int, int, int]:
    """Width, height and colour type of a PNG file."""
    width, height, _, colour = struct.unpack(">IIBB", content[16:26])
    return width, height, colour


def images_of(page: Path) -> list[Path]:
    found = (one or other for one, other in _SHOWN.findall(page.read_text()))
    return [(page.parent / name).resolve() for name in found if "://" not in name]


@pytest.mark.parametrize("path", [path for path in IMAGES if path.suffix == ".png"], ids=lambda p: p.name)
def test_a_png_has_true_colours_and_two_pixels_per_pixel_of_the_page(path):
    width, _, colour = png_header(path.read_bytes())
    assert colour != PALETTE
    assert width <= WIDTH_IN * PNG_DPI + 1


@pytest.mark.parametrize("path", [path for path in IMAGES if path.suffix == ".svg"], ids=lambda p: p.name)
def test_an_svg_is_as_wide_as_the_page_at_most_and_its_text_is_text(path):
    text = path.read_text()
    width = re.search(r'<svg\b[^>]*?\bwidth="([\d.]+)pt"', text, re.S)
    if width is not None:  # drawings by hand have a viewBox only
        assert float(width[1]) <= WIDTH_IN * 72 + 1
    assert "<text" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_page_shows_only_images_that_exist(page):
    assert [path for path in images_of(page) if not path.is_file()] == []


def test_every_image_is_shown_somewhere():
    shown = {path for page in PAGES for path in images_of(page)}
    assert [path for path in IMAGES if path not in shown] == []


def test_all_images_together_stay_small():
    assert sum(path.stat().st_size for path in IMAGES) < 10_000_000


def test_the_header_of_a_palette_image_is_recognized():
    chunk = struct.pack(">IIBBBBB", 700, 400, 8, PALETTE, 0, 0, 0)
    assert png_header(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + chunk) == (700, 400, PALETTE)
