"""Every saved file has a digest, and no change of it passes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from invariscope.common.sealing import (
    BLANKS,
    read_sealed_json,
    seal,
    stated_digest,
    verified,
    write_sealed_json,
)

DOCUMENT = {"schema": 2, "name": "ü", "values": [1e-05, 0.1, None]}


def read(path):
    return read_sealed_json(path, newest=2, what="a test")


@pytest.fixture
def written(tmp_path):
    write_sealed_json(tmp_path / "d.json", DOCUMENT)
    return tmp_path / "d.json"


@pytest.fixture
def tensors(tmp_path):
    save_file({"a": np.arange(6.0)}, tmp_path / "a.safetensors", BLANKS)
    return tmp_path / "a.safetensors"


def test_a_document_comes_back_with_its_digest(written):
    found = read(written)
    assert found.document == DOCUMENT
    assert found.digest == stated_digest(written) == json.loads(written.read_text())["sha256"]


def test_every_flipped_bit_of_a_document_is_refused(written):
    content = written.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            written.write_bytes(changed)
            with pytest.raises(ValueError, match=r"d\.json (is|has)"):
                read(written)


def test_line_ends_of_another_system_are_no_damage(written):
    written.write_bytes(written.read_bytes().replace(b"\n", b"\r\n"))
    assert read(written).document == DOCUMENT


@pytest.mark.parametrize("change", [{"schema": 3}, {"schema": 2}, {"schema": True}, {"schema": "1"}, {}])
def test_only_the_first_schema_may_lack_a_digest(tmp_path, change):
    (tmp_path / "d.json").write_text(json.dumps({"name": "x"} | change))
    with pytest.raises(ValueError, match=r"d\.json (is|has)"):
        read(tmp_path / "d.json")
    (tmp_path / "d.json").write_text(json.dumps({"name": "x", "schema": 1}))
    assert read(tmp_path / "d.json").digest == stated_digest(tmp_path / "d.json") == ""


def test_a_newer_schema_asks_for_an_update_only_if_the_file_is_whole(tmp_path, written):
    write_sealed_json(tmp_path / "new.json", DOCUMENT | {"schema": 3})
    with pytest.raises(ValueError, match="has schema 3, but this version reads up to 2: update invariscope"):
        read(tmp_path / "new.json")
    written.write_text(written.read_text().replace('"schema": 2', '"schema": 3'))
    with pytest.raises(ValueError, match="its SHA-256 does not match the one recorded"):
        read(written)


def test_every_flipped_bit_of_an_array_file_changes_or_removes_its_digest(tensors):
    digest = seal(tensors)
    assert verified(tensors) == digest
    content = tensors.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        tensors.write_bytes(changed)
        try:
            assert verified(tensors) != digest
        except ValueError as error:
            assert str(error).startswith(str(tensors))  # noqa: PT017


def test_equal_arrays_give_equal_digests(tmp_path, tensors):
    save_file({"a": np.arange(6.0)}, tmp_path / "again.safetensors", BLANKS)
    assert seal(tensors) == seal(tmp_path / "again.safetensors")


def test_a_file_without_a_digest_has_none(tmp_path):
    save_file({"a": np.arange(6.0)}, tmp_path / "a.safetensors", {"run": '{"sha256":"' + "0" * 64 + '"}'})
    assert verified(tmp_path / "a.safetensors") == ""
