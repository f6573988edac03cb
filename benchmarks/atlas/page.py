"""The page docs/atlas.md, written from the stored numbers alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.atlas import figure, tried
from benchmarks.atlas.store import entries
from invariscope.lab.recipes.figures.drawing import save_figure
from invariscope.lab.recipes.markdown import NONE, grid

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, FIGURE = DOCS / "atlas.md", DOCS / "images" / "atlas.svg"
TEMPLATE = Path(__file__).with_name("template.md")
LETTERS = "abcdefgh"  # of notes
COMMON = ("invariscope", "torch", "numpy")
WORLDS = ("Photographs", "Texts", "Print", "Speech", "Molecules and crystals", "Files")

Record: TypeAlias = dict[str, Any]


def write(records: dict[str, Record]) -> None:
    """Write the page and its figure."""
    PAGE.write_text(page(records), encoding="utf-8")
    save_figure(figure.draw(by_world(records)), FIGURE)


def page(records: dict[str, Record]) -> str:
    """Return the page in Markdown."""
    return TEMPLATE.read_text(encoding="utf-8").format(
        models=len({record["model"] for record in records.values()}),
        rows=sum(len(record["cases"]) for record in records.values()),
        tables="\n\n".join(section(world, records) for world in by_world(records)),
        sources=sources(records),
        tried=tried.table(),
    )


def section(world: str, records: dict[str, Record]) -> str:
    """Return a section: a table per entry, below what its rows have in common."""
    found = [record for record in records.values() if record["world"] == world]
    parts = [part for one in found for part in (caption(one), table(one["cases"]), one["remark"]) if part]
    return "\n\n".join([f"## {world}", *parts])


def caption(record: Record) -> str:
    """Return what the rows of an entry have in common."""
    measures = ", ".join(dict.fromkeys(case["question"] for case in record["cases"]))
    return f"**{record['model']}** ({record['does']}) on {counted(record['data'])}, measure: *{measures}*"


def by_world(records: dict[str, Record]) -> dict[str, list[Record]]:
    """Return the rows of each section, in the order of the page."""
    found = {
        world: [row for r in records.values() if r["world"] == world for row in rows_of(r)]
        for world in WORLDS
    }
    return {world: rows for world, rows in found.items() if rows}


def rows_of(record: Record) -> list[Record]:
    """Return the rows of an entry with the names of its model and data."""
    return [{**case, "model": record["model"], "data": record["data"]} for case in record["cases"]]


def table(rows: list[Record]) -> str:
    """Return the table of an entry, and its notes."""
    notes = list(dict.fromkeys(row["note"] for row in rows if row["note"]))
    columns = [
        ("symmetry", [row["symmetry"] for row in rows]),
        (together("value [95 %]"), [together(value(row)) + marks(row, notes) for row in rows]),
        ("null", [shown(row["null"], row) for row in rows]),
        ("floor", [shown(row["floor"], row) for row in rows]),
        ("layers", [together(layers(row)) for row in rows]),
        ("hash", [f"`{row['hash']}`" for row in rows]),
    ]
    below = [
        f"<sup>{letter}</sup> {note[0].upper()}{note[1:]}."
        for letter, note in zip(LETTERS, notes, strict=False)
    ]
    return "\n\n".join([grid(columns), "<br>\n".join(below)]).rstrip()


def together(text: str) -> str:
    """Return a text that is not broken into lines."""
    return text.replace(" ", "\u00a0")


def value(row: Record) -> str:
    """Return the value with its interval."""
    if row["ci_low"] is None or row["ci_low"] == row["ci_high"]:  # no interval, or no variation at all
        return shown(row["value"], row)
    ends = f"{bare(row['ci_low'], row)}, {bare(row['ci_high'], row)}"
    return f"{shown(row['value'], row)} [{ends}]"


def shown(number: float | None, row: Record) -> str:
    """Return a number, as a percentage if it is a share of predictions."""
    if number is None:
        return NONE
    return f"{bare(number, row)} %" if row["question"] == "changed" else bare(number, row)


def bare(number: float, row: Record) -> str:
    """Return a number without its unit."""
    if row["question"] == "changed":
        return f"{100 * number:.1f}"
    if number == 0 or abs(number) >= 1e-2:
        return f"{number:.3f}" if number else "0"
    digits, power = f"{number:.1e}".split("e")
    return f"{digits}·10<sup>{int(power)}</sup>".replace("<sup>-", "<sup>−")


def marks(row: Record, notes: list[str]) -> str:
    """Return the letter of the row's note."""
    return f"\u00a0<sup>{LETTERS[notes.index(row['note'])]}</sup>" if row["note"] else ""


def layers(row: Record) -> str:
    """Return the normalized variance of the first and the last layer."""
    return " → ".join(f"{layer['value']:.2f}" for layer in row["layers"])


def counted(data: Record) -> str:
    """Return the number of samples, and of clusters if there are fewer."""
    clusters = "" if data["clusters"] == data["samples"] else f" ({data['clusters']} {data['cluster']}s)"
    return f"{data['samples']} {data['name']}{clusters}"


def sources(records: dict[str, Record]) -> str:
    """Return the tables of models and of data."""
    models = [
        ("model", [r["model"] for r in records.values()]),
        ("packages", [packages(r) for r in records.values()]),
        ("licence", [r["licence"] for r in records.values()]),
        ("weights", [f"`{r['weights'][:8]}`" for r in records.values()]),
        ("row", [f"`{name}`" for name in records]),
    ]
    data = {r["data"]["digest"]: r["data"] for r in records.values()}.values()
    samples = [
        ("data", [counted(one) for one in data]),
        ("what they are", [one["about"] for one in data]),
        ("source", [one["source"] for one in data]),
        ("licence", [one["licence"] for one in data]),
        ("digest", [f"`{one['digest'][:8]}`" for one in data]),
    ]
    parts = (grid(models), grid(samples), conditions(records), missing(records))
    return "\n\n".join(part for part in parts if part)


def missing(records: dict[str, Record]) -> str:
    """Return a sentence on entries without numbers, if there are any."""
    found = [f"`{name}`" for name in entries() if name not in records]
    return f"Declared, but not measured yet: {', '.join(found)}." if found else ""


def conditions(records: dict[str, Record]) -> str:
    """Return a sentence on what all rows were measured with."""
    common = {name: {r["versions"][name] for r in records.values()} for name in COMMON}
    listed = ", ".join(f"{name} {' and '.join(sorted(found))}" for name, found in common.items())
    machines = "; ".join(sorted({r["machine"] for r in records.values()}))
    dates = sorted({r["date"] for r in records.values()})
    return f"Measured with {listed} ({machines}), {' to '.join(dict.fromkeys((dates[0], dates[-1])))}."


def packages(record: Record) -> str:
    """Return the packages of the model with their versions."""
    return ", ".join(f"{name} {number}" for name, number in record["versions"].items() if name not in COMMON)
