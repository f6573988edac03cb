"""Published files are read as they are, and damaged or hostile ones are refused with the reason."""

from __future__ import annotations

import gzip
import pickle

import numpy as np
import pytest
from tiny_files import (
    cifar_arrays,
    cifar_pickle,
    cifar_record_bytes,
    idx_bytes,
    malicious_pickle,
)

from invariscope.zoo.formats.cifar import read_binary_batch, read_python_batch
from invariscope.zoo.formats.idx import read_idx

VALUES = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)


@pytest.mark.parametrize("compress", [gzip.compress, bytes], ids=["gz", "raw"])
def test_an_idx_file_gives_its_values_whatever_its_name_says(tmp_path, compress):
    path = tmp_path / "images.whatever"
    path.write_bytes(compress(idx_bytes(VALUES)))
    np.testing.assert_array_equal(read_idx(path, ndim=3), VALUES)


GOOD = idx_bytes(VALUES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"not an IDX file of bytes: it starts with nothing, expected 00 00 08 03"),
        (b"\x89PNG" + GOOD, r"not an IDX file of bytes: it starts with 89 50 4e 47"),
        (bytes([0, 0, 13]) + GOOD[3:], r"it starts with 00 00 0d 03"),
        (idx_bytes(VALUES[0, 0]), r"has 1 axes, expected 3.*swapped"),
        (GOOD[:9], r"ends within its header"),
        (GOOD[:-5], r"declares 24 bytes of values, but there are only 19"),
        (GOOD + b"\0", r"declares 24 bytes of values, but there are more"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, r"impossible shape"),
        (gzip.compress(GOOD)[:-12], r"compressed data is incomplete"),
        (gzip.compress(GOOD)[:10] + b"\xff" * 20, r"compressed data is incomplete or damaged"),
        (gzip.compress(GOOD)[:-8] + b"\0" * 8, r"CRC"),
    ],
    ids=["empty", "png", "floats", "labels", "header", "short", "long", "huge", "cut", "deflate", "crc"],
)
def test_a_damaged_idx_file_is_refused_with_what_is_wrong(tmp_path, content, message):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path, ndim=3)
    assert str(path) in str(caught.value)


def test_cifar_records_give_label_and_planes(tmp_path):
    pixels, labels = cifar_arrays(7)
    (tmp_path / "test_batch.bin").write_bytes(cifar_record_bytes(pixels, labels))
    images, read = read_binary_batch(tmp_path / "test_batch.bin")
    np.testing.assert_array_equal(images.reshape(7, -1), pixels)
    np.testing.assert_array_equal(read, labels)
    assert images[3, 2, 5, 1] == pixels[3, 2 * 1024 + 5 * 32 + 1]


@pytest.mark.parametrize("keys", [bytes, str])
def test_cifar_pickles_are_read_without_unpickling_numpy(tmp_path, keys):
    pixels, labels = cifar_arrays(7)
    (tmp_path / "test_batch").write_bytes(cifar_pickle(pixels, labels, keys=keys))
    images, read = read_python_batch(tmp_path / "test_batch")
    np.testing.assert_array_equal(images.reshape(7, -1), pixels)
    np.testing.assert_array_equal(read, labels)


def test_an_original_python_2_pickle_is_read(tmp_path):
    # Written out opcode by opcode as Python 2 did: byte strings, and numpy.core.multiarray.
    pixels, _ = cifar_arrays(1)
    content = (
        b"\x80\x02}q\x00(U\x04dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03"
        b"K\x00\x85U\x01bq\x04\x87Rq\x05(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nq\x06U\x02u1q\x07K\x00K\x01\x87R"
        b"q\x08(K\x03U\x01|q\tNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x00\x0c\x00\x00"
        + pixels.tobytes()
        + b"q\ntbU\x06labelsq\x0b]q\x0cK\x06au."
    )
    (tmp_path / "test_batch").write_bytes(content)
    images, labels = read_python_batch(tmp_path / "test_batch")
    np.testing.assert_array_equal(images.reshape(1, -1), pixels)
    assert labels.tolist() == [6]


def test_a_malicious_batch_is_refused_and_never_executed(tmp_path):
    marker = tmp_path / "harm"
    (tmp_path / "test_batch").write_bytes(malicious_pickle(marker))
    with pytest.raises(ValueError, match=r"rejected: its pickle uses posix\.mkdir, .*could run code"):
        read_python_batch(tmp_path / "test_batch")
    assert not marker.exists()
    pickle.loads(malicious_pickle(marker))  # the file would have done harm
    assert marker.exists()


def test_a_call_of_a_permitted_constructor_with_other_arguments_is_refused(tmp_path):
    # codecs.encode(..., "rot13") is a permitted name with an argument that no batch has.
    (tmp_path / "test_batch").write_bytes(
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R."
    )
    with pytest.raises(ValueError, match=r"rejected.*codecs\.encode with 'rot13'"):
        read_python_batch(tmp_path / "test_batch")


PIXELS, LABELS = cifar_arrays(3)


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (read_binary_batch, b"", r"0 bytes are not a multiple of the record size 3,073"),
        (read_binary_batch, cifar_record_bytes(PIXELS, LABELS)[:-1], r"9,218 bytes are not a multiple"),
        (read_binary_batch, cifar_record_bytes(PIXELS, LABELS + 90), r"labels must be 0 to 9.*up to 92"),
        (read_python_batch, cifar_pickle(PIXELS, LABELS)[:500], r"truncated or not a CIFAR-10 Python batch"),
        (read_python_batch, b"hello", r"truncated or not a CIFAR-10 Python batch"),
        (read_python_batch, pickle.dumps({b"data": 3}), r"not a CIFAR-10 Python batch"),
        (read_python_batch, cifar_pickle(PIXELS[:2], LABELS), r"3,072 bytes per label"),
        (
            read_python_batch,
            cifar_pickle(PIXELS.astype(np.float32), LABELS),
            r"not a plain array",
        ),
        (read_python_batch, cifar_pickle(PIXELS, LABELS - 1), r"labels must be 0 to 9"),
    ],
    ids=["empty", "cut record", "cifar100", "cut pickle", "text", "other", "lengths", "floats", "negative"],
)
def test_a_damaged_cifar_file_is_refused_with_what_is_wrong(tmp_path, read, content, message):
    path = tmp_path / "data_batch_1"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("read", [read_binary_batch, read_python_batch])
def test_a_missing_file_is_not_a_damaged_file(tmp_path, read):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")
