"""The same images in folders, tables and archives give the same numbers; other tables and archives."""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from photos import CLASSES, classifier, photo_folder

import invariscope as iv
from invariscope.data.files.columns import chosen_columns

NUMBERS = dict(zip(CLASSES, range(3), strict=True))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return photo_folder(tmp_path / "photos")


def images_of(folder: Path) -> list[tuple[bytes, str]]:
    """The bytes and the class of every image, in another order than that of the folder."""
    return [(file.read_bytes(), file.parent.name) for file in sorted(folder.glob("*/*"), reverse=True)]


def table_of(data, **options) -> dict:
    found = iv.measure(
        classifier(),
        data,
        iv.QuarterTurns(),
        measures="nv, prediction",
        classes=CLASSES,
        progress=False,
        **options,
    )
    assert found.provenance["data"]["keys"] == "content"
    return {(r["measure"], r["layer"]): r["value"] for r in found.table.to_dict("records")}


def archive(path: str, files: dict[str, bytes]) -> str:
    with tarfile.open(path, "w") as found:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            found.addfile(entry, io.BytesIO(content))
    return path


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


# Archives


@pytest.mark.parametrize("label", ["cls", "word", "json"])
def test_archives_give_the_numbers_of_the_folder(label, folder):
    ways = {
        "cls": lambda word: {"cls": str(NUMBERS[word]).encode()},
        "word": lambda word: {"cls": word.encode() + b"\n"},
        "json": lambda word: {"json": json.dumps({"label": word}).encode(), "txt": b"a caption"},
    }
    rows = list(enumerate(images_of(folder)))
    for shard in range(3):
        files = {}
        for place, (content, word) in rows[shard::3]:
            parts = {"png": content} | ways[label](word)
            files |= {f"part/{place:03}.{ending}": part for ending, part in parts.items()}
        archive(f"shard-{shard:03}.tar", files)
    expected = table_of(folder)
    for name in ("shard-{000..002}.tar", "shard-*.tar"):
        assert table_of(name) == pytest.approx(expected, rel=1e-9)
    images = iv.read_data("shard-{000,002}.tar")
    assert len(images) == 16
    (folder / "a.tar").write_bytes(Path("shard-000.tar").read_bytes())
    assert len(iv.read_data(folder)) == 24, "images in a folder come first"


def test_a_folder_of_archives_is_read_as_a_whole(folder):
    Path("shards").mkdir()
    for place, (content, word) in enumerate(images_of(folder)):
        archive(f"shards/{place:03}.tar", {"x.png": content, "x.cls": str(NUMBERS[word]).encode()})
    assert table_of("shards") == pytest.approx(table_of(folder), rel=1e-9)


def test_arrays_and_texts_in_archives(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arrays = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 5), dtype=np.uint8)
    archive("a.tar", {f"{k}.{e}": c for k in range(4) for e, c in (("npy", npy(arrays[k])), ("cls", b"7"))})
    found = iv.read_data("a.tar")
    assert torch.equal(found.images, torch.from_numpy(arrays) / 255)
    assert (found.labels.tolist(), found.note) == (
        [7] * 4,
        "the inputs are bytes (uint8), and were divided by 255",
    )
    archive("t.tar", {"a.txt": b"one", "b.txt": "zw\u00f6lf".encode()})
    assert iv.read_data("t.tar") == ["one", "zw\u00f6lf"]


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        ({"README": b""}, {}, "holds no samples"),
        ({"a.png": b"", "b.png": b"", "a.cls": b"1"}, {}, r"1 of 2 samples .* have no \.cls"),
        ({"a.left.png": b"", "a.right.png": b""}, {}, "unclear which column.*--inputs-from NAME"),
        ({"a.png": b"", "a.json": b"{"}, {}, "a.json in .*is not valid JSON"),
        ({"a.png": b"", "b.png": b"", "a.json": b'{"label": 1}', "b.json": b"{}"}, {}, "1 of 2 .json"),
        ({"a.png": b"", "a.cls": b"1"}, {"labels": "clss"}, "unknown column 'clss'. Closest: 'cls'"),
        ({"a.npy": npy(np.zeros(2)), "b.npy": npy(np.zeros(3))}, {}, "different shapes"),
        ({"a.npy": npy(np.array([{}], object))}, {}, "cannot be read as an array"),
        ({"a.txt": b"\xff"}, {}, "is not UTF-8"),
    ],
)  # fmt: skip
def test_archives_that_cannot_be_samples_are_refused(files, options, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive("a.tar", files)
    with pytest.raises(ValueError, match=said):
        iv.read_data("a.tar", **options)


def test_damaged_compressed_and_missing_archives_are_refused(folder, monkeypatch):
    whole = Path(archive("a.tar", {f"{k}.png": c for k, (c, _) in enumerate(images_of(folder))})).read_bytes()
    for name, content in (("zip.tar", gzip.compress(whole)), ("bad.tar", b"x" * 2000)):
        Path(name).write_bytes(content)
        with pytest.raises(ValueError, match=r"cannot read samples from .*decompress it to a plain \.tar"):
            iv.read_data(name)
    with pytest.raises(ValueError, match="is compressed; samples are read in any order"):
        iv.read_data("a.tar.gz")
    with pytest.raises(FileNotFoundError, match=r"no such file: b-1\.tar"):
        iv.read_data("b-{1..2}.tar")
    with pytest.raises(FileNotFoundError, match=r"no file matches c\*\.tar"):
        iv.read_data("c*.tar")


# Columns


@pytest.mark.parametrize(
    ("kinds", "inputs", "labels"),
    [
        ({"image": "image", "label": "number"}, ("image",), "label"),
        ({"id": "number", "jpg": "image", "caption": "text"}, ("jpg",), None),
        ({"sentence": "text", "idx": "number", "label": "number"}, ("sentence",), "label"),
        ({"a": "number", "b": "number", "y": "number", "name": "text"}, ("name",), "y"),
        ({"a": "number", "b": "number", "Y": "text"}, ("a", "b"), "Y"),
        ({"x": "array", "z": "array", "target": "number"}, ("x",), "target"),
    ],
)
def test_columns_are_found_by_their_names_and_kinds(kinds, inputs, labels):
    found = chosen_columns(kinds, "data", None, None)
    assert (found.inputs, found.labels) == (inputs, labels)


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ({"left": "image", "right": "image"}, "it has 'left' (image), 'right' (image)"),
        ({"x": "array", "label": "number", "target": "number"}, "has the columns 'label', 'target'"),
    ],
)
def test_columns_that_cannot_be_told_apart_are_listed(kinds, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        chosen_columns(kinds, "data", None, None)


# Tables


@pytest.fixture
def parquet():
    return pytest.importorskip("pyarrow.parquet")


def write(parquet, path: str, **columns) -> str:
    import pyarrow

    Path(path).parent.mkdir(exist_ok=True)
    parquet.write_table(pyarrow.table(columns), path)
    return path


@pytest.mark.parametrize("way", ["bytes", "struct", "paths", "several"])
def test_tables_of_images_give_the_numbers_of_the_folder(way, folder, parquet):
    contents, words = map(list, zip(*images_of(folder), strict=True))
    paths = [str(file.relative_to(folder.parent)) for file in sorted(folder.glob("*/*"), reverse=True)]
    cells = {
        "struct": [{"bytes": content, "path": "x.png"} for content in contents],
        "paths": [{"bytes": None, "path": path} for path in paths],
    }.get(way, contents)
    name = write(parquet, "t/0.parquet" if way == "several" else "t.parquet", image=cells, label=words)
    if way == "several":
        write(parquet, "t/0.parquet", image=cells[:9], label=words[:9])
        write(parquet, "t/1.parquet", image=cells[9:], label=words[9:])
        name = "t"
    assert table_of(name) == pytest.approx(table_of(folder), rel=1e-9)


def test_numbers_lists_and_texts_in_tables(parquet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).random((6, 3))
    write(parquet, "n.parquet", a=rows[:, 0], b=rows[:, 1], c=rows[:, 2], y=[0, 1] * 3)
    found = iv.read_data("n.parquet")
    assert np.allclose(found.images.numpy(), rows)
    assert found.labels.tolist() == [0, 1] * 3
    assert iv.read_data("n.parquet", labels="a", inputs="b").labels.tolist() == rows[:, 0].tolist()
    pixels = np.random.default_rng(0).integers(0, 256, (5, 2, 4, 3))
    write(parquet, "l.parquet", x=[p.astype(np.uint8).tolist() for p in pixels], id=list(range(5)))
    assert np.array_equal(iv.read_data("l.parquet").images.numpy(), pixels.astype(np.float32))
    write(parquet, "t.parquet", text=["a", "b"], label=["p", "q"])
    assert iv.read_data("t.parquet") == (["a", "b"], ["p", "q"])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"x": [[1.0], [1.0, 2.0]]}, "lists of 1 to 2 numbers"),
        ({"x": [1.0, None]}, "no value in 1 of 2 rows"),
        ({"x": [[1.0], [2.0]], "y": ["a", None]}, "'y' has no value in 1 of 2"),
        ({"x": [[1.0], [2.0]], "y": [[1], [2]]}, "'y' cannot hold labels"),
        ({"x": [{"a": 1}, {"a": 2}]}, "which cannot be inputs"),
        ({"x": np.zeros(0)}, "is empty"),
    ],
)
def test_tables_that_cannot_be_samples_are_refused(columns, said, parquet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(parquet, "t.parquet", **columns)
    with pytest.raises(ValueError, match=said):
        iv.read_data("t.parquet")


def test_a_damaged_table_and_a_missing_package_are_named(parquet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.parquet").write_bytes(b"PAR1" * 40)
    with pytest.raises(ValueError, match="cannot read a table from t"):
        iv.read_data("t.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"pip install invariscope\[parquet\]"):
        iv.read_data("t.parquet")


# Hugging Face data sets


@pytest.fixture
def hugging_face(folder, tmp_path_factory):
    library = pytest.importorskip("datasets")
    library.disable_progress_bars()
    contents, words = map(list, zip(*images_of(folder), strict=True))
    features = {"image": library.Image(), "label": library.ClassLabel(names=list(CLASSES))}
    cells = [{"bytes": content, "path": None} for content in contents]
    columns = {"image": cells, "label": [NUMBERS[word] for word in words]}
    return library, library.Dataset.from_dict(columns, features=library.Features(features))


def test_data_sets_of_hugging_face_give_the_numbers_of_the_folder(folder, hugging_face):
    library, found = hugging_face
    found.shuffle(seed=1).save_to_disk("one")
    library.DatasetDict({"train": found.select([0, 1]), "test": found}).save_to_disk("splits")
    found.to_parquet("t.parquet")
    expected = table_of(folder)
    for name in ("one", "splits", "t.parquet"):
        assert table_of(name) == pytest.approx(expected, rel=1e-9)
        assert iv.read_data(name).classes == CLASSES
    assert len(iv.read_data("splits", split="train")) == 2


def test_splits_and_damaged_data_sets_are_named(folder, hugging_face):
    library, found = hugging_face
    library.DatasetDict({"train": found, "dev": found}).save_to_disk("splits")
    with pytest.raises(ValueError, match="has the splits train, dev: choose one with --split"):
        iv.read_data("splits")
    with pytest.raises(ValueError, match=r"unknown split 'deb'\. Closest: 'dev'"):
        iv.read_data("splits", split="deb")
    Path("splits/dataset_dict.json").write_text("{")
    with pytest.raises(ValueError, match="cannot read a data set from splits"):
        iv.read_data("splits")


def test_a_data_set_that_cannot_be_reached_says_what_to_do(hugging_face, monkeypatch):
    library, _ = hugging_face

    def unreachable(*_):
        raise ConnectionError("no route")

    monkeypatch.setattr(library, "load_dataset", unreachable)
    with pytest.raises(
        OSError, match=r"cannot load the data set cifar10 .*no route.*save_to_disk\('folder'\)"
    ):
        iv.read_data("datasets:cifar10")


@pytest.mark.parametrize("name", ["datasets:cifar10", "written"])
def test_hugging_face_data_without_its_package_name_it(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("written").mkdir()
    Path("written/state.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"pip install invariscope\[datasets\]"):
        iv.read_data(name)


# Options that do not apply


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 8}, r"size \(--size\) applies to images in files; a\.npy holds arrays"),
        ({"split": "test"}, r"split \(--split\) applies to data sets"),
        ({"inputs": "z"}, "contains .'x'.; it has no z"),
    ],
)
def test_options_that_do_not_apply_are_refused(options, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.zeros((3, 2)))
    with pytest.raises(ValueError, match=said):
        iv.read_data("a.npy", **options)
