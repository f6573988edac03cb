"""Samples that are no rows of one tensor: texts with masks, graphs, molecules, images."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from toy_inputs import GraphModel, Potential, TextModel, collated, graphs, molecules, packed, texts, tokenized

import invariscope as iv

quiet = partial(iv.measure, progress=False)


def reversed_words(text: str) -> str:
    return " ".join(reversed(text.split()))


ORDERS = iv.Elements([str, reversed_words], labels=["as it is", "reversed"], identity=0)
SHOUTS = iv.Elements([str, str.upper], labels=["as it is", "upper case"], identity=0)
MASKED = {
    "embedding": iv.Pool("mean", mask="attention_mask"),
    "mixer": iv.Pool("mean", mask="attention_mask"),
}
SWAPS = iv.On(iv.RandomPermutations(3), x="row", edge_index="index")
NODES = {"conv*": iv.Pool("mean", index="batch")}


def values(result: iv.Result) -> dict[str, float]:
    return {f"{row['measure']} {row['layer']}": row["value"] for row in result.rows}


def orbit_variance(model: nn.Module, layer: str, given: list[str]) -> float:
    """Transformation variance of the mean over words, from unpadded forwards of single texts."""
    found = []
    handle = model.get_submodule(layer).register_forward_hook(
        lambda _m, _a, out: found.append(out[0].mean(0))
    )
    with torch.no_grad():
        for text in given:
            for moved in (text, text.upper()):
                model(**tokenized([moved]))
    handle.remove()
    orbits = torch.stack(found).view(len(given), 2, -1)
    return float(orbits.var(1, correction=1).mean())


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_a_masked_pool_gives_what_unpadded_forwards_of_single_texts_give(batch_size):
    model, given = TextModel().double(), texts()
    options = {"preprocess": tokenized, "pool": MASKED, "layers": ["embedding", "mixer"]}
    result = quiet(model, given, SHOUTS, measures="transformation_variance", batch_size=batch_size, **options)
    found = values(result)
    for layer in ("embedding", "mixer"):
        expected = orbit_variance(model, layer, given)
        assert found[f"transformation_variance {layer}"] == pytest.approx(expected, rel=1e-9)


def test_neither_the_padding_nor_the_order_of_the_texts_changes_a_number():
    given = texts()
    measured = partial(quiet, TextModel(), transform=SHOUTS, pool=MASKED, layers=["embedding", "mixer"])
    plain = values(measured(given, preprocess=tokenized))
    assert plain == pytest.approx(values(measured(given, preprocess=partial(tokenized, pad=7))), rel=1e-5)
    shuffled = [given[k] for k in np.random.default_rng(3).permutation(len(given))]
    assert plain == pytest.approx(values(measured(shuffled, preprocess=tokenized)), rel=1e-5)


def test_the_mean_over_words_does_not_depend_on_their_order():
    result = quiet(TextModel().double(), texts(), ORDERS, preprocess=tokenized, pool=MASKED)
    assert values(result)["normalized_variance head"] < 1e-20


def test_a_padded_layer_without_a_mask_is_skipped_with_the_mask_to_use():
    result = quiet(TextModel(), texts(), SHOUTS, preprocess=tokenized)
    reasons = {entry["layer"]: entry["reason"] for entry in result.provenance["skipped"]}
    assert "iv.Pool('mean', mask='attention_mask')" in reasons["embedding"]
    assert "head" in {row["layer"] for row in result.rows}


class Tagger(TextModel):
    """Classifies every word, so that the output has as many rows as the longest text of a batch."""

    def forward(self, input_ids, attention_mask):
        words = self.embedding(input_ids)
        return self.head(self.mixer(torch.cat([words, words], -1)))


def test_outputs_for_every_word_do_not_keep_layers_from_being_measured():
    result = quiet(Tagger(), texts(), SHOUTS, preprocess=tokenized, pool={"*": MASKED["mixer"]})
    assert {"embedding", "mixer", "head"} <= {row["layer"] for row in result.rows}


def test_outputs_for_every_word_are_not_measured_themselves():
    options = {"preprocess": tokenized, "pool": {"*": MASKED["mixer"]}}
    with pytest.raises(ValueError, match="of another shape"):
        quiet(Tagger(), (texts(), [k % 2 for k in range(72)]), SHOUTS, measures="twirl", **options)


def test_a_graph_network_is_invariant_to_the_order_of_nodes_if_edges_are_renumbered():
    options = {"labels": "y", "preprocess": packed, "pool": NODES}
    result = quiet(GraphModel(), graphs(), SWAPS, measures=["normalized_variance", "prediction"], **options)
    found = {name: value for name, value in values(result).items() if name.startswith("normalized_variance")}
    assert set(found) >= {f"normalized_variance {name}" for name in ("conv1", "conv2", "head")}
    assert max(found.values()) < 1e-6
    wrong = quiet(GraphModel(), graphs(), iv.On(iv.RandomPermutations(3), x="row"), **options)
    assert min(values(wrong).values()) > 0.05


@pytest.mark.parametrize(("action", "low", "high"), [("row", 0, 1e-6), ("trivial", 0.1, np.inf)])
def test_rows_of_nodes_are_compared_one_by_one(action, low, high):
    deviation = iv.EquivarianceDeviation(feature_action=action, distance="l2")
    options = {"labels": "y", "preprocess": packed, "pool": {"conv*": iv.Rows(index="batch")}}
    result = quiet(GraphModel(), graphs(), SWAPS, layers="conv*", measures=[deviation], **options)
    own = [
        row for row in result.rows if "by_element" not in row["measure"] and "to_null" not in row["measure"]
    ]
    assert len(own) == 2
    for row in own:
        assert low <= row["value"] <= high
        assert row["null"] > 0.1


def test_measures_of_common_units_refuse_rows_and_name_the_pool():
    options = {"labels": "y", "preprocess": packed, "pool": {"conv*": iv.Rows(index="batch")}}
    with pytest.raises(ValueError, match=r"different numbers of rows.*iv\.Pool"):
        quiet(GraphModel(), graphs(), SWAPS, layers="conv*", **options)


def test_energies_are_invariant_and_forces_turn_with_the_atoms():
    turns = iv.On(iv.RandomOrthogonal(3), pos="vector")
    deviation = iv.EquivarianceDeviation(
        feature_action={"Potential": "trivial", "*forces*": "vector"}, distance="l2"
    )
    result = quiet(
        Potential(), molecules(), turns, preprocess=collated, gradients=True, layers="Potential*",
        measures=[deviation], pool={"*forces*": iv.Rows(index="batch")},
    )  # fmt: skip
    found = {row["layer"]: row["value"] for row in result.rows if row["measure"].endswith("by_layer")}
    assert len(found) == 2
    assert max(found.values()) < 1e-9


def test_images_keep_every_pixel_under_exact_elements():
    image = pytest.importorskip("PIL.Image")
    generator = np.random.default_rng(4)
    pictures = [image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)) for _ in range(64)]
    seen: list[np.ndarray] = []

    def normalised(given: list) -> torch.Tensor:
        seen.extend(np.array(picture) for picture in given)
        return torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1).float() / 255 for p in given])

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    result = quiet(model, pictures, iv.QuarterTurns(), preprocess=normalised)
    tensors = torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1).float() / 255 for p in pictures])
    ids = np.arange(64)
    same = quiet(model, pictures, iv.QuarterTurns(), preprocess=normalised, ids=ids)
    assert values(same) == pytest.approx(values(quiet(model, tensors, iv.QuarterTurns(), ids=ids)), rel=1e-5)
    given = {np.rot90(np.array(picture), k).tobytes() for picture in pictures for k in range(4)}
    assert all(picture.tobytes() in given for picture in seen)
    assert len(result.rows) == 2


def test_draws_are_those_of_the_sample_and_equal_for_all_fields():
    turns = iv.On(iv.RandomOrthogonal(2), positions="vector", cell="vector")
    eye = np.eye(3)
    samples = np.empty(3, object)
    samples[:] = [{"positions": eye, "cell": eye} for _ in range(3)]
    orbit = turns.orbit(samples, keys=[5, 6, 7], seed=1)
    assert np.array_equal(orbit[1, 0]["positions"], orbit[1, 0]["cell"])
    assert not np.allclose(orbit[1, 0]["cell"], orbit[2, 0]["cell"])
    again = turns.orbit(samples[1:2], keys=[6], seed=1)
    assert np.array_equal(again[0, 1]["cell"], orbit[1, 1]["cell"])
    assert np.array_equal(samples[0]["cell"], eye)


def test_rows_and_the_indices_that_name_them_move_together():
    sample = {"x": np.arange(4.0)[:, None], "edge_index": np.array([[0, 1], [2, 3]])}
    given = np.empty(1, object)
    given[0] = sample
    for moved in iv.On(iv.RandomPermutations(5), x="row", edge_index="index").orbit(given, seed=2)[0]:
        assert np.array_equal(moved["x"][moved["edge_index"]], sample["x"][sample["edge_index"]])
        assert sorted(moved["x"].ravel()) == [0, 1, 2, 3]


class Pairs(torch.utils.data.Dataset):
    """A dataset of mappings, as those of text are."""

    def __init__(self, given: list[dict]) -> None:
        self.given = given

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, place: int) -> dict:
        return self.given[place]


def labelled() -> list[dict]:
    return [{"text": text, "label": k % 3} for k, text in enumerate(texts())]


def of_fields(given: list[dict]) -> dict[str, torch.Tensor]:
    assert set(given[0]) == {"text"}  # the label has been taken out
    return tokenized([sample["text"] for sample in given])


@pytest.mark.parametrize(
    "form",
    [
        lambda rows: rows,
        lambda rows: {name: [row[name] for row in rows] for name in rows[0]},
        Pairs,
        lambda rows: torch.utils.data.DataLoader(Pairs(rows), batch_size=5, collate_fn=of_fields),
        lambda rows: iter([{name: [row[name] for row in rows] for name in rows[0]}]),
    ],
    ids=["list", "columns", "dataset", "loader", "stream"],
)
def test_every_form_of_mappings_gives_the_labels_of_the_same_samples(form):
    data = form(labelled())
    shouts = iv.On(iv.Elements([str, str.upper], identity=0), text=lambda text, k: (str, str.upper)[k](text))
    own = None if isinstance(data, torch.utils.data.DataLoader) else of_fields
    result = quiet(TextModel(), data, shouts, preprocess=own, measures="prediction")
    reference = quiet(TextModel(), texts(), SHOUTS, preprocess=tokenized, labels=[k % 3 for k in range(72)],
                      measures="prediction")  # fmt: skip
    accuracy = {row["measure"]: row["value"] for row in reference.rows}["prediction.accuracy"]
    found = {row["measure"]: row["value"] for row in result.rows}["prediction.accuracy"]
    assert found == pytest.approx(accuracy)


def test_a_resumed_run_refuses_another_preprocess_or_pool(tmp_path):
    path = tmp_path / "sums"

    def stop(done: int, total: int | None) -> None:
        if done >= 32:
            raise KeyboardInterrupt

    from invariscope.engine import checkpoint

    measured = partial(
        iv.measure, TextModel(), texts(), SHOUTS, checkpoint=path, batch_size=4, layers=["embedding"]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "due", lambda self: True)
        with pytest.raises(KeyboardInterrupt):
            measured(preprocess=tokenized, pool=MASKED, progress=stop)
    with pytest.raises(ValueError, match="belongs to another measurement"):
        measured(preprocess=partial(tokenized, pad=3), pool=MASKED, progress=False)
    other = {"embedding": iv.Pool("sum", mask="attention_mask")}
    with pytest.raises(ValueError, match="belongs to another measurement"):
        measured(preprocess=tokenized, pool=other, progress=False)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"preprocess": None}, TypeError, "Pass preprocess="),
        ({"preprocess": lambda given: tokenized(given[1:])}, ValueError, "one row per sample"),
        ({"preprocess": lambda given: None}, TypeError, "returned None"),
        ({"preprocess": lambda given: given.shape}, ValueError, "preprocess failed on .* AttributeError"),
        ({"preprocess": lambda given: {"ids": torch.ones(len(given), 2)}}, ValueError, "call=lambda model"),
        ({"pool": {"mixer": iv.Pool("mean", mask="mask")}}, ValueError, "unknown field .mask.*attention"),
        ({"pool": {"mixer": "mean"}}, TypeError, "iv.Pool"),
        ({"labels": "y"}, ValueError, "no field 'y'"),
        ({"labels": [0, 1]}, ValueError, "72 inputs came with 2 labels"),
        ({"floor": True, "transform": iv.Elements([str, str.upper], inverses=[str] * 2)}, TypeError, "floor"),
        ({"measures": "stability"}, TypeError, "needs each sample to be a single tensor"),
        ({"transform": iv.Rotation([0, 90])}, TypeError, "Rotation acts on tensors.*iv.Elements"),
        ({"transform": [str, lambda text: None]}, TypeError, "returned None"),
        ({"transform": [str, lambda text: text[99]]}, ValueError, "failed on a sample .str. with IndexError"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused_with_what_to_do(change, error, words):
    options = {"transform": SHOUTS, "preprocess": tokenized, "pool": MASKED, "layers": ["mixer"]} | change
    with pytest.raises(error, match=words):
        quiet(TextModel(), texts(), **options)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: iv.On(iv.QuarterTurns()), ValueError, "needs at least one field"),
        (lambda: iv.On(iv.QuarterTurns(), x="vectr"), ValueError, "Closest: 'vector'"),
        (lambda: iv.On(iv.QuarterTurns(), x="row"), TypeError, "iv.RandomPermutations"),
        (lambda: iv.On(iv.QuarterTurns(), x=3), TypeError, "role of field 'x'"),
        (lambda: iv.On(iv.RandomPermutations(2), x="vector"), TypeError, "does not act on vectors"),
        (lambda: iv.Pool("median", mask="m"), ValueError, "unknown pooling"),
        (lambda: iv.Pool("mean"), ValueError, "mask=.*index="),
    ],
)
def test_a_role_or_a_pool_that_does_not_exist_is_refused_when_it_is_made(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_assertions_take_samples_of_any_type():
    given = {"preprocess": packed, "layers": "conv*", "pool": {"conv*": iv.Pool("mean", index="batch")}}
    unlabelled = [{name: graph[name] for name in ("x", "edge_index")} for graph in graphs()]
    assert iv.assert_invariant(GraphModel(), unlabelled, SWAPS, **given).broken == ()
    with pytest.raises(AssertionError, match="conv1"):
        iv.assert_invariant(GraphModel(), unlabelled, iv.On(iv.RandomPermutations(3), x="row"), **given)
    rows = given | {"pool": {"conv*": iv.Rows(index="batch")}}
    assert iv.assert_equivariant(GraphModel(), unlabelled, SWAPS, feature_action="row", **rows).broken == ()


def test_studies_of_derivatives_refuse_samples_that_are_no_tensor():
    with pytest.raises(TypeError, match="give one tensor of inputs"):
        iv.worst_element(TextModel(), texts(), iv.Rotation([0, 90]))


@pytest.mark.parametrize(
    "transform",
    [
        iv.On(iv.RandomOrthogonal(3), pos="vector"),
        iv.On(iv.RandomPermutations(3), pos="row"),
        iv.On(iv.QuarterTurns(), image="value"),
    ],
)
def test_the_inverse_brings_every_field_back(transform):
    image = torch.rand(1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sample = {"pos": torch.arange(12.0, dtype=torch.float64).view(4, 3), "image": image}
    given = np.empty(1, object)
    given[0] = sample
    orbit = transform.orbit(given, keys=[7], seed=3)
    for element in range(len(transform)):
        back = transform.inverse().orbit(orbit[:, element], keys=[7], seed=3)[0, element]
        for name, values in sample.items():
            torch.testing.assert_close(back[name], values)
    with pytest.raises(TypeError, match="no known inverse"):
        iv.On(iv.QuarterTurns(), image=lambda image, element: image).inverse()
