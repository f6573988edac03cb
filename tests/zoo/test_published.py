"""Data sets whose files are not the published ones are named as such."""

from __future__ import annotations

import gzip
import hashlib

import pytest
import torch
from tiny_files import write_idx_pair
from torch import nn

import invariscope as iv
from invariscope.zoo import load, published


def test_files_that_differ_are_named_in_the_data_and_the_result(tmp_path):
    write_idx_pair(tmp_path, "t10k", 20)
    data = load("mnist", data_dir=tmp_path)
    names = "t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte"
    assert data.note == f"not the original mnist: {names} differ from the published files"
    assert data.standardized().note == data.subset(10).note == data.note
    torch.manual_seed(0)
    result = iv.measure(nn.Conv2d(1, 2, 3), data, iv.QuarterTurns(), samples=10, progress=False)
    assert data.note in result.provenance["notes"]


@pytest.mark.parametrize("compressed", [True, False])
def test_the_original_files_are_known_whether_compressed_or_not(tmp_path, monkeypatch, compressed):
    write_idx_pair(tmp_path, "t10k", 20, compressed=compressed)
    contents = {path.name.removesuffix(".gz"): path.read_bytes() for path in tmp_path.iterdir()}
    known = {
        name: hashlib.md5(gzip.decompress(content) if compressed else content).hexdigest()
        for name, content in contents.items()
    }
    monkeypatch.setitem(published.PUBLISHED, "mnist", known)
    assert load("mnist", data_dir=tmp_path).note == ""
    monkeypatch.setitem(known, "t10k-labels-idx1-ubyte", "0" * 32)
    assert load("mnist", data_dir=tmp_path).note == (
        "not the original mnist: t10k-labels-idx1-ubyte differs from the published file"
    )


def test_the_bundled_digits_have_no_note():
    assert load("mnist_subset", samples=4).note == ""


def test_a_file_that_unpacks_without_end_is_not_read_to_its_end(tmp_path, monkeypatch):
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(100_000)))
    monkeypatch.setattr(published, "_MOST_UNPACKED", 99_999)
    with pytest.raises(ValueError, match="has more than 99,999 bytes"):
        published.unpacked_digest(tmp_path / "a.gz", "sha256")


def test_digests_have_the_length_of_their_algorithm():
    known = [digest for files in published.PUBLISHED.values() for digest in files.values()]
    assert {len(digest) for digest in known} == {32, 40}
    assert len(set(known)) == len(known) == 20
