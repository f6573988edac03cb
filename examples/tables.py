"""Measure which columns of a table a classifier uses, and how much it depends on their order.

    pip install invariscope scikit-learn
    python examples/tables.py

A small network is trained in seconds on 30 measurements of cells from breast biopsies. Each column in turn is
replaced by its mean. Then the three blocks of ten columns are permuted, and finally all columns.
"""

from __future__ import annotations

import pandas as pd
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.nn.functional import cross_entropy

import invariscope as iv

cells = load_breast_cancer()
x, y = torch.from_numpy(cells.data).float(), torch.from_numpy(cells.target).long()
x = (x - x.mean(0)) / x.std(0)
train, test = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).split([400, len(x) - 400])

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
optimizer = torch.optim.AdamW(model.parameters(), 0.003, weight_decay=0.1)
for _ in range(200):
    optimizer.zero_grad()
    cross_entropy(model(x[train]), y[train]).backward()
    optimizer.step()
model.eval()
LAYERS = {"0": "layer 1", "2": "layer 2", "4": "output"}


def without(column: int):
    """Return an element that sets a column to its mean, which is 0."""
    return lambda rows: rows.index_fill(1, torch.tensor(column), 0.0)


def measured(transform) -> pd.Series:
    """Return the effect of a change on each layer, relative to that of taking another patient's cells."""
    result = iv.measure(model, x[test], transform, layers=list(LAYERS), progress=False)
    return result.table.set_index("layer")["value"].rename(LAYERS)


blocks = [lambda rows: rows, lambda rows: rows.roll(10, 1), lambda rows: rows.roll(20, 1)]
columns = {name: measured([torch.clone, without(k)]) for k, name in enumerate(cells.feature_names)}
columns = pd.DataFrame(columns).T.sort_values("output", ascending=False)
orders = {"blocks of columns": measured(blocks), "all columns": measured(iv.RandomPermutations(8))}
table = pd.concat([columns.head(4), columns.tail(2), pd.DataFrame(orders).T])
print(table.round(3).to_string())
print(
    f"\nNo single column matters, since columns are redundant: leaving one out has at most "
    f"{columns['output'].max():.3f} of the effect of another patient. Their order matters "
    f"({table.loc['all columns', 'output']:.2f})."
)
