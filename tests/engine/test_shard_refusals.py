"""What cannot be measured in shards, or does not belong together, is refused with what to do."""

import numpy as np
import pytest
import torch
from shard_cases import Images, assert_same, images, measured, network
from torch import nn

import invariscope as iv
from invariscope.common.sealing import read_sealed_json, write_sealed_json
from invariscope.data.sources import as_source
from invariscope.engine.sharding.processes import launched
from invariscope.engine.sharding.shards import as_shard


@pytest.fixture(scope="module")
def parts():
    return [measured(images(), shard=(k, 3)) for k in range(3)]


def other(**options):
    """The second of three shards, measured otherwise."""
    data = options.pop("data", images())
    return measured(data, options.pop("measures", ("normalized_variance",)), shard=(1, 3), **options)


def test_a_shard_says_what_it_is_and_cannot_be_mistaken_for_a_result(parts, tmp_path):
    part = parts[1]
    assert repr(part) == (
        "<shard 1 of 3 (20 of 61 samples) of Small; iv.merge([...]) joins the shards to one result>"
    )
    assert part.rows == ()
    assert "iv.merge([folder, ...])" in part._repr_html_()
    for use in (
        lambda: part.table,
        lambda: part.curves,
        lambda: part.maps,
        lambda: part.report(tmp_path / "report.html"),
        lambda: part.plot("layer_profile"),
        lambda: part.overall(),
        lambda: iv.compare(part, part),
    ):
        with pytest.raises(ValueError, match=r"shard 1 of 3 .*iv.merge\(\[folder, ...\]\)"):
            use()
    part.save(tmp_path / "shard")
    with pytest.raises(ValueError, match=r"no result.json in .*: this is shard 1 of 3"):
        iv.load(tmp_path / "shard")


def test_a_missing_doubled_or_surplus_shard_is_named(parts):
    with pytest.raises(ValueError, match="shard 1 of 3 is missing"):
        iv.merge(parts[0], parts[2])
    with pytest.raises(ValueError, match="shards 0, 2 of 3 are missing"):
        iv.merge([parts[1]])
    with pytest.raises(ValueError, match="shard 2 of 3 is given 2 times"):
        iv.merge([*parts, parts[2]])
    with pytest.raises(ValueError, match="measurements with 2, 3 shards"):
        iv.merge([*parts, measured(images(), shard=(0, 2))])
    with pytest.raises(ValueError, match="no shards given"):
        iv.merge([])


@pytest.mark.parametrize(
    ("different", "options"),
    [
        ("seeds", {"seed": 1}),
        ("data", {"data": images(64)}),
        ("data", {"data": (images()[0] + 1, images()[1])}),
        ("models", {"model": network().requires_grad_(False).train().eval().to(torch.float64)}),
        ("transforms", {"transform": iv.Rotation.circle(4)}),
        ("measures", {"measures": ("transformation_variance",)}),
        ("options", {"intervals": False}),
        ("layers", {"layers": "conv"}),
    ],
)
def test_a_shard_of_another_measurement_is_named(parts, different, options):
    if different == "models":
        options["model"].fc.bias.data += 1
    with pytest.raises(ValueError, match=f"shard 1 does not fit shard 0: their {different} differ"):
        iv.merge(parts[0], other(**options), parts[2])


def test_a_shard_of_another_version_is_named(parts, tmp_path):
    folder = parts[1].save(tmp_path / "old")
    saved = read_sealed_json(folder / "shard.json", newest=2, what="a shard").document
    saved["document"]["identity"]["versions"] = "0.0.1"
    write_sealed_json(folder / "shard.json", saved)
    with pytest.raises(ValueError, match=r"shard 1 .* their versions differ \(.* and 0.0.1\)"):
        iv.merge(parts[0], folder, parts[2])


def test_batch_sizes_may_differ(parts):
    found = iv.merge(parts[0], other(batch_size=8), parts[2])
    np.testing.assert_allclose(found.table["value"], iv.merge(parts).table["value"], rtol=1e-12)


def test_different_class_names_are_refused():
    x, y = images()
    named = {"measures": ("prediction",), "by_class": True}
    first = measured((x, y), shard=(0, 2), classes=["cat", "dog", "emu"], **named)
    second = measured((x, y), shard=(1, 2), classes=["emu", "dog", "cat"], **named)
    with pytest.raises(ValueError, match=r"options differ|classes="):
        iv.merge(first, second)


def test_damaged_folders_are_refused(parts, tmp_path):
    folder = parts[1].save(tmp_path / "damaged")
    (folder / "sums.safetensors").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"sums\.safetensors is truncated, damaged or not"):
        iv.merge(parts[0], folder, parts[2])
    with pytest.raises(FileNotFoundError, match=r"no shard.json in"):
        iv.merge([tmp_path])
    with pytest.raises(ValueError, match="is no shard but a complete result"):
        iv.merge(measured(images()))
    with pytest.raises(TypeError, match="merge takes folders or results of shards; got int"):
        iv.merge(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0.1}, "width= looks at the intervals of all samples"),
        ({"baseline": "random"}, "baseline= measures random networks"),
        ({"repeats": 2}, "repeats= walks all samples a second time"),
        ({"nonfinite": "skip"}, "nonfinite='skip' lets samples decide"),
        ({"measures": iv.NormalizedVariance(preset="quiroga2019")}, "the file's own order"),
        ({"measures": iv.NormalizedVariance(norm="random_net")}, "random network on all samples"),
        (
            {"measures": iv.EquivarianceDeviation(feature_action=iv.MatrixAction("vector", axis=0))},
            "hold objects.* torchrun",
        ),
        ({"shard": (3, 3)}, "with k from 0 to K - 1"),
        ({"shard": (0, 31)}, "61 samples cannot be divided into 31 shards, .* use at most 30"),
        ({"shard": 3}, r"shard must be \(k, K\)"),
        ({"shard": "three"}, "'slurm' inside a SLURM array; got 'three'"),
        ({"shard": "slurm"}, "needs the variables SLURM_ARRAY_TASK_ID"),
    ],
)
def test_what_shards_cannot_do_is_refused_at_the_start(options, message, monkeypatch):
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    with pytest.raises(ValueError, match=message):
        measured(images(), **({"shard": (0, 2)} | options))


def test_streams_are_refused():
    x, y = images()
    loader = torch.utils.data.DataLoader(Images(x, y), batch_size=16)
    for stream in (loader, [x[:30], x[30:]]):
        with pytest.raises(ValueError, match="a stream cannot be divided among processes"):
            measured(stream, shard=(0, 2))
    with pytest.raises(ValueError, match="a stream cannot be divided among processes"):
        measured(loader, shard=(0, 2), samples=40)


def test_a_distributed_sampler_is_refused():
    dataset = Images(*images())
    sampler = torch.utils.data.DistributedSampler(dataset, num_replicas=2, rank=0)
    with pytest.raises(ValueError, match=r"DistributedSampler repeats samples"):
        measured(torch.utils.data.DataLoader(dataset, sampler=sampler, batch_size=16))


def test_an_action_that_no_digest_covers_is_refused():
    class Unseen:
        def __reduce_ex__(self, protocol):
            raise TypeError("no")

        def __call__(self, x):
            return x

    with pytest.raises(ValueError, match="shard= needs a fingerprint"):
        measured(images(), transform=[Unseen(), torch.neg], shard=(0, 2))


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"TASK_ID": "3", "TASK_COUNT": "16", "TASK_MIN": "0"}, (3, 16)),
        ({"TASK_ID": "3", "TASK_COUNT": "16", "TASK_MIN": "1"}, (2, 16)),
        ({"TASK_ID": "30", "TASK_COUNT": "4", "TASK_MIN": "10", "TASK_STEP": "10"}, (2, 4)),
    ],
)
def test_slurm_arrays_may_start_anywhere(variables, expected, monkeypatch):
    for name in ("TASK_ID", "TASK_COUNT", "TASK_MIN", "TASK_STEP"):
        monkeypatch.delenv(f"SLURM_ARRAY_{name}", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_ARRAY_{name}", value)
    assert as_shard("slurm") == expected


def test_a_slurm_variable_that_is_no_integer_is_named(monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "abc")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "3")
    with pytest.raises(ValueError, match="SLURM_ARRAY_TASK_ID is 'abc', not an integer"):
        as_shard("slurm")


@pytest.mark.parametrize(
    ("variables", "message"),
    [(("9", "2"), "ranks are from 0 to 1"), (("x", "2"), "RANK is 'x', not an integer")],
)
def test_impossible_ranks_are_refused_at_once(variables, message, monkeypatch):
    for name, value in zip(("RANK", "WORLD_SIZE"), variables, strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "1")
    with pytest.raises(ValueError, match=message):
        launched()


def test_slurm_arrays_with_gaps_are_refused(monkeypatch):
    for name, value in {"TASK_ID": "9", "TASK_COUNT": "3", "TASK_MIN": "1", "TASK_STEP": "1"}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_{name}", value)
    with pytest.raises(ValueError, match="an array without gaps"):
        as_shard("slurm")


class Sometimes(nn.Module):
    """Skips a layer for batches with a marked input."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.always, self.rarely = nn.Flatten(), nn.Linear(64, 3).double()

    def forward(self, x):
        flat = self.always(x)
        return flat[:, :3] if bool((x > 5).any()) else self.rarely(flat)


def test_a_layer_that_one_shard_leaves_out_is_left_out_of_the_whole():
    x, y = images()
    ids = np.arange(len(x))
    marked = as_source((x, y), ids=ids).order.walk[47]  # in the second shard, and not in the initial check
    x[marked, 0, 0, 0] = 9
    options = {"model": Sometimes().eval(), "ids": ids, "unstable": "measure"}
    parts = [measured((x, y), shard=(k, 2), **options) for k in (0, 1)]
    assert [len(part.shard.document["withdrawn"]) for part in parts] == [0, 1]
    found, expected = iv.merge(parts), measured((x, y), **options)
    assert {row.layer for row in found.rows} == {"always"}
    assert found.provenance["skipped"] == expected.provenance["skipped"]
    assert_same(found, expected)


@pytest.mark.parametrize(("measure", "name"), [("goodfellow", "facts.bounds"), ("information", "bins.edges")])
def test_thresholds_and_bins_from_another_memory_budget_are_refused(measure, name):
    parts = [measured(images(), measure, shard=(k, 2)) for k in (0, 1)]
    number = next(own for own in parts[1].shard.arrays if own.endswith(f"/{name}"))
    parts[1].shard.arrays[number][:] *= 1.5
    with pytest.raises(ValueError, match="different thresholds or bins of layer"):
        iv.merge(parts)
