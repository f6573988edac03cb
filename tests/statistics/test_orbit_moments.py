"""The sums against NumPy's own variances in float64, for any partition."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from invariscope.block import Block, Membership
from invariscope.statistics.errors import NonFiniteError
from invariscope.statistics.moments import orbit_moments
from invariscope.statistics.moments.orbit_moments import OrbitMoments
from invariscope.statistics.moments.references import References


def block_of(activations, *, buckets=None, element_major=False, first=0):
    """A block of (sample, element, unit...) activations in either memory order."""
    samples, elements = activations.shape[:2]
    values = torch.as_tensor(activations)
    if element_major:
        values, steps = values.transpose(0, 1).flatten(0, 1).contiguous(), (1, samples)
    else:
        values, steps = values.flatten(0, 1).contiguous(), (elements, 1)
    return Block(
        values=values,
        samples=samples,
        elements=elements,
        sample_step=steps[0],
        element_step=steps[1],
        membership=Membership(np.reshape([0] * samples if buckets is None else buckets, (samples, -1))),
        indices=np.arange(first, first + samples),
    )


def accumulated(spec, activations, parts, *, buckets=None, count=1, **options):
    """The state after blocks cut at `parts`."""
    state, edges = None, [0, *parts, len(activations)]
    for lo, hi in itertools.pairwise(edges):
        if lo == hi:
            continue
        part = None if buckets is None else buckets[lo:hi]
        block = block_of(activations[lo:hi], buckets=part, first=lo, **options)
        state = spec.init(block, buckets=count) if state is None else state
        spec.update(state, block)
    return state


def brute(activations):
    wide = activations.astype(np.float64)
    return wide.var(axis=1, ddof=1).mean(axis=0), wide.var(axis=0, ddof=1).mean(axis=0)


def assert_close(found, expected, tolerance):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("invariance", [1.0, 1e-2, 1e-6])
@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4])
@pytest.mark.parametrize("elements", [2, 5, 16])
def test_variances_equal_brute_force_down_to_tiny_ratios_and_at_large_offsets(
    dtype, invariance, offset, elements
):
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(100, 1, 37)) + offset
    activations = (samples + invariance**0.5 * rng.normal(size=(100, elements, 37))).astype(dtype)
    moments = OrbitMoments().finalize(accumulated(OrbitMoments(), activations, [7, 50]), [[0]])
    tv, sv = brute(activations)
    tolerance = 1e-6 if dtype == np.float32 else 1e-12
    # At an offset of 1e4 deviations, NumPy's own two-pass variance is also accurate to about 1e-12.
    tolerance *= 10 if dtype == np.float64 and offset == 1e4 else 1
    assert_close(moments.transformation_variance[0], tv, tolerance)
    assert_close(moments.sample_variance[0], sv, tolerance)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_partition_order_of_memory_and_merge_gives_the_same_moments(data):
    samples, elements = data.draw(st.integers(2, 70)), data.draw(st.integers(2, 9))
    units, seed = data.draw(st.integers(1, 9)), data.draw(st.integers(0, 999))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    spread = data.draw(st.sampled_from(orbit_moments.SPREADS))
    cuts = sorted(data.draw(st.lists(st.integers(0, samples), max_size=4)))
    split = data.draw(st.integers(1, samples - 1)) if samples > 1 else 1
    major = data.draw(st.booleans())
    activations = (10 ** np.random.default_rng(seed).uniform(-3, 3, units)) * np.random.default_rng(
        seed
    ).normal(size=(samples, elements, units))
    activations = activations.astype(dtype)
    spec = OrbitMoments(spread)
    inside = [cut for cut in cuts if cut < split], [cut - split for cut in cuts if cut > split]
    first = accumulated(spec, activations[:split], inside[0], element_major=major)
    second = accumulated(spec, activations[split:], inside[1])
    moments = spec.finalize(spec.merge(first, second), [[0]])
    tv, sv = brute(activations)
    tolerance = 1e-6 if dtype == np.float32 else 1e-12
    assert_close(moments.transformation_variance[0], tv, tolerance)
    assert_close(moments.sample_variance[0], sv, tolerance)
    wide = activations.astype(np.float64)
    assert_close(moments.total_variance[0], wide.reshape(-1, units).var(axis=0, ddof=1), tolerance)
    if spread == "std":
        assert_close(moments.transformation_deviation[0], wide.std(axis=1, ddof=1).mean(axis=0), tolerance)
        assert_close(moments.sample_deviation[0], wide.std(axis=0, ddof=1).mean(axis=0), tolerance)


def test_merging_is_associative_and_leaves_its_arguments_alone():
    rng, spec = np.random.default_rng(1), OrbitMoments("std")
    parts = [rng.normal(size=(k, 4, 6)).astype(np.float32) + 3 for k in (3, 9, 40)]
    a, b, c = (accumulated(spec, part, []) for part in parts)
    left = spec.finalize(spec.merge(spec.merge(a, b), c), [[0]])
    right = spec.finalize(spec.merge(a, spec.merge(b, c)), [[0]])
    for field in ("transformation_variance", "sample_variance", "element_variance", "sample_deviation"):
        assert_close(getattr(left, field), getattr(right, field), 1e-12)
    assert a.counts.tolist() == [3]
    assert_close(spec.finalize(a, [[0]]).sample_variance[0], brute(parts[0])[1], 1e-6)


def test_the_merge_law_check_rejects_a_merge_that_forgets_the_reference():
    rng, spec = np.random.default_rng(1), OrbitMoments()
    parts = [rng.normal(size=(k, 4, 6)) for k in (3, 9)]
    a, b = (accumulated(spec, part, []) for part in parts)
    forgetful = spec.merge(a, replace(b, references=a.references))
    with pytest.raises(AssertionError):
        assert_close(
            spec.finalize(forgetful, [[0]]).sample_variance[0], brute(np.concatenate(parts))[1], 1e-6
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_leaving_a_group_out_equals_never_having_seen_it(dtype):
    rng, spec = np.random.default_rng(2), OrbitMoments("std")
    activations = rng.normal(2.0, size=(60, 5, 7)).astype(dtype)
    buckets = np.sort(rng.integers(0, 4, 60))
    moments = spec.finalize(
        accumulated(spec, activations, [9, 31], buckets=buckets, count=4), [[0], [1], [2], [3]]
    )
    assert moments.samples.ravel().tolist() == [60, *(60 - np.bincount(buckets)).tolist()]
    for group in range(4):
        rest = activations[buckets != group]
        tv, sv = brute(rest)
        tolerance = 1e-6 if dtype == np.float32 else 1e-12
        assert_close(moments.transformation_variance[1 + group], tv, tolerance)
        assert_close(moments.sample_variance[1 + group], sv, tolerance)
        means = rest.astype(float).mean(axis=0).var(axis=0, ddof=1)
        assert_close(moments.element_variance[1 + group], means, 1e-5 if dtype == np.float32 else 1e-10)


def test_strata_are_the_merge_of_their_groups():
    rng, spec = np.random.default_rng(3), OrbitMoments()
    activations = rng.normal(size=(50, 3, 4))
    buckets = np.sort(rng.integers(0, 6, 50))  # strata 0 and 1, three groups each
    state = accumulated(spec, activations, [20], buckets=buckets, count=6)
    second = spec.finalize(state, [[3], [4], [5]])
    assert_close(second.sample_variance[0], brute(activations[buckets >= 3])[1], 1e-12)
    whole = spec.finalize(state, [[0, 3], [1, 4], [2, 5]])
    assert_close(whole.sample_variance[0], brute(activations)[1], 1e-12)
    assert_close(whole.sample_variance[1], brute(activations[buckets % 3 != 0])[1], 1e-12)


@pytest.mark.parametrize("element_major", [False, True])
def test_channels_last_activations_come_back_in_the_layers_own_shape(element_major):
    activations = np.random.default_rng(4).normal(size=(6, 3, 5, 4, 2)).astype(np.float32)
    block = block_of(activations, element_major=element_major)
    block = replace(block, values=block.values.contiguous(memory_format=torch.channels_last))
    spec = OrbitMoments()
    state = spec.init(block, buckets=1)
    spec.update(state, block)
    assert state.channels_last
    assert_close(spec.finalize(state, [[0]]).transformation_variance[0], brute(activations)[0], 1e-6)


@pytest.mark.parametrize("collapse", ["before_mean", "before_max", "before_sum"])
def test_collapsing_feature_maps_comes_before_any_variance(collapse):
    activations = np.random.default_rng(5).normal(size=(9, 4, 3, 2, 2))
    spec = OrbitMoments(collapse=collapse)
    moments = spec.finalize(accumulated(spec, activations, [4]), [[0]])
    pooled = getattr(activations, collapse.removeprefix("before_"))(axis=(3, 4))
    assert moments.transformation_variance.shape == (1, 3)
    assert_close(moments.sample_variance[0], brute(pooled)[1], 1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_single_non_finite_response_is_noticed(bad):
    activations = np.random.default_rng(6).normal(size=(5, 3, 1000)).astype(np.float32)
    activations[3, 2, 777] = bad
    with pytest.raises(NonFiniteError):
        accumulated(OrbitMoments(), activations, [])


def test_samples_count_as_unusual_if_they_differ_from_the_usual_response_at_any_element():
    activations = np.zeros((9, 3, 3))
    activations[6, 2, 0] = 5.0
    activations[7, 0, 0] = -1.0
    activations[:, :, 1] = [7.0, 8.0, 9.0]  # the same for all samples
    activations[:, :, 2] = 0.25  # at its bias, but for one sample that moves it back and forth
    activations[8, :, 2] += [0.0, 1.0, -1.0]
    moments = OrbitMoments().finalize(accumulated(OrbitMoments(), activations, [2]), [[0]])
    assert moments.unusual.tolist() == [2, 0, 1]


def test_the_tensor_version_for_other_devices_equals_the_kernel():
    activations = np.random.default_rng(7).normal(1e3, size=(20, 6, 70)).astype(np.float32)
    spec, block = OrbitMoments(), block_of(activations)
    state = spec.init(block, buckets=1)
    state.move_to(torch.device("cpu"))
    spec.update(state, block)
    moments = spec.finalize(state, [[0]])
    expected = spec.finalize(accumulated(spec, activations, []), [[0]])
    for field in ("transformation_variance", "sample_variance", "unusual"):
        assert_close(getattr(moments, field), getattr(expected, field), 1e-6)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_restarted_state_counts_like_one_that_began_with_the_first_samples(elsewhere):
    activations = np.zeros((40, 3, 2))
    activations[20:32] = [1.0, 2.0]  # what later samples usually give is not what the first ones gave
    activations[::7] += 0.5
    spec, block = OrbitMoments(), block_of(activations[:5])
    first = spec.init(block, buckets=1)
    if elsewhere:
        first.move_to(torch.device("cpu"))
    spec.update(first, block)
    later = spec.restarted(first)
    assert later.counts.tolist() == [0]
    later = spec.unpack(spec.pack(later))
    spec.update(later, block_of(activations[20:], first=20))
    merged = spec.merge(accumulated(spec, activations[:20], []), later)
    expected = spec.finalize(accumulated(spec, activations, []), [[0]])
    found = spec.finalize(merged, [[0]])
    assert found.unusual.tolist() == expected.unusual.tolist() == [16, 16]
    assert_close(found.sample_variance, expected.sample_variance, 1e-12)
    alone = accumulated(spec, activations[20:], [])
    apart = spec.merge(accumulated(spec, activations[:20], []), alone)
    assert spec.finalize(apart, [[0]]).unusual.tolist() == [23, 23]


def test_windows_weigh_samples_as_the_2019_code_walked_them():
    ranks, sizes = np.arange(200), np.full(200, 200)
    weights = orbit_moments.SELECTIONS["windows"](ranks, sizes)
    walked = np.zeros(200, int)
    for start in range(200 // 64):
        walked[start : start + 64] += 1
    assert weights.tolist() == walked.tolist()
    assert orbit_moments.SELECTIONS["whole_batches"](ranks, sizes).sum() == 192


def test_a_selection_counts_samples_as_often_as_it_says():
    activations = np.random.default_rng(8).normal(size=(130, 3, 4))
    spec = OrbitMoments(selection="windows")
    block = replace(block_of(activations), positions=np.arange(130), sizes=np.full(130, 130))
    state = spec.init(block, buckets=1)
    spec.update(state, block)
    weights = orbit_moments.SELECTIONS["windows"](block.positions, block.sizes)
    expected = np.average(activations.var(axis=1, ddof=1), axis=0, weights=weights)
    assert_close(spec.finalize(state, [[0]]).transformation_variance[0], expected, 1e-12)


def test_specifications_with_equal_options_are_one_statistic():
    assert OrbitMoments() == OrbitMoments()
    assert len({OrbitMoments(), OrbitMoments(), OrbitMoments("std")}) == 2
    assert dataclasses.is_dataclass(OrbitMoments())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("samples", [2, 20, 300])
def test_what_the_transformation_does_to_all_samples_alike_is_not_variance_across_samples(dtype, samples):
    alike = np.random.default_rng(0).normal(size=(1, 7, 5))
    activations = np.repeat(alike, samples, axis=0).astype(dtype)
    moments = OrbitMoments("std").finalize(
        accumulated(OrbitMoments("std"), activations, [samples // 2]), [[0]]
    )
    assert (moments.sample_variance == 0).all()
    assert (moments.sample_deviation == 0).all()
    assert (moments.transformation_variance > 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ratio", [1e2, 1e4, 1e6])
def test_large_ratios_are_as_exact_as_small_ones(dtype, ratio):
    rng = np.random.default_rng(0)
    alike = ratio**0.5 * rng.normal(size=(1, 8, 9))
    activations = (alike + rng.normal(size=(90, 8, 9))).astype(dtype)
    moments = OrbitMoments().finalize(accumulated(OrbitMoments(), activations, [1, 30]), [[0]])
    assert_close(moments.sample_variance[0], brute(activations)[1], 1e-6 if dtype == np.float32 else 1e-12)


def test_a_first_sample_far_from_all_others_costs_no_accuracy():
    activations = np.random.default_rng(0).normal(size=(400, 4, 6)).astype(np.float32)
    activations[0] += 1e3
    moments = OrbitMoments().finalize(accumulated(OrbitMoments(), activations, [1]), [[0]])
    assert_close(moments.sample_variance[0], brute(activations)[1], 1e-6)


def test_clusters_are_counted_once_however_many_of_their_samples_differ():
    activations = np.zeros((16, 3, 2))
    activations[4:8, 1, 0] = 1.0  # all of cluster 1
    activations[[9, 13], 2, 0] = 1.0  # one of each of clusters 2 and 3
    activations[:, :, 1] = np.random.default_rng(0).normal(size=(16, 3))
    states = []
    for clusters in (np.repeat(np.arange(4), 4), None):
        block = replace(block_of(activations), clusters=clusters)
        states.append(OrbitMoments().init(block, buckets=1))
        OrbitMoments().update(states[-1], block)
    clustered, single = (OrbitMoments().finalize(state, [[0]]) for state in states)
    assert clustered.clusters == 4
    assert clustered.unusual.tolist() == [3, 4]
    assert (single.clusters, single.unusual[0]) == (16, 6)
    each = activations.var(axis=1, ddof=0).sum(axis=1) * 3
    parts = each.reshape(4, 4).sum(axis=1)
    assert_close(clustered.decisive, [4, parts.sum(), (parts**2).sum()], 1e-12)
    assert_close(single.decisive, [16, each.sum(), (each**2).sum()], 1e-12)


def test_samples_that_wait_for_a_reference_are_counted_and_change_nothing_later():
    rng, spec = np.random.default_rng(0), OrbitMoments("std")
    activations = 1e3 + rng.normal(size=(12, 4, 6))
    asked, quiet = (spec.init(block_of(activations[:1]), buckets=1) for _ in range(2))
    for lo, hi in ((0, 3), (3, 4), (4, 12)):
        for state in (asked, quiet):
            spec.update(state, block_of(activations[lo:hi]))
        early = spec.finalize(asked, [[0]])
        if hi == 4:
            assert 0 in asked.waiting
            assert early.samples.item() == 4
            assert_close(early.sample_variance[0], brute(activations[:4])[1], 1e-12)
            asked = spec.unpack({name: np.array(part) for name, part in spec.pack(asked).items()})
    for one, other in zip(asked.sums.arrays().values(), quiet.sums.arrays().values(), strict=True):
        assert (one == other).all()
    assert (asked.references.pivot == quiet.references.pivot).all()


@pytest.mark.parametrize("sizes", [(2, 2), (3, 4), (2, 30), (30, 3), (9, 9)])
def test_states_that_still_wait_are_merged_like_any_other(sizes):
    rng, spec = np.random.default_rng(0), OrbitMoments("std")
    parts = [1e3 + rng.normal(size=(n, 4, 6)) for n in sizes]
    for part in parts:
        part[:, :, 0] = 0.25
    parts[0][1, 2, 0] = 1.0
    states = [accumulated(spec, part, []) for part in parts]
    before = [spec.finalize(state, [[0]]).sample_variance for state in states]
    found = spec.finalize(spec.merge(*states), [[0]])
    assert_close(found.sample_variance[0], brute(np.concatenate(parts))[1], 1e-12)
    assert found.samples.item() == sum(sizes)
    assert found.unusual[0] == 1
    after = [spec.finalize(state, [[0]]).sample_variance for state in states]
    assert all((one == other).all() for one, other in zip(before, after, strict=True))


def test_the_reference_is_the_lower_median_of_the_first_five_samples():
    activations = np.random.default_rng(0).normal(size=(9, 3, 40))
    for count in (1, 2, 3, 4, 5, 9):
        state = accumulated(OrbitMoments(), activations[:count], [])
        OrbitMoments().finalize(state, [[0]])
        few = np.sort(activations[: min(count, 5)], axis=0)
        assert (state.references.pivot[0] == few[(len(few) - 1) // 2]).all()


def test_references_on_another_device_are_those_of_the_host():
    orbits = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 3, 40)))
    orbits[1:4, :, :20] = 0.5
    host, device = (References.empty(1, 3, 40, np.dtype(np.float64)) for _ in range(2))
    device = device.on(torch.device("cpu"))
    for references in (host, device):
        references.take(np.zeros(1, int), orbits.flatten(0, 1), np.arange(5)[None] * 3, 1, double=True)
    assert (host.pivot == device.pivot.numpy()).all()
    np.testing.assert_allclose(host.usual, device.usual.numpy(), rtol=1e-12)


def test_a_layer_of_another_width_is_refused_by_name():
    spec, activations = OrbitMoments(), np.ones((6, 4, 40))
    state = accumulated(spec, activations, [])
    with pytest.raises(ValueError, match=r"'keep' returned shape \(4,\).* \(40,\)"):
        spec.update(state, replace(block_of(activations[..., :4]), layer="keep"))
