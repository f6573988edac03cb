"""A page whose window changes its size."""

from sample_results import sample_result

from invariscope.report import write_report

BOXES = """[...document.querySelectorAll('.scroll')].filter(b => b.clientWidth).map(b =>
    [b.closest('section').id, b.scrollWidth > b.clientWidth + 2, b.classList.contains('more-right')])"""


def test_nothing_fades_any_more_that_fits_after_the_window_was_narrowed(tmp_path, opened):
    page = write_report(sample_result(), tmp_path / "report.html")
    with opened(page, width=500) as tab:
        tab.wait(0.3)
        tab.page.set_viewport_size({"width": 390, "height": 800})
        tab.until(f"{BOXES}.every(([, goesOn, fades]) => goesOn == fades)")
        boxes = tab.run(BOXES)
    assert any(goes_on for _, goes_on, _ in boxes)
    assert not all(goes_on for _, goes_on, _ in boxes)
