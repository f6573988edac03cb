"""Arrays and tables of any kind give the same numbers as a tensor, or an error that names the kind."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import invariscope as iv
from invariscope.data.arrays import as_tensor

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(40, 6)).astype(np.float32)
Y = np.arange(40) % 3
ELEMENTS = [torch.clone, lambda x: x.flip(1)]


def locked(values):
    values = values.copy()
    values.flags.writeable = False
    return values


class Rows(Dataset):
    def __init__(self, row):
        self.row = row

    def __len__(self):
        return 40

    def __getitem__(self, k):
        return self.row(k), int(Y[k])


def values(data):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measures = ["normalized_variance", "prediction"]
        table = iv.measure(nn.Linear(6, 3), data, ELEMENTS, measures=measures, progress=False).table
    return table["value"].to_numpy()


FRAME = pd.DataFrame(X, columns=list("abcdef"))
SERIES = pd.Series(Y)
KINDS = {
    "big-endian": (X.astype(">f4"), Y.astype(">i8")),
    "negative strides": (X[::-1].copy()[::-1], Y[::-1].copy()[::-1]),
    "Fortran order": (np.asfortranarray(X), Y),
    "read-only": (locked(X), locked(Y)),
    "long doubles": (X.astype(np.longdouble), Y),
    "nothing masked": (np.ma.masked_array(X, mask=False), Y),
    "tables": (FRAME, SERIES),
    "a table of one column as labels": (FRAME, pd.DataFrame({"y": Y})),
    "nullable columns": (FRAME.astype("Float32"), SERIES.astype("Int64")),
    "arrays and a column": (torch.from_numpy(X), SERIES),
    "a negated view": (
        torch.complex(torch.zeros(40, 6), -torch.from_numpy(X)).conj().imag,
        torch.from_numpy(Y),
    ),
    "batches of tables": [(FRAME[:20], SERIES[:20]), (FRAME[20:], SERIES[20:])],
    "read-only batches": [(locked(X[:20]), Y[:20]), (locked(X[20:]), Y[20:])],
}
DATASETS = {
    "a dataset of read-only rows": (Rows(lambda k: locked(X[k])), Rows(lambda k: X[k])),
    "a dataset of reversed rows": (Rows(lambda k: X[k, ::-1].copy()[::-1]), Rows(lambda k: X[k])),
    "a dataset of rows of a table": (Rows(lambda k: FRAME.iloc[k]), Rows(lambda k: X[k])),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_array_gives_the_numbers_of_a_tensor_without_a_warning(kind):
    plain = torch.from_numpy(X), torch.from_numpy(Y)
    batches = [tuple(part[k : k + 20] for part in plain) for k in (0, 20)]
    expected = values(batches if isinstance(KINDS[kind], list) else plain)
    np.testing.assert_allclose(values(KINDS[kind]), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", DATASETS)
def test_every_kind_of_item_gives_the_numbers_of_a_tensor_without_a_warning(kind):
    given, plain = DATASETS[kind]
    np.testing.assert_allclose(values(given), values(plain), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
def test_unsigned_integers_are_widened_to_a_dtype_that_torch_can_compute_with(dtype):
    class Floating(nn.Module):
        def forward(self, x):
            return x.float() / 100

    whole = (np.abs(X) * 100).astype(dtype)
    table, expected = (
        iv.measure(Floating(), data, ELEMENTS, progress=False).table["value"].iloc[-1]
        for data in (whole, whole.astype(np.int64))
    )
    assert table == pytest.approx(expected)


def test_a_file_mapped_read_only_is_not_copied(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = as_tensor(mapped, "inputs")
    assert found.data_ptr() == mapped.ctypes.data
    np.testing.assert_allclose(values((mapped, Y)), values((X, Y)))


def sparse(values):
    return torch.from_numpy(values).to_sparse()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (
            lambda: sparse(X),
            ValueError,
            r"inputs are a sparse tensor \(sparse_coo\); pass inputs\.to_dense\(\)",
        ),
        (lambda: (X, sparse(Y)), ValueError, r"labels are a sparse tensor"),
        (lambda: TensorDataset(sparse(X)), ValueError, r"inputs are a sparse tensor"),
        (lambda: [sparse(X)], ValueError, r"inputs are a sparse tensor"),
        (lambda: Rows(lambda k: sparse(X[k])), ValueError, r"inputs are a sparse tensor"),
        (lambda: torch.zeros(40, 6, device="meta"), ValueError, r"inputs are on the meta device"),
        (lambda: (X, torch.zeros(40, device="meta")), ValueError, r"labels are on the meta device"),
        (
            lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
            ValueError,
            r"a nested tensor; pad",
        ),
        (lambda: np.ma.masked_array(X, mask=X > 2), ValueError, r"inputs are masked at \d+ of 240 values"),
        (lambda: X.astype(object), TypeError, r"inputs must be numeric; got an array of object"),
        (lambda: X.astype(str), TypeError, r"inputs must be numeric; got an array of <U32"),
        (lambda: FRAME.assign(g="u"), TypeError, r"got non-numeric columns: 'g' \("),
        (lambda: FRAME.astype("Float32").mask(FRAME > 2), ValueError, r"inputs have missing values; fill"),
        (lambda: FRAME[:0], ValueError, r"the data are empty \(shape \(0, 6\)\)"),
        (lambda: [FRAME, Y], ValueError, r"a list is read as batches of inputs; pass \(inputs, labels\)"),
        (lambda: np.full((4, 2), 2**64 - 1, np.uint64), ValueError, r"inputs hold integers beyond int64"),
    ],
)
def test_arrays_without_dense_numbers_are_refused_by_kind(data, error, message):
    with pytest.raises(error, match=message):
        iv.measure(nn.Tanh(), data(), ELEMENTS, progress=False)
