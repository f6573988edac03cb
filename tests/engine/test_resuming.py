"""A measurement resumes to the numbers of an undisturbed run, and only if everything is the same."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from resumed import FORMS, IMAGES, Items, Stopped, after, interrupted, measured, net, same, stream
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import invariscope as iv
from invariscope.engine import prepare, walk

pytestmark = pytest.mark.usefixtures("seeded", "windows")


@pytest.fixture
def windows(monkeypatch):
    """Streams and datasets are read 32 samples at a time."""
    monkeypatch.setattr("invariscope.data.sources.WINDOW_SAMPLES", 32)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "sums"


@pytest.fixture
def forwarded(monkeypatch):
    """The numbers of samples that have been forwarded, one per block."""
    blocks: list[int] = []
    original = walk._Loop._block

    def counted(self, window, chosen, frame):
        blocks.append(len(chosen))
        original(self, window, chosen, frame)

    monkeypatch.setattr(walk._Loop, "_block", counted)
    return blocks


@pytest.mark.parametrize(
    ("form", "samples"),
    [("array", 16), ("array", 128), ("stream", 16), ("stream", 90), ("dataset", 96), ("loader", 128)],
)
def test_any_form_of_data_is_resumed(form, samples, file, forwarded):
    expected = measured(FORMS[form](IMAGES))
    forwarded.clear()
    interrupted(file, samples, FORMS[form](IMAGES))
    assert samples <= sum(forwarded)
    same(measured(FORMS[form](IMAGES), checkpoint=file), expected)
    assert sum(forwarded) == 128  # no block went twice
    assert list(file.parent.iterdir()) == []


OTHER_DATA = {
    "fewer": (lambda x: x[:32], "128 there, 32 now|end after 32 samples, but it includes"),
    "more": (lambda x: torch.cat([x, x[:32] / 2]), "128 there, 160 now"),
    "another dtype": (torch.Tensor.double, "data.dtype: 'torch.float32' there, 'torch.float64' now"),
    "another shape": (lambda x: x[:, :, :5, :5], r"data.shape\[1\]: 6 there, 5 now"),
    "other values": (lambda x: torch.cat([x[:80], 1 - x[80:]]), "different data: the values"),
    "another order": (lambda x: x.flip(0), "different data: the values"),
    "labels": (lambda x: (x, torch.arange(len(x)) % 3), "data.labels: None there, 'torch.int64' now"),
}


def formed(form: str, given: Any) -> Any:
    """Return inputs, or inputs and labels, in one of the forms."""
    if not isinstance(given, tuple):
        return FORMS[form](given)
    if form == "stream":
        return [(x, y) for x, y in zip(given[0].split(16), given[1].split(16), strict=True)]
    if form == "loader":
        return DataLoader(TensorDataset(*given), batch_size=16)
    return Items(*given) if form == "dataset" else given


def as_float(x: torch.Tensor) -> torch.Tensor:
    return x.float()


@pytest.fixture(scope="module")
def saved_of() -> dict[str, bytes]:
    """The content of a checkpoint of each form of data, written by the first test that needs it."""
    return {}


# Not another measurement: see the two tests below.
SAME = {("array", "another order"), ("stream", "more")}


@pytest.mark.parametrize(
    ("form", "change"), [pair for pair in product(FORMS, OTHER_DATA) if pair not in SAME]
)
def test_other_data_are_refused(form, change, file, forwarded, saved_of):
    options: dict[str, Any] = {"preprocess": as_float, "model": net()[:2]}
    if form not in saved_of:
        interrupted(file, 90, FORMS[form](IMAGES), **options)
        saved_of[form] = file.read_bytes()
    file.write_bytes(saved := saved_of[form])
    other, message = OTHER_DATA[change]
    forwarded.clear()
    with pytest.raises(ValueError, match=message):
        measured(formed(form, other(IMAGES)), checkpoint=file, **options)
    assert not forwarded
    assert file.read_bytes() == saved


def test_the_order_of_an_array_does_not_matter(file):
    interrupted(file)
    found, expected = measured(IMAGES.flip(0), checkpoint=file), measured(IMAGES.flip(0))
    assert found.table["value"].tolist() == pytest.approx(expected.table["value"].tolist(), rel=1e-6)


def test_a_stream_of_unknown_length_may_grow(file):
    """Nothing that has been summed differs, so the numbers are those of the longer stream."""
    longer = torch.cat([IMAGES, IMAGES / 2])
    interrupted(file, 96, stream(IMAGES))
    same(measured(stream(longer), checkpoint=file), measured(stream(longer)))


def test_data_after_the_checkpoint_must_be_the_same_if_thresholds_come_from_all(file):
    options: dict[str, Any] = {"measures": iv.Goodfellow(alpha=0.1)}
    interrupted(file, 64, stream(IMAGES), **options)
    changed = torch.cat([IMAGES[:120], IMAGES[120:] / 2])
    with pytest.raises(ValueError, match="different data: not all samples are the same as those from which"):
        measured(stream(changed), checkpoint=file, **options)
    same(measured(stream(IMAGES), checkpoint=file, **options), measured(stream(IMAGES), **options))


@pytest.mark.parametrize("form", ["array", "stream"])
def test_blocks_keep_their_size_if_less_memory_is_free(form, file, monkeypatch):
    options: dict[str, Any] = {"batch_size": "auto"}
    monkeypatch.setattr(prepare, "available_bytes", lambda memory: 1 << 19)
    expected = measured(FORMS[form](IMAGES), **options)
    interrupted(file, 40, FORMS[form](IMAGES), **options)
    monkeypatch.setattr(prepare, "available_bytes", lambda memory: 1 << 18)
    same(measured(FORMS[form](IMAGES), checkpoint=file, **options), expected)


# What differs, in words


class Scaled:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


def scaled(factor: float) -> Any:
    return lambda x: x * factor


def by_default(x: torch.Tensor, factor: float = 2.0) -> torch.Tensor:
    return x * factor


def by_another_default(x: torch.Tensor, factor: float = 3.0) -> torch.Tensor:
    return x * factor


by_another_default.__name__ = by_another_default.__qualname__ = "by_default"


def elements(function: Any) -> Any:
    return iv.Elements([torch.abs, function], labels=["one", "two"])


def called(model: Any, x: Any) -> Any:
    return model(x)


def called_twice(model: Any, x: Any) -> Any:
    return model(x) * 2


called_twice.__name__ = called_twice.__qualname__ = "called"


class Net(nn.Module):
    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, bias=False)
        nn.init.ones_(self.conv.weight)
        self.register_buffer("shift", torch.tensor(bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) + self.shift


class Other(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) - self.shift


Other.__name__ = Other.__qualname__ = "Net"


def as_rows(x: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"x": x.flatten(2).transpose(1, 2), "mask": torch.ones(len(x), x[0].numel(), dtype=torch.bool)}


def of_rows(model: Any, batch: Any) -> Any:
    return model(batch["x"])


ROWS = {
    "preprocess": as_rows,
    "call": of_rows,
    "model": lambda: nn.Sequential(nn.Linear(1, 4)),
}
DIFFERENT: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "weights": ({"model": Net}, {"model": lambda: Net(1.0)}, "Net.shift has other values"),
    "structure": (
        {"model": net},
        {"model": lambda: net(0.9)},
        "Sequential.1.negative_slope: 0.01 there, 0.9 now",
    ),
    "code": ({"model": Net}, {"model": Other}, "the code of Net.forward differs"),
    "padding": (
        {"transform": iv.Rotation([0, 90], padding="zeros")},
        {"transform": iv.Rotation([0, 90], padding="border")},
        "transform.padding: 'zeros' there, 'border' now",
    ),
    "code of an element": (
        {"transform": elements(lambda x: x.flip(2))},
        {"transform": elements(lambda x: x.flip(3) * 2)},
        r"the code of transform.callables\[1\] differs",
    ),
    "closure of an element": (
        {"transform": elements(scaled(2.0))},
        {"transform": elements(scaled(3.0))},
        r"transform.callables\[1\].factor: 2.0 there, 3.0 now",
    ),
    "defaults of an element": (
        {"transform": elements(by_default)},
        {"transform": elements(by_another_default)},
        r"transform.callables\[1\].defaults\[0\]: 2.0 there, 3.0 now",
    ),
    "state of an element": (
        {"transform": elements(Scaled(2.0))},
        {"transform": elements(Scaled(3.0))},
        r"transform.callables\[1\].factor: 2.0 there, 3.0 now",
    ),
    "preprocess": ({"preprocess": scaled(2.0)}, {"preprocess": scaled(3.0)}, "preprocess.factor: 2.0 there"),
    "no preprocess": (
        {"preprocess": None},
        {"preprocess": scaled(3.0)},
        "preprocess: None there, function now",
    ),
    "call": ({"call": called}, {"call": called_twice}, "the code of call differs"),
    "pool": (
        ROWS | {"pool": {"0": iv.Pool("mean", mask="mask")}},
        ROWS | {"pool": {"0": iv.Pool("max", mask="mask")}},
        r"pool\['0'\].kind: 'mean' there, 'max' now",
    ),
    "measures": ({"measures": "nv"}, {"measures": "cka"}, "sums of .*: needed there, absent now"),
    "options": ({"seed": 1, "units": 4}, {"seed": 2, "units": 4}, "seed: 1 there, 2 now"),
    "batch axis": ({"batch_axis": 0}, {"batch_axis": None}, "batch_axis: 0 there, None now"),
}


def built(make: Any) -> nn.Module:
    """Return a network whose weights are the same at each call."""
    torch.manual_seed(0)
    return make()


@pytest.mark.parametrize("what", DIFFERENT)
def test_a_refusal_says_what_differs(what, file):
    *given, message = DIFFERENT[what]
    there, now = (options | {"model": built(options.get("model", net))} for options in given)
    interrupted(file, **there)
    with pytest.raises(ValueError, match=f"belongs to another measurement .*{message}"):
        measured(checkpoint=file, **now)


def test_clusters_are_part_of_the_identity(file):
    clusters = torch.arange(128) // 2
    interrupted(file, clusters=clusters)
    with pytest.raises(ValueError, match=r"data.clusters"):
        measured(checkpoint=file, clusters=torch.cat([clusters[:-1], clusters[:1]]))
    same(measured(checkpoint=file, clusters=clusters), measured(clusters=clusters))


# Passes besides the model's own

RANDOM: dict[str, dict[str, Any]] = {
    "norm": {"measures": [iv.NormalizedVariance(norm="random_net")]},
    "drawn units": {"measures": [iv.NormalizedVariance(norm="random_net")], "units": 8},
    "baseline": {"baseline": "random", "draws": 3},
    "both": {
        "measures": [iv.TransformationVariance(), iv.NormalizedVariance(norm="random_net")],
        "baseline": "random",
        "draws": 2,
        "by_class": True,
    },
}
LABELLED = IMAGES, torch.arange(128) % 3


@pytest.mark.parametrize(
    ("what", "share"),
    [("norm", 0.3), ("norm", 0.9), ("drawn units", 0.9), ("baseline", 0.4), ("both", 0.5), ("both", 0.95)],
)
def test_passes_of_random_networks_are_resumed(what, share, file, forwarded, monkeypatch):
    expected = measured(LABELLED, **RANDOM[what])
    blocks, samples = len(forwarded), sum(forwarded)
    forwarded.clear()
    last = max(2, round(share * blocks))
    original = walk._Loop._block

    def stopping(self, *given):
        if len(forwarded) == last:
            raise KeyboardInterrupt
        original(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(walk._Loop, "_block", stopping)
        with pytest.raises(KeyboardInterrupt):
            measured(LABELLED, checkpoint=file, checkpoint_every=0, **RANDOM[what])
    same(measured(LABELLED, checkpoint=file, **RANDOM[what]), expected)
    assert sum(forwarded) == samples
    assert list(file.parent.iterdir()) == []


def test_passes_of_other_data_or_another_measurement_are_refused(file):
    seen: list[int] = []

    def tick(done, total):
        seen.append(done)
        if done > 300:  # in the third of three passes
            raise KeyboardInterrupt

    given = RANDOM["baseline"]
    with pytest.raises(KeyboardInterrupt):
        measured(checkpoint=file, progress=tick, **given)
    assert file.with_name("sums.passes").exists()
    with pytest.raises(ValueError, match="different data"):
        measured(1 - IMAGES, checkpoint=file, **given)
    with pytest.raises(ValueError, match=r"sums\.passes belongs to another .*seed: 0 there, 1 now"):
        measured(checkpoint=file, seed=1, **given)
    with pytest.raises(ValueError, match="baseline: 'random' there, function now"):
        measured(checkpoint=file, **given | {"baseline": net})
    same(measured(checkpoint=file, **given), measured(**given))


def test_an_error_after_the_walk_loses_no_sums(file, forwarded, monkeypatch):
    noisy = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Dropout(0.5).train())

    def failing(task):
        raise RuntimeError("out of luck")

    options: dict[str, Any] = {"model": noisy, "repeats": 2, "unstable": "measure", "seed": 3}
    with monkeypatch.context() as patch:
        patch.setattr("invariscope.engine.pipeline.chance_values", failing)
        with pytest.raises(RuntimeError, match="out of luck"):
            measured(checkpoint=file, **options)
    assert sum(forwarded) == 128
    result = measured(checkpoint=file, **options)
    assert sum(forwarded) == 128 + 128  # the pass of repeats alone
    assert set(result.table["samples"]) == {128}
    assert not file.exists()


def test_sums_of_a_model_that_turns_out_to_be_unstable_are_not_kept(file, monkeypatch):
    def changed(self):
        raise ValueError("the model's response depends on earlier inputs")

    monkeypatch.setattr("invariscope.engine.extras.audit.Audit.finish", changed)
    with pytest.raises(ValueError, match="earlier inputs"):
        measured(checkpoint=file, checkpoint_every=0)
    assert not file.exists()


def test_a_checkpoint_works_with_interim_looks_and_shards(file):
    looks: dict[str, Any] = {"width": 1e-9, "at_least": 64}
    interrupted(file, 90, **looks)
    same(measured(checkpoint=file, **looks), measured(**looks))
    part: dict[str, Any] = {"shard": (0, 2)}
    own = file.with_name("sums.0-of-2")
    with pytest.raises(Stopped):
        measured(checkpoint=file, progress=after(32), **part)
    assert own.exists()
    found, other = measured(checkpoint=file, **part), measured(shard=(1, 2))
    same(iv.merge(found, other), iv.merge(measured(**part), other))
    assert not own.exists()
