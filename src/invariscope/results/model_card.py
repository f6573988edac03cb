"""A section for model cards, with the metadata that the Hugging Face Hub reads."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invariscope.common.files import replacing
from invariscope.common.publishing import written
from invariscope.results.readable import readable

if TYPE_CHECKING:
    from invariscope.results.result import Result
    from invariscope.results.rows import Row

OUTPUT = "output"


@dataclass(frozen=True)
class ModelCard:
    """A Markdown section on a measurement, and its numbers as metadata of the Hugging Face Hub.

    `str(card)` is a complete model card: the metadata, then the section.

    Args:
        text: the section: the main finding, a table of values with intervals, and how they were measured.
        model_index: entry `model-index` of the metadata, as plain values.
    """

    text: str
    model_index: list[dict[str, Any]]

    @property
    def metadata(self) -> str:
        """The metadata as YAML, without the lines `---` around it."""
        # JSON is a subset of YAML, and quotes whatever a name contains.
        return f"model-index: {json.dumps(self.model_index, indent=2, allow_nan=False)}\n"

    def __str__(self) -> str:
        """Return the card: metadata and section."""
        return f"---\n{self.metadata}---\n\n{self.text}"

    def save(self, path: str | Path = "README.md", *, overwrite: bool = False) -> Path:
        """Write the card to a file and return its path.

        Raises:
            FileExistsError: the file exists and `overwrite` is not set. To extend a model card, add `text` to
                it, and `model_index` to its metadata.
            OSError: the file cannot be written.
        """
        path = Path(path)
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"{path} exists. Add `card.text` to it, or pass overwrite=True to replace it."
            )
        with written(path.parent), replacing(path) as scratch:
            scratch.write_text(str(self), encoding="utf-8")
        return path


def model_card(result: Result, *, task: str = "other", dataset: str | None = None) -> ModelCard:
    """Return the card of a result; see `Result.model_card`.

    Raises:
        ValueError: no row has a finite value.
    """
    shown = readable(result)
    rows = list(_chosen(shown))
    if not rows:
        raise ValueError("no row of this result has a finite value, so a model card would be empty")
    return ModelCard(_text(shown, rows), _model_index(shown, rows, task=task, dataset=dataset))


def _chosen(result: Result) -> Iterator[Row]:
    """Yield values over all samples: those of the output, and the smallest and largest of the layers."""
    found = [row for row in result.rows if row.stratum == "all" and math.isfinite(row.value)]
    for measure in dict.fromkeys(row.measure for row in found):
        own = [row for row in found if row.measure == measure]
        output = [row for row in own if row.layer == OUTPUT]
        ends = [pick(own, key=lambda row: row.value) for pick in (min, max)]
        yield from output or (ends if ends[0] is not ends[1] else ends[:1])


def _text(result: Result, rows: Sequence[Row]) -> str:
    from invariscope.plots.shared.labels import layer_label
    from invariscope.report.findings import sentences
    from invariscope.report.words import transform_name

    # Sentences count and name layers as the report does.
    finding = sentences([result], None)[0]
    lines = ["| measure | layer | value | 95 % interval | null |", "|---|---|---:|---|---:|"]
    for row in rows:
        cells = (row.measure, layer_label(row.layer, row.call), *_numbers(row))
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    title = f"## Behaviour under {transform_name(result)}"
    parts = [
        title,
        _escaped(finding),
        "\n".join(lines),
        "\n".join(f"- {line}" for line in _facts(result, rows)),
    ]
    return "\n\n".join(parts) + "\n"


def _numbers(row: Row) -> tuple[str, str, str]:
    from invariscope.plots.shared.labels import interval, number

    low, high = (bound if math.isfinite(bound) else math.nan for bound in (row.ci_low, row.ci_high))
    return number(row.value), interval(low, high), number(row.null)


def _facts(result: Result, rows: Sequence[Row]) -> Iterator[str]:
    """Yield how the numbers were measured."""
    record = result.provenance
    transform, data = record.get("transform", {}), record.get("data", {})
    labels = [str(label) for label in transform.get("labels", ())]
    shown = ", ".join(labels[:8]) + (f", … ({len(labels)} elements)" if len(labels) > 8 else "")
    yield _escaped(f"Transform: {transform.get('family', 'unknown')}{f': {shown}' if shown else ''}")
    samples = data.get("samples") or max(
        (row.samples for row in rows if row.samples == row.samples), default=0
    )
    yield _escaped(f"Data: {data.get('name', 'unknown')}, {samples:,.0f} samples")
    version = record.get("versions", {}).get("invariscope", "unknown")
    yield f"Measured with Invariscope {version}, seed {record.get('seed', 'unknown')}"
    cautions = dict.fromkeys(row.caution for row in rows if row.caution)
    yield from (_escaped(f"Caution: {caution}") for caution in cautions)


def _model_index(
    result: Result, rows: Sequence[Row], *, task: str, dataset: str | None
) -> list[dict[str, Any]]:
    """Return the metadata of the values, one entry for the model."""
    name = str(result.provenance.get("data", {}).get("name", "data"))
    entry = {
        "task": {"type": task},
        "dataset": {"name": name, "type": dataset or name},
        "metrics": [_metric(row, result) for row in rows],
    }
    return [{"name": result.name, "results": [entry]}]


def _metric(row: Row, result: Result) -> dict[str, Any]:
    from invariscope.plots.shared.labels import layer_label, measure_title
    from invariscope.report.words import transform_name

    where = layer_label(row.layer, row.call)
    numbers = {name: getattr(row, name) for name in ("ci_low", "ci_high", "null", "samples", "elements")}
    known = {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
    counts = {name: int(known[name]) for name in ("samples", "elements") if name in known}
    about = {
        "layer": row.layer,
        "call": row.call,
        "transform": str(result.provenance.get("transform", {}).get("family", "")),
    }
    return {
        "type": row.measure,
        "name": f"{measure_title(row.measure)} under {transform_name(result)}, {where}",
        "value": float(row.value),
        "args": about | known | counts | {"seed": result.provenance.get("seed")},
    }


def _cell(text: str) -> str:
    return _escaped(text).replace("|", "\\|").replace("\n", " ")


def _escaped(text: str) -> str:
    """Return a text in which Markdown sees no HTML, emphasis or link."""
    for mark in "\\`*_[]":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
