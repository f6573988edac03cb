"""The report page: its contents, rendered by the template and written atomically."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invariscope.common.files import replacing
from invariscope.common.wording import visible
from invariscope.plots.shared.labels import OUTSIDE, as_results, measure_title
from invariscope.plots.shared.theme import DARK, LIGHT, Theme
from invariscope.report import assets, comparison, facts, figures, findings, tables
from invariscope.report.packing import packed
from invariscope.results.readable import readable

if TYPE_CHECKING:
    from invariscope.results.result import Result


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


def render(results: Sequence[Result], *, title: str | None = None) -> str:
    """Render the page as text."""
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
    return _template().render(
        title=title or findings.title(results),
        findings=findings.sentences(results, differences.rows),
        facts=facts.key_facts(results),
        profile=[section for section in sections if section.order < figures.TABLE_ORDER],
        sections=[section for section in sections if section.order >= figures.TABLE_ORDER],
        differences=differences,
        legend=facts.legend(results),
        words=facts.words(results),
        provenance=facts.provenance(results),
        cite=facts.citation(results),
        models=facts.networks(results),
        payload=packed(charts, shown, results),
        corrected=corrected,
        outside=OUTSIDE,
        policy=_policy(scripts.values()),
        light=_variables(LIGHT),
        dark=_variables(DARK),
        style=_file("style.css") + assets.style(),
        **scripts,
    )


def _policy(scripts: Any) -> str:
    """Return a content security policy that allows only these scripts, and no network access.

    All names are escaped; even if one were not, it could not run as a script.
    """
    digests = [hashlib.sha256(text.encode()).digest() for text in scripts]
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "font-src data:; base-uri 'none'; form-action 'none'"
    )


def _variables(theme: Theme) -> str:
    """Return the theme as CSS custom properties."""
    colours = {
        name: value for name, value in asdict(theme).items() if isinstance(value, str) and name != "name"
    }
    colours |= {f"series-{i}": value for i, value in enumerate(theme.series)}
    return " ".join(f"--{name}: {value};" for name, value in colours.items())


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters["measure_title"] = measure_title
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
