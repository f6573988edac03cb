"""Numbers that transforms, data or `sys.exit` would make wrong are refused, or come with a note."""

from __future__ import annotations

import random
import signal
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler, TensorDataset

import invariscope as iv
from invariscope.cli.references import load_reference
from invariscope.data.contents import Contents
from invariscope.data.sources import as_source
from invariscope.engine.extras.cautions import UNMOVED

pytestmark = pytest.mark.usefixtures("seeded")

X = torch.rand(128, 1, 4, 4, generator=torch.Generator().manual_seed(0))
GENERATOR = random.Random(3)


def measured(transform=None, data=X, model=None, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)) if model is None else model
    given = {"layers": None, "progress": False} | options
    return iv.measure(model, data, iv.QuarterTurns() if transform is None else transform, **given)


def flips(result) -> float:
    return result.table.set_index("measure").value["prediction.flips"]


def notes(result) -> str:
    return " / ".join(result.provenance["notes"])


def own_generator(x):
    return x.flip(-1) if GENERATOR.random() < 0.02 else x


def each_sample(x):
    return torch.stack([row.flip(-1) if random.random() < 0.01 else row for row in x])


def torch_in_large_batches(x):
    return x * (torch.rand(1) < 1.1) if len(x) > 16 else x


def seeded_inside(x):
    return (
        x + torch.rand(4, 4, generator=torch.Generator().manual_seed(0)) * torch.manual_seed(0).initial_seed()
    )


class Changing:
    """Gives other results after some calls."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self, x):
        self.left -= 1
        return x if self.left > 0 else 3 * x


@pytest.mark.parametrize("calls", [9, 12])
def test_an_element_that_changes_after_some_calls_is_refused(calls: int) -> None:
    with pytest.raises(
        ValueError, match=r"'Changing' depends on chance or on earlier calls: after .* samples"
    ):
        measured([torch.clone, Changing(calls)], batch_size=16)


def test_an_element_that_mixes_only_large_batches_is_refused() -> None:
    with pytest.raises(ValueError, match=r"depends on the batch: .* among 128 samples than among 2"):
        measured([torch.clone, lambda x: x - x.mean(0) if len(x) > 16 else x])


def test_an_element_that_draws_only_for_large_batches_is_refused() -> None:
    with pytest.raises(ValueError, match="'#1' depends on chance"):
        measured([torch.clone, lambda x: x * torch.rand(1) if len(x) > 16 else x])


def test_an_element_on_single_samples_that_changes_is_refused() -> None:
    texts = [f"text {k} of some" for k in range(40)]
    left = [60]

    def shouted(text: str) -> str:
        left[0] -= 1
        return text if left[0] > 0 else text.upper()

    def lengths(batch: list[str]) -> torch.Tensor:
        return torch.tensor([[float(len(text)), float(text.isupper())] for text in batch])

    with pytest.raises(ValueError, match="'shouted' depends on chance or on earlier calls"):
        measured([str, shouted], texts, nn.Linear(2, 2), preprocess=lengths, batch_size=8)


@pytest.mark.parametrize(
    ("element", "name"),
    [(own_generator, "their own"), (each_sample, "Python"), (torch_in_large_batches, "torch")],
)
def test_elements_that_draw_without_a_visible_effect_are_noted(element, name: str) -> None:
    assert f"elements of the transform draw random numbers ({name})" in notes(measured([torch.neg, element]))


@pytest.mark.parametrize("element", [torch.clone, seeded_inside])
def test_elements_that_do_not_draw_are_not_noted(element) -> None:
    assert "draw random" not in notes(measured([torch.neg, element]))


def test_the_audit_changes_neither_generators_nor_numbers(monkeypatch) -> None:
    draws = [torch.neg, each_sample]
    random.seed(1)
    audited = measured(draws, batch_size=16)
    monkeypatch.setattr("invariscope.engine.extras.orbit_audit._holds_foreign_code", lambda transform: False)
    random.seed(1)
    assert audited.table["value"].tolist() == measured(draws, batch_size=16).table["value"].tolist()


def test_drawn_seeds_a_generator_that_the_function_names() -> None:
    drawn = iv.Drawn(own_generator, draws=4)
    before = GENERATOR.getstate()
    assert torch.equal(
        drawn.orbit(X), torch.cat([drawn.orbit(X[:50]), drawn.orbit(X[50:], indices=range(50, 128))])
    )
    assert GENERATOR.getstate() == before


@pytest.mark.parametrize(
    ("transform", "data"),
    [
        ([torch.clone, torch.clone], X),
        (iv.Rotation([0, 360]), X),
        (iv.Drawn(lambda x: x * 0.5, draws=3), X),
        (iv.QuarterTurns(), X.mean((2, 3), keepdim=True).expand(128, 1, 4, 4).contiguous()),
    ],
)
def test_elements_that_move_no_sample_show_nothing_about_the_model(transform, data) -> None:
    result = measured(transform, data)
    assert "the elements give equal inputs for all samples: values of 0 show nothing" in notes(result)
    assert [row.caution for row in result.rows] == [UNMOVED] * len(result.rows)


LABELS = {"labels": np.arange(128) % 3}
UNDECLARED = "element 'clone' leaves every sample as it is, but is not declared as the identity"


def test_an_identity_that_is_not_declared_is_noted() -> None:
    plain, flipped = iv.Elements([torch.clone, torch.neg], identity=0), [torch.clone, torch.neg]
    declared, undeclared = (measured(each, measures="prediction", **LABELS) for each in (plain, flipped))
    halved, right = (
        each.table.set_index("measure").value["prediction.flips"] for each in (undeclared, declared)
    )
    assert right > 0
    assert halved == pytest.approx(right / 2, rel=1e-12)
    assert UNDECLARED in notes(undeclared)
    assert "say so: iv.Elements(..., identity=...)" in notes(undeclared)
    assert UNDECLARED not in notes(declared)


@pytest.mark.parametrize(
    "transform", [[torch.neg, torch.abs], iv.Rotation([5, 10]), iv.Translation([(1, 0), (2, 0)])]
)
def test_elements_that_change_some_sample_are_no_identity(transform) -> None:
    still = X.clone()
    still[:127] = still[:127].abs()
    still[127] = -1
    assert "not declared as the identity" not in notes(
        measured(transform, still, measures="prediction", **LABELS)
    )


@pytest.mark.parametrize("measure", ["normalized_variance", "lie_derivative"])
def test_measures_that_do_not_leave_out_the_identity_need_none(measure: str) -> None:
    found = measured([torch.clone, torch.neg], measures=measure)
    assert "not declared as the identity" not in notes(found)


def test_shards_and_structured_samples_find_an_undeclared_identity() -> None:
    def double(sample):
        return {"x": 2 * sample["x"]}

    model, rows = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), [{"x": x} for x in X]
    found = iv.measure(
        model,
        rows,
        [dict, double],
        preprocess=lambda samples: torch.stack([sample["x"] for sample in samples]),
        measures="prediction",
        **LABELS,
        progress=False,
    )
    assert "element 'dict' leaves every sample as it is" in notes(found)
    parts = [
        measured([torch.clone, torch.neg], measures="prediction", **LABELS, shard=(k, 2)) for k in (0, 1)
    ]
    assert UNDECLARED in notes(iv.merge(parts))


class Opaque:
    """A sample whose content no digest covers."""

    __slots__ = ("x",)

    def __init__(self, x) -> None:
        self.x = x


def test_samples_of_unknown_content_are_not_called_unmoved() -> None:
    found = iv.measure(
        nn.Sequential(nn.Flatten(), nn.Linear(16, 3)),
        [Opaque(x) for x in X],
        [lambda sample: Opaque(-sample.x), lambda sample: Opaque(2 * sample.x)],
        preprocess=lambda samples: torch.stack([sample.x for sample in samples]),
        measures="prediction",
        progress=False,
    )
    assert "leaves every sample" not in notes(found)
    assert "equal inputs" not in notes(found)


class Imputing(nn.Module):
    """Takes samples with missing values."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 3)

    def forward(self, x):
        return self.fc(x.flatten(1).nan_to_num())


def test_missing_values_do_not_hide_an_undeclared_identity() -> None:
    missing = X.clone()
    missing[:, 0, 0, 0] = float("nan")
    torch.manual_seed(0)
    found = measured([torch.clone, torch.neg], missing, Imputing(), measures="prediction")
    assert UNDECLARED in notes(found)
    assert "equal inputs" in notes(measured([torch.clone, torch.clone], missing, Imputing()))


def test_one_element_gives_equal_inputs_only_if_it_leaves_all_samples_as_they_are() -> None:
    flipped = measured([torch.neg], measures="prediction")
    assert flips(flipped) > 0
    assert "equal inputs" not in notes(flipped)
    assert "equal inputs" not in notes(measured([torch.neg, torch.neg], measures="prediction"))
    assert "equal inputs" in notes(measured([torch.neg, torch.neg], measures="normalized_variance"))
    assert "equal inputs" in notes(measured([torch.clone], measures="prediction"))
    invariant = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 3))
    kept = measured([lambda x: x.flip(-1)], model=invariant, measures="prediction")
    assert flips(kept) == 0
    assert UNMOVED not in {row.caution for row in kept.rows}


def test_elements_that_change_the_shape_are_refused_where_measures_compare_with_the_sample() -> None:
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 3))
    with pytest.raises(ValueError, match=r"change the shape of a sample from \(1, 4, 4\) to \(1, 2, 2\)"):
        measured([lambda x: x[..., 1:-1, 1:-1]], model=model, measures="prediction")


def test_one_moved_sample_is_enough() -> None:
    still = X.mean((2, 3), keepdim=True).expand(128, 1, 4, 4).clone()
    still[90, 0, 0, 0] += 1
    result = measured(iv.QuarterTurns(), still, batch_size=16)
    assert "equal inputs" not in notes(result)
    assert not any(row.caution == UNMOVED for row in result.rows)


def test_shards_know_whether_any_of_them_moved_a_sample() -> None:
    still = X.mean((2, 3), keepdim=True).expand(128, 1, 4, 4).clone()
    assert "equal inputs" in notes(merged_shards(still))
    still[90, 0, 0, 0] += 1
    assert "equal inputs" not in notes(merged_shards(still))


def merged_shards(data):
    return iv.merge([measured(data=data, shard=(k, 2)) for k in range(2)])


EIGHT = X[:8].repeat(16, 1, 1, 1)
TEXTS = [f"text {k % 8}" for k in range(128)]


def word_lengths(batch: list[str]) -> torch.Tensor:
    return torch.tensor([[float(len(text)), float(text[-1] == "!")] for text in batch])


@pytest.mark.parametrize(
    "data",
    [
        EIGHT,
        TensorDataset(EIGHT),
        torch.utils.data.Subset(TensorDataset(EIGHT), range(128)),
        DataLoader(TensorDataset(EIGHT), batch_size=30),
        DataLoader(TensorDataset(X[:8]), batch_size=32, sampler=RandomSampler(range(8), True, 128)),
    ],
)
def test_repeated_samples_are_counted_in_every_form_of_data(data) -> None:
    assert "only 8 of 128 samples are distinct" in notes(measured(data=data))


def test_repeated_texts_are_counted() -> None:
    found = measured([str, "{}!".format], TEXTS, nn.Linear(2, 2), preprocess=word_lengths)
    assert "only 8 of 128 samples are distinct" in notes(found)


def test_repeated_samples_are_counted_over_all_shards_and_in_subsets() -> None:
    assert "only 8 of 128 samples are distinct" in notes(merged_shards(EIGHT))
    dataset = torch.utils.data.Subset(TensorDataset(EIGHT), range(128))
    assert "only 8 of 128 samples are distinct" in notes(merged_shards(dataset))
    assert "of 64 samples are distinct" in notes(measured(data=EIGHT, samples=64))


def test_clusters_of_equal_samples_need_no_note_and_widen_the_intervals() -> None:
    plain, clustered = measured(data=EIGHT), measured(data=EIGHT, clusters=np.tile(np.arange(8), 16))
    assert "distinct" not in notes(clustered)
    assert np.isfinite(plain.table["ci_low"]).all()
    assert np.isnan(clustered.table["ci_low"]).all()  # eight clusters are too few for an interval


@pytest.mark.parametrize("repeats", [0, 3])
def test_different_samples_and_a_few_repeated_ones_need_no_note(repeats: int) -> None:
    data = X.clone()
    data[:repeats] = data[50 : 50 + repeats]
    assert "distinct" not in notes(measured(data=data))


def test_opaque_samples_of_one_type_do_not_count_as_equal() -> None:
    class Molecule:
        __slots__ = ("size",)

        def __init__(self, size: float) -> None:
            self.size = size

    def sizes(batch):
        return torch.tensor([[molecule.size, 1.0] for molecule in batch])

    data = [Molecule(float(k)) for k in range(20)]
    doubled = lambda molecule: Molecule(2 * molecule.size)  # noqa: E731
    found = measured([lambda molecule: molecule, doubled], data, nn.Linear(2, 2), preprocess=sizes)
    assert "distinct" not in notes(found)
    assert "equal inputs" not in notes(found)


class Other(Dataset):
    """Gives other samples at every access."""

    def __init__(self, steady: bool = False) -> None:
        self.steady, self.generator = steady, torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return 128

    def __getitem__(self, place: int):
        return X[place] if self.steady else torch.rand(1, 4, 4, generator=self.generator)


AGAIN = [
    {"repeats": 2},
    {"baseline": "random", "draws": 2},
    {"measures": ["goodfellow"]},
    {"measures": ["normalized_variance", "information"]},
]


@pytest.mark.parametrize("options", AGAIN)
def test_data_that_differ_when_they_are_read_again_are_noted(options) -> None:
    assert "the data differed when they were read again" in notes(measured(data=Other(), **options))


@pytest.mark.parametrize("options", AGAIN)
def test_data_that_come_in_another_order_are_the_same(options) -> None:
    shuffled = DataLoader(TensorDataset(X), batch_size=32, shuffle=True)
    for data in (Other(steady=True), shuffled, X):
        assert "read again" not in notes(measured(data=data, **options))


def test_a_stream_of_other_samples_is_noted() -> None:
    class Growing:
        passes = 0

        def __iter__(self):
            self.passes += 1
            return (X[k : k + 32] * self.passes for k in range(0, 128, 32))

    assert "read again, in 128 samples" in notes(measured(data=Growing(), repeats=2))


def test_a_walk_that_ended_early_is_compared_on_what_it_read() -> None:
    def contents(data, stop=128, *, ordered=True):
        found = Contents(ordered=ordered)
        for window in as_source(data).windows():
            found.add(window.part(0, stop))
        return found

    dataset = torch.utils.data.Subset(TensorDataset(X), range(128))
    assert contents(dataset, 40).changed(contents(dataset)) == 0
    stream, turned = [X[:64], X[64:]], [X.flip(0)]
    assert contents(stream, 40, ordered=False).changed(contents(turned, ordered=False)) == 0
    assert contents([X + 1], 40, ordered=False).changed(contents(stream, ordered=False)) == 40


class Hidden(nn.Module):
    def forward(self, x):
        return torch.nan_to_num(x.flatten(1))


def test_missing_values_that_the_model_hides_are_counted() -> None:
    data = X.clone()
    data[[3, 50], 0, 0, 0] = float("nan")
    assert "2 of 128 samples have NaN in their inputs" in notes(measured(data=data, model=Hidden()))
    assert "2 of 128 samples have NaN in their inputs" in notes(
        iv.merge([measured(data=data, model=Hidden(), shard=(k, 2)) for k in range(2)])
    )


def test_infinite_inputs_may_be_masks() -> None:
    data = X.clone()
    data[3, 0, 0, :2] = torch.tensor([float("inf"), float("-inf")])
    assert "NaN" not in notes(measured(data=data, model=Hidden()))


def test_missing_values_in_fields_are_counted() -> None:
    data = [{"x": torch.full((4,), float("nan") if k == 5 else k)} for k in range(20)]
    flipped = iv.On(iv.Elements([torch.clone, torch.neg]), x="value")
    found = measured(flipped, data, Hidden(), call=lambda model, batch: model(batch["x"]))
    assert "1 of 20 samples have NaN" in notes(found)


class Long(Dataset):
    """Has fewer samples than it says."""

    def __len__(self) -> int:
        return 128

    def __getitem__(self, place: int):
        if place >= 100:
            raise IndexError
        return X[place]


def test_a_dataset_that_is_shorter_than_it_says_names_the_sample() -> None:
    with pytest.raises(ValueError, match=r"sample 1\d\d of 128 of the Long cannot be read: IndexError\. Let"):
        measured(data=Long())
    with pytest.raises(ValueError, match=r"batch 3 of the data cannot be read: IndexError\. Let"):
        measured(data=DataLoader(Long(), batch_size=32))


def ends(*_):
    sys.exit(0)


class Ending(nn.Module):
    def forward(self, x):
        return ends(x)


class EndingData(Long):
    def __getitem__(self, place: int):
        return ends(place)


@pytest.mark.parametrize(
    "options",
    [
        {"model": Ending()},
        {"data": EndingData()},
        {"data": DataLoader(EndingData())},
        {"transform": [torch.clone, ends]},
        {"preprocess": ends},
    ],
)
def test_sys_exit_in_the_code_of_a_user_is_an_error(options) -> None:
    with pytest.raises(ValueError, match=r"'ends' \(.*, line \d+\) called sys.exit\(0\), which would end"):
        measured(**options)


@pytest.mark.parametrize("code", ["import sys; sys.exit(0)", "def make(): raise SystemExit(0)"])
def test_sys_exit_in_the_file_of_a_model_is_an_error(tmp_path, code: str) -> None:
    (tmp_path / "ending.py").write_text(code)
    with pytest.raises(ValueError, match=r"ending.py, line 1\) called sys.exit\(0\), which would end"):
        load_reference(f"{tmp_path / 'ending.py'}:make")


def test_the_handler_of_a_signal_may_end_the_process() -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: sys.exit(143))
    try:
        with pytest.raises(SystemExit, match="143"):
            measured(progress=lambda done, total: signal.raise_signal(signal.SIGUSR1))
    finally:
        signal.signal(signal.SIGUSR1, before)
