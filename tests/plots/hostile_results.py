"""Results in which every name tries to become script, markup or a terminal command."""

from dataclasses import replace

from invariscope.results.readable import LONGEST

SCRIPT = "</script><img src=x onerror=alert(1)>"
NAMES = {
    "script": SCRIPT,
    "quotes": "\"'`><svg onload=alert(1)>",
    "template": "{{ 7*7 }}{% raw %}@{value}${alert(1)}$x$",
    "null": "nul\0l\x07\x08",
    "ansi": "\x1b[2J\x1b]0;title\x07red\x1b[31m",
    "rtl": "abc\u202egpj.exe\u2066\u200f",
    "surrogate": "half\ud83d",
    "lines": "one\r\ntwo\u2028three",
    "javascript": "javascript:alert(1)//-->]]>",
    "long": "x" * 10_000,
}
LAYERS = {name: (4, 6, 6) if k % 2 else (8,) for k, name in enumerate(NAMES.values())}


def renamed(result, number):
    """The result with hostile names for its model, data, classes, elements, notes and skipped layers."""
    names = list(NAMES.values())
    # Texts are shown whole; names are shortened in them, so only the others stand here.
    short = [name for name in names if len(name) < LONGEST]
    strata = {f"{digit}": name for digit, name in enumerate(names)}

    def moved(row):
        note = " ".join(short) if hasattr(row, "note") else None
        changes = {"stratum": strata.get(row.stratum, row.stratum)} | ({"note": note} if note else {})
        if hasattr(row, "label") and row.label:
            changes["label"] = f"{row.label} {short[number]}"
        return replace(row, **changes)

    record = dict(result.provenance)
    record["model"] = {**record.get("model", {}), "label": names[number], "weights": " ".join(short)}
    record["data"] = {**record.get("data", {}), "name": names[number + 1], "classes": names}
    labels = record.get("transform", {}).get("labels") or names
    record["transform"] = {
        **record.get("transform", {}),
        "family": names[number + 2],
        "labels": [f"{label} {short[k % len(short)]}" for k, label in enumerate(labels)],
    }
    record["skipped"] = [{"layer": name, "call": 0, "reason": name} for name in names]
    record["unused"], record["notes"] = names, short
    record["measures"] = {
        **record.get("measures", {}),
        SCRIPT: {"summary": " ".join(short), "reading": " ".join(short), "options": {SCRIPT: short}},
    }
    return replace(
        result,
        provenance=record,
        rows=tuple(map(moved, result.rows)),
        curve_rows=tuple(map(moved, result.curve_rows)),
        arrays={(m, layer, strata.get(s, s), c): a for (m, layer, s, c), a in result.arrays.items()},
    )
