"""The report page: its contents, rendered by the template and written atomically."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invariscope.common.files import replacing
from invariscope.common.wording import visible
from invariscope.plots.shared import labels as names
from invariscope.plots.shared.labels import OUTSIDE, as_results
from invariscope.plots.shared.theme import DARK, LIGHT
from invariscope.plots.stability_curves import StabilityCurves
from invariscope.report import (
    assets,
    captions,
    comparison,
    definitions,
    facts,
    figures,
    findings,
    predictions,
    ranking,
    stability,
    tables,
    words,
)
from invariscope.report.packing import packed
from invariscope.results.readable import readable

if TYPE_CHECKING:
    from invariscope.results.result import Result

# The headline and the findings after it; the others are folded.
SHOWN_FINDINGS = 6


def write_report(
    results: Result | Sequence[Result], path: str | Path = "report.html", *, title: str | None = None
) -> Path:
    """Write an HTML report of one or several results to a single file.

    The file needs neither a network connection nor other files, and follows the reader's light or dark
    setting. It is replaced atomically: if the run is interrupted, an existing report remains unchanged.

    Args:
        results: one result, or several to be shown side by side; the others are compared with the first.
        path: the file; missing folders are created.
        title: the heading; None: a heading that names the models and the transform.
    Returns:
        The path.
    Raises:
        ValueError: no results, or a result without rows.
        IsADirectoryError: the path is a folder.
    """
    several, path = as_results(results), Path(path)
    _refuse(several, path)
    html = render(several, title=title)
    with replacing(path) as scratch:
        scratch.write_text(html, encoding="utf-8")
    return path


def _refuse(results: Sequence[Result], path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give a file, such as {path / 'report.html'}")
    for result in results:
        if not result.rows:
            raise ValueError(f"the result of {result.name!r} has no rows to report")


def render(results: Sequence[Result], *, title: str | None = None, home: str = "") -> str:
    """Render the page as text; `home` is the address of the list of runs, if a server has one."""
    results = [readable(result) for result in results]
    title = None if title is None else visible(title)
    differences = comparison.compare_all(results)
    sections, charts = figures.sections(results)
    if differences.rows is not None:
        charts.add(comparison.charts(differences))
    shown = {
        "rows": tables.row_table(results),
        "differences": comparison.table(differences, several=len(results) > 2),
    }
    corrected = {name: table is not None and table.shows_corrected for name, table in shown.items()}
    scripts = {"bokeh": _bokeh(), "script": assets.script()}
    first, sections = _lead(sections, results)
    phrases = definitions.phrases(results)
    said = findings.sentences(results, differences.rows)
    order = ranking.of_results(results, findings.main_measure(results))
    return _template().render(
        title=title or findings.title(results),
        home=home,
        findings=[definitions.linked(text, phrases) for text in said],
        shown_findings=SHOWN_FINDINGS,
        ranking=order,
        ranking_title=definitions.linked(order.title if order else "", phrases),
        first=first,
        facts=facts.key_facts(results),
        profile=[section for section in sections if section.order < figures.TABLE_ORDER],
        sections=[section for section in sections if section.order >= figures.TABLE_ORDER],
        differences=differences,
        gaps=captions.of_tables(results),
        definitions=definitions.definitions(results),
        words=facts.words(results),
        provenance=facts.provenance(results),
        cite=facts.citation(results),
        models=facts.networks(results),
        payload=packed(charts, shown, results),
        corrected=corrected,
        outside=OUTSIDE,
        policy=_policy(scripts.values()),
        light=assets.variables(LIGHT),
        dark=assets.variables(DARK),
        style=_file("style.css") + assets.style(),
        **scripts,
    )


def _lead(
    sections: Sequence[figures.Section], results: Sequence[Result]
) -> tuple[figures.Section | None, list[figures.Section]]:
    """Return the section whose chart shows the headline, and the others."""
    curves = next((section for section in sections if section.name == "element_curve"), None)
    if curves is not None and predictions.predictions(results):
        return _of_predictions(curves, sections, results)
    along = next((section for section in sections if section.name == "stability_curves"), None)
    if along is not None and any(map(stability.has_curves, results)):
        return _of_ratio(along), [section for section in sections if section is not along]
    first = next((section for section in sections if section.order < figures.TABLE_ORDER), None)
    return first, [section for section in sections if section is not first]


def _of_predictions(
    curves: figures.Section, sections: Sequence[figures.Section], results: Sequence[Result]
) -> tuple[figures.Section, list[figures.Section]]:
    """Return a section of the curves of predictions, changes first, and all others."""
    wanted = {names.curve_title(name): title for name, title in predictions.CURVES.items()}
    by_label = {picture.label: picture for picture in curves.pictures}
    several = f"{words.subject(results)}s"
    shown = [
        replace(by_label[label], label=title.format(several.capitalize()))
        for label, title in wanted.items()
        if label in by_label
    ]
    rest = replace(curves, pictures=tuple(p for p in curves.pictures if p.label not in wanted))
    others = [rest if section is curves else section for section in sections]
    title = f"Predictions under {words.common_transform(results)}"
    first = replace(curves, name="predictions", title=title, pictures=tuple(shown))
    return first, [section for section in others if section.pictures]


def _of_ratio(curves: figures.Section) -> figures.Section:
    """Return the section of stability curves, with the ratio of deformations to noise first."""
    ratio = StabilityCurves.ratio_label()
    return replace(curves, pictures=tuple(sorted(curves.pictures, key=lambda one: one.label != ratio)))


def _policy(scripts: Any) -> str:
    """Return a content security policy that allows only these scripts, and no network access.

    All names are escaped; even if one were not, it could not run as a script.
    """
    return (
        f"default-src 'none'; script-src {assets.sources(scripts)}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )


@cache
def _template() -> Any:
    environment = assets.environment()
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters["anchor"] = definitions.anchor
    return environment.from_string(_file("template.html"))


@cache
def _file(name: str) -> str:
    return (resources.files("invariscope.report") / name).read_text(encoding="utf-8")


@cache
def _bokeh() -> str:
    """Return Bokeh's core as one script, without a closing tag that would end the script element."""
    from bokeh.resources import Resources

    text = "\n".join(Resources(mode="inline", components=["bokeh"], log_level="error").js_raw)
    assert "</script" not in text.lower()
    assert "<!--" not in text
    return text.replace("\r\n", "\n")
