"""Files of absurd size or depth, and paths that are no files, are refused in one line."""

from __future__ import annotations

import os
import zipfile

import pytest

from invariscope.common import reading


def test_ordinary_files_are_read(tmp_path):
    (tmp_path / "d.json").write_text('{"a": [1, {"b": null}]}')
    assert reading.read_json(tmp_path / "d.json") == {"a": [1, {"b": None}]}
    assert reading.read_toml("a = [1]") == {"a": [1]}
    (tmp_path / "t.txt").write_bytes("ü\r\nb\n".encode())
    assert reading.read_text(tmp_path / "t.txt") == "ü\nb\n"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "is a pipe, not a file"),
        (os.mkdir, "is a folder, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device, not a file"),
        (lambda path: path.symlink_to(path.name), r"cannot be read \("),
        (lambda path: None, "no such file: "),
    ],
)
def test_what_is_no_file_is_named(tmp_path, make, said):
    make(tmp_path / "it")
    with pytest.raises((ValueError, OSError), match=said):
        reading.read_bytes(tmp_path / "it")


@pytest.mark.parametrize("depth", [101, 900, 100_000])
def test_deep_values_are_refused(tmp_path, depth):
    (tmp_path / "d.json").write_text("[" * depth + "]" * depth)
    with pytest.raises(ValueError, match="nested too deeply"):
        reading.read_json(tmp_path / "d.json")
    with pytest.raises(ValueError, match="nested too deeply"):
        reading.read_toml("a = " + "[" * depth + "]" * depth)


def test_a_hundred_levels_are_read(tmp_path):
    (tmp_path / "d.json").write_text("[" * 100 + "]" * 100)
    assert reading.read_json(tmp_path / "d.json")


@pytest.mark.parametrize("text", ["{", "nul", "1" * 5000, "[1,]"])
def test_invalid_json_is_refused(tmp_path, text):
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(ValueError, match=r"d\.json is not valid JSON \("):
        reading.read_json(tmp_path / "d.json")


def test_the_memory_of_small_values_counts(tmp_path, monkeypatch):
    monkeypatch.setenv(reading.VARIABLE, "0.001")
    (tmp_path / "d.json").write_text("[" + "[]," * 10_000 + "0]")
    with pytest.raises(ValueError, match=f"the limit is 0.00 GB.*{reading.VARIABLE}"):
        reading.read_json(tmp_path / "d.json")
    monkeypatch.setenv(reading.VARIABLE, "0.01")
    assert len(reading.read_json(tmp_path / "d.json")) == 10_001


@pytest.mark.parametrize("text", ["", "much", "-1", "0", "inf", "nan"])
def test_an_impossible_limit_is_named(tmp_path, monkeypatch, text):
    monkeypatch.setenv(reading.VARIABLE, text)
    with pytest.raises(ValueError, match=f"{reading.VARIABLE} must be a positive number of gigabytes; got"):
        reading.memory_limit()


def test_files_beyond_a_given_size_are_refused(tmp_path):
    (tmp_path / "a").write_bytes(bytes(11))
    assert reading.read_bytes(tmp_path / "a", 11) == bytes(11)
    with pytest.raises(ValueError, match="has more than 10 bytes, too many for a file of this kind"):
        reading.read_bytes(tmp_path / "a", 10)


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(2_000_000))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        reading.refuse_zip_bomb(tmp_path / "a.zip", archive)
        monkeypatch.setenv(reading.VARIABLE, "0.001")
        with pytest.raises(ValueError, match=r"a\.zip would take 0\.0 GB"):
            reading.refuse_zip_bomb(tmp_path / "a.zip", archive)
