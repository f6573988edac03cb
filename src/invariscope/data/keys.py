"""Identify samples by their content."""

from __future__ import annotations

import numpy as np

from invariscope.data.forms import Form
from invariscope.data.image_set import ImageSet
from invariscope.data.labels import read_targets
from invariscope.data.order import (
    CONTENT,
    Identities,
    class_order,
    content_digests,
    content_keys,
    input_digests,
)


def identified(form: Form, clusters: np.ndarray | None) -> Identities | None:
    """Return keys from the samples' bytes; None for a dataset, whose items would have to be read.

    Equal samples are numbered by class and cluster, so that no number depends on how they are stored.
    """
    contents = _contents(form)
    if contents is None:
        return None
    keys = content_keys(contents, apart=_apart(form, contents, clusters))
    return Identities(keys, CONTENT, clusters, contents)


def _contents(form: Form) -> np.ndarray | None:
    """Return (sample,) digests of the inputs, or of the files that hold them."""
    if form.inputs is not None:
        return input_digests(form.inputs)
    return content_digests(form.items.keys) if isinstance(form.items, ImageSet) else None


def _apart(form: Form, contents: np.ndarray, clusters: np.ndarray | None) -> list[np.ndarray]:
    """Return columns that tell equal samples apart; none if all samples differ."""
    if len(np.unique(contents)) == len(contents):
        return []
    labels = form.targets if form.inputs is not None else read_targets(form.items.labels).values
    found = [] if labels is None else [*class_order(labels.numpy(), contents)]
    return found if clusters is None else [*found, clusters]
