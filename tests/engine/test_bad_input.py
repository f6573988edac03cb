"""Wrong input is answered with what is wrong, what came, and what to do; the model is left as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import invariscope as iv

pytestmark = pytest.mark.usefixtures("seeded")

TURNS = iv.QuarterTurns()
IMAGES = torch.rand(20, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))


def refused(error, message, model=None, data=IMAGES, transform=TURNS, **options):
    model = net() if model is None else model
    with pytest.raises(error, match=message):
        iv.measure(model, data, transform, **({"progress": False} | options))
    if isinstance(model, nn.Module):
        assert not any(module._forward_hooks for module in model.modules())


def test_empty_data():
    refused(ValueError, "empty", data=torch.empty(0, 1, 6, 6))
    refused(ValueError, "empty", data=[])
    refused(ValueError, "empty", data=TensorDataset(torch.empty(0, 1, 6, 6)))


def test_one_sample_has_no_variance_across_samples():
    refused(ValueError, r"got 1 sample of shape \(1, 6, 6\): .* at least two", data=IMAGES[:1])
    refused(ValueError, "at least two", data=iter([IMAGES[:1]]))


def test_one_element_has_no_variance_along_the_orbit():
    refused(ValueError, "at least two", transform=[lambda x: x])


def test_labels_of_another_length():
    refused(ValueError, "20 inputs came with 19 labels", data=(IMAGES, torch.zeros(19, dtype=torch.long)))


def test_labels_that_are_not_classes():
    numbers = (IMAGES, torch.rand(20))
    refused(ValueError, "got float32. Give classes as integers or words", data=numbers, by_class=True)
    refused(ValueError, "got float32. Give classes as integers or words", data=numbers, measures="prediction")


def test_classes_without_labels():
    refused(ValueError, "needs labels", by_class=True)


def test_labels_that_do_not_fit_the_outputs():
    refused(
        ValueError, "labels run from 0 to 4", data=(IMAGES, torch.arange(20) % 5), measures=["prediction"]
    )


def test_predictions_of_something_that_is_not_a_classifier():
    model = nn.Sequential(nn.Conv2d(1, 2, 3))
    refused(ValueError, "Leave out the measure 'prediction'", model=model, measures=["prediction"])


def test_unknown_layer_measure_and_option_name_what_is_close():
    refused(ValueError, "no layer matches 'conv9'", layers="conv9")
    refused(ValueError, "Closest: 'normalized_variance'", measures="normalised_variance")
    refused(ValueError, "unknown precision 'float16'", precision="float16")
    refused(ValueError, "unknown transform 'rotatoin'.*'rotation'", transform="rotatoin")


def test_a_model_that_is_none():
    refused(TypeError, "cannot load a model from 'resnet18'", model="resnet18")


def test_data_that_are_none():
    refused(TypeError, "data must be an array", data=3)
    refused(FileNotFoundError, "no such file: images.npz", data="images.npz")
    refused(FileNotFoundError, "no such file or folder: images.*Give a folder of images", data="images")


@pytest.mark.parametrize(("bad", "words"), [(float("nan"), "NaN"), (float("inf"), "infinite")])
def test_non_finite_responses_name_the_layer_and_how_many(bad, words):
    class Breaks(nn.Module):
        def forward(self, x):
            return torch.where(x.amax((1, 2, 3), keepdim=True) > 0.999, torch.full_like(x, bad), x)

    data = IMAGES * 0.9
    data[7, 0, 2, 2] = 1.0
    model = nn.Sequential(nn.Identity(), Breaks())
    refused(ValueError, "layer '1' .*(144 NaN|144 infinite).*nonfinite='skip'", model=model, data=data)
    result = iv.measure(model, data, TURNS, nonfinite="skip", progress=False)
    rows = result.table.set_index("layer")["samples"]
    assert (rows["0"], rows["1"]) == (20, 19)
    assert any("1 samples with non-finite responses" in note for note in result.provenance["notes"])
    clean = iv.measure(model, data[torch.arange(20) != 7], TURNS, progress=False)
    np.testing.assert_allclose(
        result.maps["normalized_variance", "1"], clean.maps["normalized_variance", "1"], rtol=1e-5
    )


def test_a_layer_with_one_finite_sample_says_so():
    class Breaks(nn.Module):
        def forward(self, x):
            return torch.where(x.amax((1, 2, 3), keepdim=True) > 0.5, torch.nan, x)

    data = IMAGES * 0.4 + 0.6
    data[7] *= 0.1
    model = nn.Sequential(nn.Identity(), Breaks())
    wanted = "nv, anova, normalized_distance"
    result = iv.measure(model, data, TURNS, measures=wanted, nonfinite="skip", progress=False)
    rows = result.table[result.table.layer == "1"]
    assert (rows.samples == 1).all()
    assert rows.value.isna().all()
    assert (rows.note == "no value: only one sample is left").all()


@pytest.mark.parametrize("model", [net(), lambda x: {"a": nn.functional.conv2d(x, torch.ones(2, 1, 3, 3))}])
def test_a_wrong_channel_count_names_the_shape_that_the_user_gave(model):
    said = r"failed on inputs of shape \(20, 3, 6, 6\) and dtype float32, 2 of which were tried"
    refused(ValueError, said, model=model, data=torch.rand(20, 3, 6, 6))


def test_layers_that_can_all_not_be_read_are_named_with_their_reasons():
    def odd(x):
        return {"sum": x.sum(), **{f"count{i}": (x > i).long() for i in range(6)}}

    said = r"none of the 7 selected layers .*'sum': no axis .*'count0': its values are int64.*and 2 more"
    refused(ValueError, said, model=odd)


def test_the_prediction_needs_no_layer_that_can_be_read():
    def odd(x):
        return {"sum": x.sum(), "output": x.mean((2, 3)).repeat(1, 3)}

    data = (IMAGES, torch.arange(20) % 3)
    result = iv.measure(odd, data, TURNS, layers="sum", measures=["prediction"], progress=False)
    assert "prediction.accuracy" in set(result.table["measure"])


def test_a_model_that_depends_on_chance_is_refused_and_measured_on_demand():
    class Noisy(nn.Module):
        def forward(self, x):
            return nn.functional.dropout(x, training=True)

    refused(ValueError, "depends on chance.*unstable='measure'", model=nn.Sequential(Noisy()))
    with pytest.warns(UserWarning, match="depends on chance"):
        result = iv.measure(nn.Sequential(Noisy()), IMAGES, TURNS, unstable="measure", progress=False)
    assert any("chance" in note for note in result.provenance["notes"])


def test_a_model_that_depends_on_its_batch_is_refused():
    model = nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False))
    refused(ValueError, "depends on the other inputs of its batch", model=model)


def test_images_are_asked_for_where_images_are_turned():
    refused(TypeError, "image", model=nn.Linear(6, 2), data=torch.rand(20, 6))


def test_sums_that_do_not_fit_the_memory_say_what_to_do():
    refused(ValueError, r"memory_gb", memory_gb=1e-9)


def test_groups_that_do_not_fit_cost_the_intervals_only():
    result = iv.measure(net(), torch.rand(80, 1, 6, 6), TURNS, memory_gb=1e-5, progress=False)
    assert result.table["ci_low"].isna().all()
    assert any("raise memory_gb" in note for note in result.provenance["notes"])


def test_batches_of_different_shapes():
    refused(ValueError, "different shapes", data=[torch.rand(4, 1, 6, 6), torch.rand(4, 1, 5, 5)])


def test_a_loader_whose_labels_do_not_match():
    refused(ValueError, "4 inputs came with 3 labels", data=[(IMAGES[:4], torch.zeros(3, dtype=torch.long))])


def test_an_interrupted_measurement_leaves_the_model_clean():
    model = net().train()

    class Stops(DataLoader):
        def __iter__(self):
            yield IMAGES[:10]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        iv.measure(model, Stops(TensorDataset(IMAGES)), TURNS, progress=False)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def labelled(names):
    return [(IMAGES[i : i + 5], names[i : i + 5]) for i in range(0, 20, 5)]


def test_words_as_labels_keep_their_meaning_from_batch_to_batch():
    names = ["cat"] * 10 + ["dog"] * 10
    streamed = iv.measure(net(), labelled(names), TURNS, by_class=True, progress=False).table
    whole = iv.measure(net(), (IMAGES, names), TURNS, by_class=True, progress=False).table
    assert streamed.groupby("stratum")["samples"].max().to_dict() == {
        "all": 20,
        "cat": 10,
        "dog": 10,
        "mean": 20,
    }
    assert set(whole["stratum"]) == set(streamed["stratum"])


def test_a_class_called_all_is_not_mistaken_for_all_classes():
    result = iv.measure(net(), (IMAGES, ["all"] * 8 + ["mean"] * 12), TURNS, by_class=True, progress=False)
    assert set(result.table["stratum"]) == {"all", "mean", "class all", "class mean"}


def test_two_conventions_are_not_compared():
    plain, standard = (
        iv.measure(net(), IMAGES, TURNS, measures=[iv.NormalizedVariance(spread=s)], progress=False)
        for s in ("variance", "std")
    )
    with pytest.raises(ValueError, match="measure both with the same options"):
        iv.compare([plain, standard])
    with pytest.raises(TypeError, match="as separate arguments or as a list; got str"):
        iv.compare(plain, "standard")


def test_a_stream_is_checked_for_chance_too():
    class Centred(nn.Module):
        def forward(self, x):
            return x - x.mean(0)

    refused(
        ValueError,
        "other inputs of its batch",
        model=nn.Sequential(Centred()),
        data=iter([IMAGES[:10], IMAGES[10:]]),
    )


def test_classes_that_a_stream_shows_late_must_fit_the_memory_too():
    batches = [(IMAGES[i : i + 1], torch.tensor([i])) for i in range(20)]
    refused(ValueError, "classes found so far need", data=batches, by_class=True, memory_gb=1.5e-4)


def test_random_weights_need_data_that_can_be_walked_twice():
    measure = iv.NormalizedVariance(norm="random_net")
    refused(
        ValueError, "reads the data more than once", data=iter([IMAGES[:10], IMAGES[10:]]), measures=[measure]
    )


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("device", "cuda:7", "cannot be used here"),
        ("device", "gpu", "cannot be used here"),
        ("samples", 2.5, "samples must be an integer"),
        ("samples", "10", "samples must be an integer"),
        ("seed", -1, "seed must be an integer"),
        ("batch_size", True, "batch_size must be an integer"),
        ("batch_size", 0, "batch_size must be an integer"),
    ],
)
def test_options_of_the_wrong_kind(option, value, message):
    refused(ValueError, message, **{option: value})


def test_numpy_integers_are_whole_numbers():
    assert len(iv.measure(net(), IMAGES, TURNS, batch_size=np.int64(8), progress=False).table)


def test_no_measure_at_all():
    refused(TypeError, "measures=None", measures=None)


def test_one_hot_labels():
    one_hot = (IMAGES, torch.eye(20))
    message = r"one integer per sample.*float32 of shape \(20, 20\), which is one-hot: use labels.argmax\(1\)"
    refused(ValueError, message, data=one_hot, by_class=True)
    refused(ValueError, message, data=one_hot, measures="twirl")
    refused(ValueError, message, data=one_hot, measures="prediction")


def test_a_preset_beside_an_option_that_contradicts_it():
    with pytest.raises(ValueError, match="implies spread='std', but got"):
        iv.NormalizedVariance(preset="tmeasures", pool="after", spread="nonsense")


def test_a_folder_is_not_a_checkpoint(tmp_path):
    refused(ValueError, "is a folder", checkpoint=tmp_path)


def test_bfloat16_inputs_to_a_bfloat16_model_are_measured():
    result = iv.measure(net().bfloat16(), IMAGES.bfloat16(), TURNS, progress=False)
    assert result.examples["orbit"].dtype == np.float32


def test_what_only_the_transformation_moves_is_infinite_in_every_precision():
    same = IMAGES[:1].repeat(30, 1, 1, 1)
    for precision in ("float32", "float64"):
        row = iv.measure(nn.Conv2d(1, 3, 3), same, TURNS, precision=precision, progress=False)
        assert np.isnan(row.table["value"][0])
        assert row.rows[0]["infinite_units"] == 3 * 16


def test_responses_whose_differences_are_beyond_float32_keep_their_variance():
    signs = np.where(np.arange(8)[:, None, None] % 2, 3e38, -3e38)
    orbits = (signs * np.ones((1, 2, 3))).astype(np.float32)
    elements = [lambda x: x[:, 0], lambda x: x[:, 1]]
    measures = ["sample_variance", "transformation_variance"]
    found = iv.measure(lambda x: {"a": x}, orbits, elements, measures=measures, progress=False)
    assert found.table["value"].tolist() == pytest.approx([8 / 7 * 9e76, 0.0], rel=1e-6)


@pytest.mark.parametrize("scale", [1e20, 1e-23])
def test_maps_hold_what_the_layer_value_holds_at_extreme_scales(scale):
    orbits = (np.random.default_rng(0).normal(size=(40, 2, 5)) * scale).astype(np.float32)
    elements = [lambda x: x[:, 0], lambda x: x[:, 1]]
    result = iv.measure(lambda x: {"a": x}, orbits, elements, measures=["sample_variance"], progress=False)
    assert result.maps["sample_variance", "a"].mean() == pytest.approx(result.table["value"].item(), rel=1e-6)


@pytest.mark.parametrize(
    "measure", ["equivariance_deviation", "stability", "prediction", "gradient_norm", "consistency", "anova"]
)
def test_responses_that_are_not_numbers_are_refused_whatever_is_measured(measure):
    images = IMAGES.clone()
    images[1, 0, 0, 0] = float("nan")
    labels = torch.zeros(len(images), dtype=torch.long)
    refused(ValueError, "NaN", data=(images, labels), measures=[measure])


def test_a_model_that_returns_nothing_for_some_inputs():
    class Mute(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.calls = nn.Linear(4, 3), 0

        def forward(self, x):
            self.calls += 1
            found = self.inner(x)
            return found if self.calls < 6 else None

    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        ValueError, match="the model's output is None for 3 inputs, but had one row per input"
    ):
        iv.measure(
            Mute(),
            x,
            [torch.sin, torch.cos],
            measures="consistency",
            batch_size=4,
            unstable="measure",
            progress=False,
        )
