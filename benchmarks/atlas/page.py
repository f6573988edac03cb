"""The page docs/atlas.md, written from the stored numbers alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.atlas import figure, tried
from invariscope.lab.recipes.figures.drawing import save_figure
from invariscope.lab.recipes.markdown import NONE, grid

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, FIGURE = DOCS / "atlas.md", DOCS / "images" / "atlas.svg"
WORLDS = ("Photographs", "Texts", "Print", "Speech", "Molecules and crystals", "Files")

Record = dict[str, Any]

HEAD = """# Atlas of pretrained models

How do well-known models respond to the symmetries of their data? {count} models from the package index, {rows} rows.
Every row can be measured again by one command, and another model is one more file.

![Each symmetry and model, as a share of the null](images/atlas.svg)

Bars are 95 % intervals; a row without a bar has none, for the reason below its table. Scales are logarithmic, with 0 at
the left end.

## How to read the tables

| measure | value | null |
|---|---|---|
| changed | share of predictions that differ from that of the untransformed sample | share of pairs of unrelated samples with different predictions |
| moved | squared distance that the response moves, relative to that between samples | the same with unrelated samples |
| error | distance from the response that the symmetry prescribes, relative to its size | the same with unrelated samples |

- The **floor** is the value for samples that were transformed and transformed back. If the value is no larger, resampling
  explains it, not the symmetry. A floor of 0 means that the transform is exact; {none} means that it has no inverse, or
  that samples are not images or signals.
- **Layers** shows the normalized variance of the first and of the last layer: 0 is invariant, about 1 is as variant as
  unrelated samples.
- **n** counts samples; in brackets, the clusters to which they belong, if these are fewer. Samples that belong together,
  such as crops of one photograph or recordings of one voice, are one observation. With fewer than 64 clusters, the eight
  groups of the [jackknife](limits.md) are too small for an interval, and none is shown.
- The **hash** stands for the weights, the data, the transform and the measure. The same hash should give the same value,
  up to rounding.

Rows of one model share its samples, so their errors are not independent.
"""

FOOT = """## Add a row

An entry is one file in `benchmarks/atlas/rows`: packages, model, data and symmetries. Copy the one that is closest to
your model, and run

```
make atlas ROW=my_model
```

which installs the packages into `.venv-atlas`, measures, stores the numbers in `benchmarks/results/atlas/my_model.json`,
and writes this page. `make pages` writes it from the stored numbers, without any model. Data come from packages, too:
those of Debian are downloaded and unpacked by `apt-get` and `dpkg-deb`, without being installed.
"""


def write(records: dict[str, Record]) -> None:
    """Write the page and its figure."""
    PAGE.write_text(page(records), encoding="utf-8")
    save_figure(figure.draw(by_world(records)), FIGURE)


def page(records: dict[str, Record]) -> str:
    """Return the page in Markdown."""
    worlds = by_world(records)
    rows = sum(map(len, worlds.values()))
    head = HEAD.format(count=len({r["model"] for r in records.values()}), rows=rows, none=NONE)
    sections = [f"## {world}\n\n{table(found)}" for world, found in worlds.items()]
    return "\n\n".join([head.rstrip(), *sections, sources(records), tried.section(), FOOT]).rstrip() + "\n"


def by_world(records: dict[str, Record]) -> dict[str, list[Record]]:
    """Return the rows of each section, in the order of the page."""
    found = {
        world: [row for r in records.values() if r["world"] == world for row in rows_of(r)]
        for world in WORLDS
    }
    return {world: rows for world, rows in found.items() if rows}


def rows_of(record: Record) -> list[Record]:
    """Return the rows of an entry with the name of its model."""
    return [{**case, "model": record["model"]} for case in record["cases"]]


def table(rows: list[Record]) -> str:
    """Return the table of a section, and its notes."""
    notes = list(dict.fromkeys(row["note"] for row in rows if row["note"]))
    columns = [
        ("model", [row["model"] for row in rows]),
        ("symmetry", [row["symmetry"] for row in rows]),
        ("measure", [row["question"] for row in rows]),
        ("value [95 % interval]", [value(row) + marks(row, notes) for row in rows]),
        ("null", [shown(row["null"], row) for row in rows]),
        ("floor", [shown(row["floor"], row) for row in rows]),
        ("layers", [layers(row) for row in rows]),
        ("n", [counted(row) for row in rows]),
        ("hash", [f"`{row['hash']}`" for row in rows]),
    ]
    below = [f"<sup>{number}</sup> {note[0].upper()}{note[1:]}." for number, note in enumerate(notes, 1)]
    return "\n\n".join([grid(columns), "<br>\n".join(below)]).rstrip()


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
    if number == 0 or abs(number) >= 1e-3:
        return f"{number:.3f}" if number else "0"
    digits, power = f"{number:.1e}".split("e")
    return f"{digits}·10<sup>{int(power)}</sup>".replace("<sup>-", "<sup>−")


def marks(row: Record, notes: list[str]) -> str:
    """Return the number of the row's note."""
    return f" <sup>{notes.index(row['note']) + 1}</sup>" if row["note"] else ""


def layers(row: Record) -> str:
    """Return the normalized variance of the first and the last layer."""
    return " → ".join(f"{layer['value']:.2f}" for layer in row["layers"])


def counted(row: Record) -> str:
    """Return the number of samples, and of clusters if there are fewer."""
    clusters = "" if row["clusters"] == row["samples"] else f" ({row['clusters']})"
    return f"{row['samples']}{clusters}"


def sources(records: dict[str, Record]) -> str:
    """Return the tables of models and data."""
    models = [
        ("model", [r["model"] for r in records.values()]),
        ("output", [r["does"] for r in records.values()]),
        ("packages", [packages(r) for r in records.values()]),
        ("licence", [r["licence"] for r in records.values()]),
        ("weights", [f"`{r['weights'][:8]}`" for r in records.values()]),
        ("command", [f"`make atlas ROW={name}`" for name in records]),
        ("measured", [f"{r['date']}, Invariscope {r['versions']['invariscope']}" for r in records.values()]),
    ]
    data = {r["data"]["digest"]: r["data"] for r in records.values()}.values()
    shown_data = [
        ("data", [one["name"] for one in data]),
        ("what they are", [one["about"] for one in data]),
        ("independent", [f"{one['clusters']} ({one['cluster']})" for one in data]),
        ("source", [one["source"] for one in data]),
        ("licence", [one["licence"] for one in data]),
        ("digest", [f"`{one['digest'][:8]}`" for one in data]),
    ]
    of = ", ".join(f"{r['model']}: {r['data']['name']}" for r in records.values())
    return f"## Models and data\n\n{grid(models)}\n\nData of each model: {of}.\n\n{grid(shown_data)}"


def packages(record: Record) -> str:
    """Return the packages of the model with their versions."""
    common = ("invariscope", "torch", "numpy")
    return ", ".join(f"{name} {number}" for name, number in record["versions"].items() if name not in common)
