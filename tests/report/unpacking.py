"""What the page's script unpacks, unpacked in Python."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np

KINDS = {"u8": "u1", "u16": "<u2", "u32": "<u4", "f32": "<f4"}


def unpacked_json(text):
    """A value that was packed as JSON."""
    return json.loads(zlib.decompress(base64.b64decode(text)))


def unpacked_numbers(part):
    """Numbers whose first bytes come first, then all second bytes, and so on."""
    kind = np.dtype(KINDS[part["kind"]])
    mixed = np.frombuffer(zlib.decompress(base64.b64decode(part["data"])), np.uint8)
    return np.ascontiguousarray(mixed.reshape(kind.itemsize, -1).T).view(kind).ravel()


def unpacked_table(spec):
    """The columns of a table, and its cells row by row; intervals are lists of numbers."""
    if spec is None:
        return None
    columns = []
    for cells in spec["cells"]:
        if "texts" in cells:
            columns.append([cells["texts"][code] for code in unpacked_numbers(cells["codes"])])
        else:
            parts = [unpacked_numbers(part).tolist() for part in cells["parts"]]
            columns.append(parts[0] if len(parts) == 1 else list(zip(*parts, strict=True)))
    return {**spec, "rows": list(zip(*columns, strict=True))}


def unpacked(payload):
    """The payload of a page, with its tables and charts."""
    return {
        **payload,
        "tables": {name: unpacked_table(table) for name, table in payload["tables"].items()},
        "charts": {name: unpacked_json(chart) for name, chart in payload["charts"].items()},
    }
