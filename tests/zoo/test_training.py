"""Training learns, repeats itself bit for bit, resumes as if never interrupted, and says what is wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from invariscope.transforms import Rotation
from invariscope.zoo import ImageData, Progress, build, evaluate, load, train
from invariscope.zoo.tensors import read_tensors, write_tensors

FEW = load("mnist_subset", split="train", samples=96)


@dataclass(frozen=True)
class Shifted:
    """The least that training asks of a transform."""

    by: int

    def random(self, x, *, generator):
        return x.roll(int(torch.randint(self.by, (), generator=generator)), -1)

    def describe(self):
        return {"family": "shifted", "by": self.by}


def small(seed: int = 0, *, batch_norm: bool = True) -> nn.Module:
    return build("simple_conv", filters=4, fc=8, batch_norm=batch_norm, seed=seed)


def same(a: nn.Module, b: nn.Module) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


def without_seconds(history):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


def test_a_few_steps_learn_digits():
    data, test = load("mnist_subset", split="train", samples=1500), load("mnist_subset", samples=300)
    model = build("simple_conv", filters=8, fc=32, batch_norm=True)
    before = evaluate(model, test)
    trained = train(model, data, epochs=2, batch_size=64, lr=3e-3, schedule="cosine", test=test)
    assert before < 0.3
    assert trained.test_accuracy > 0.85
    assert trained.history[1]["loss"] < trained.history[0]["loss"]
    assert trained.test_accuracy == evaluate(model, test)


def half_size(data):
    return F.avg_pool2d(data.images, 2), data.labels


@pytest.mark.parametrize("seed", [0, 1])
def test_a_network_that_is_equivariant_by_construction_learns_digits(seed):
    """With the mean over the image in the place of the largest responses it is right on a third of them."""
    model = build("c4_conv", input_shape=(1, 14, 14), fields=4, seed=seed)
    data, test = load("mnist_subset", split="train", samples=1500), load("mnist_subset", samples=300)
    options = {"epochs": 4, "batch_size": 32, "lr": 5e-3, "schedule": "cosine"}
    assert train(model, half_size(data), test=half_size(test), **options).test_accuracy > 0.6


@pytest.mark.parametrize("augmentation", [None, Shifted(4), Rotation.circle(8, jitter_deg=3)])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(augmentation):
    models = [small() for _ in range(3)]
    options = {"epochs": 2, "batch_size": 32, "augmentation": augmentation}
    for model, seed in zip(models, (7, 7, 8), strict=True):
        train(model, FEW, seed=seed, **options)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


def test_augmentation_is_drawn_anew_for_each_batch():
    seen = []

    class Remembering(Shifted):
        def random(self, x, *, generator):
            seen.append(int(torch.randint(10**9, (), generator=generator)))
            return x

    train(small(), FEW, epochs=2, batch_size=32, augmentation=Remembering(1))
    assert len(set(seen)) == 6


def dropping(seed: int = 0) -> nn.Module:
    return nn.Sequential(small(seed), nn.Dropout(0.5))


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize(
    "layout", [{}, {"precision": "bf16", "channels_last": True}], ids=["float32", "bf16"]
)
def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path, schedule, layout):
    options = {"epochs": 3, "batch_size": 40, "augmentation": Rotation.circle(8), "test": FEW, "seed": 3}
    options |= {"schedule": schedule, **layout}
    whole, parted = dropping(), dropping()
    wanted = train(whole, FEW, **options)

    def interrupt(at: Progress) -> None:
        if (at.epoch, at.batch) == (3, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(parted, FEW, checkpoint=tmp_path / "at", progress=interrupt, **options)
    resumed = dropping()
    epochs = []
    found = train(
        resumed, FEW, checkpoint=tmp_path / "at", progress=lambda at: epochs.append(at.epoch), **options
    )
    assert same(whole, resumed)
    assert set(epochs) == {3}
    assert without_seconds(found.history) == without_seconds(wanted.history)
    assert [path.name for path in tmp_path.iterdir()] == ["at"]


def test_a_finished_training_is_not_repeated(tmp_path):
    model, again = small(), small()
    train(model, FEW, epochs=1, checkpoint=tmp_path / "at")
    train(again, FEW, epochs=1, checkpoint=tmp_path / "at", progress=lambda at: pytest.fail("trained again"))
    assert same(model, again)


def test_an_interrupted_write_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    train(small(), FEW, epochs=1, checkpoint=tmp_path / "at")
    before = (tmp_path / "at").read_bytes()

    def half(tensors, path, metadata):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("invariscope.zoo.tensors.save_file", half)
    with pytest.raises(KeyboardInterrupt):
        train(small(), FEW, epochs=2, checkpoint=tmp_path / "at")
    assert (tmp_path / "at").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["at"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 5e-3}, r"another training run: lr is 0\.001 there and 0\.005 now"),
        ({"seed": 1}, r"seed is 0 there and 1 now"),
        ({"augmentation": Shifted(2)}, r"augmentation is None there"),
        ({"schedule": "cosine"}, r"schedule is 'constant' there and 'cosine' now"),
    ],
)
def test_the_checkpoint_of_another_training_is_refused(tmp_path, change, message):
    train(small(), FEW, epochs=1, checkpoint=tmp_path / "at")
    with pytest.raises(ValueError, match=message):
        train(small(), FEW, epochs=2, checkpoint=tmp_path / "at", **change)


def test_a_checkpoint_of_other_weights_data_or_length_is_refused(tmp_path):
    train(small(), FEW, epochs=2, checkpoint=tmp_path / "at")
    with pytest.raises(ValueError, match="starting weights"):
        train(small(1), FEW, epochs=2, checkpoint=tmp_path / "at")
    with pytest.raises(ValueError, match="images and labels"):
        train(small(), (FEW.images.flip(0), FEW.labels), epochs=2, checkpoint=tmp_path / "at")
    with pytest.raises(ValueError, match="2 completed epochs, but epochs=1"):
        train(small(), FEW, epochs=1, checkpoint=tmp_path / "at")


def test_a_falling_rate_cannot_be_prolonged(tmp_path):
    train(small(), FEW, epochs=1, schedule="cosine", checkpoint=tmp_path / "at")
    with pytest.raises(ValueError, match="epochs is 1 there and 2 now"):
        train(small(), FEW, epochs=2, schedule="cosine", checkpoint=tmp_path / "at")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[:-50], "truncated or damaged: its SHA-256"),
        (lambda content: content[:50], "truncated, damaged or not a safetensors"),
        (lambda content: b"\x80\x04" + content, "is a pickle"),
        (
            lambda content: content.replace(b"invariscope-checkpoint-2", b"invariscope-checkpoint-9"),
            "truncated or damaged: its SHA-256",
        ),
    ],
)
def test_a_damaged_checkpoint_is_refused(tmp_path, spoil, message):
    train(small(), FEW, epochs=1, checkpoint=tmp_path / "at")
    (tmp_path / "at").write_bytes(spoil((tmp_path / "at").read_bytes()))
    with pytest.raises(ValueError, match=message):
        train(small(), FEW, epochs=2, checkpoint=tmp_path / "at")


@pytest.mark.parametrize("document", ["{", "[]", json.dumps({"settings": {}})])
def test_a_checkpoint_with_other_contents_is_refused(tmp_path, document):
    train(small(), FEW, epochs=1, checkpoint=tmp_path / "at")
    tensors, metadata = read_tensors(tmp_path / "at")
    write_tensors(tmp_path / "at", tensors, metadata | {"document": document})
    with pytest.raises(ValueError, match="not a checkpoint of this version"):
        train(small(), FEW, epochs=2, checkpoint=tmp_path / "at")


def test_global_generators_gradients_and_layout_are_left_alone():
    before = torch.get_rng_state()
    model = dropping()
    train(model, FEW, epochs=1, precision="bf16", channels_last=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.is_contiguous() and p.dtype == torch.float32 for p in model.parameters())
    assert not model.training


def test_global_generators_do_not_matter():
    models = [dropping(), dropping()]
    for number, model in enumerate(models):
        torch.manual_seed(number)
        train(model, FEW, epochs=1)
    assert same(*models)


def test_bf16_learns_about_the_same():
    models = {precision: small() for precision in ("float32", "bf16")}
    losses = {
        p: train(m, FEW, epochs=2, batch_size=32, precision=p).history[-1]["loss"] for p, m in models.items()
    }
    assert losses["bf16"] == pytest.approx(losses["float32"], rel=0.05)
    assert not same(*models.values())


def test_channels_last_leaves_weights_of_other_shapes_as_they_lie():
    model = build("min_lcn", filters=2, kernel_size=3)
    train(model, FEW, epochs=1, channels_last=True)
    assert model.local.weight.ndim == 5


def test_channels_last_is_the_same_training_up_to_rounding():
    models = {flag: small() for flag in (False, True)}
    losses = [
        train(m, FEW, epochs=2, batch_size=32, channels_last=f).history[-1]["loss"] for f, m in models.items()
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_logits_and_log_probabilities_train_alike():
    with_softmax, without = small(batch_norm=False), small(batch_norm=False)
    del without.log_softmax
    losses = [train(m, FEW, epochs=1).history[0]["loss"] for m in (with_softmax, without)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_progress_counts_every_batch_and_the_history_every_epoch():
    seen: list[Progress] = []
    trained = train(small(), FEW, epochs=2, batch_size=40, progress=seen.append)
    assert [(at.epoch, at.batch, at.batches) for at in seen] == [
        (epoch, batch, 3) for epoch in (1, 2) for batch in (1, 2, 3)
    ]
    assert seen[-1].fraction == 1
    assert [sorted(record) for record in trained.history] == [
        ["accuracy", "epoch", "loss", "seconds", "test_accuracy"]
    ] * 2
    assert trained.test_accuracy is None
    json.dumps(trained.describe(), allow_nan=False)


def test_a_last_batch_of_one_sample_does_not_upset_batch_normalisation():
    sizes = []

    class Counting(Shifted):
        def random(self, x, *, generator):
            sizes.append(len(x))
            return x

    model = build("vgg16", filters=2, fc=4)  # ends with one pixel, so one sample would have no variance
    train(model, (FEW.images[:33], FEW.labels[:33]), epochs=1, batch_size=16, augmentation=Counting(1))
    assert sizes == [16, 17]


def test_frozen_parameters_stay():
    model = small()
    model.conv1.requires_grad_(False)
    train(model, FEW, epochs=1)
    assert torch.equal(model.conv1.weight, small().conv1.weight)
    assert not torch.equal(model.conv2.weight, small().conv2.weight)


def test_evaluation_moves_images_by_the_transform_and_leaves_the_model_alone():
    model = small()
    train(model, FEW, epochs=12, batch_size=16, lr=5e-3)
    model.train()
    upright = evaluate(model, FEW)
    assert upright > 0.7
    assert evaluate(model, FEW, transform=Rotation([180])) < upright - 0.2
    assert evaluate(model, FEW, transform=Rotation([0])) == upright
    assert model.training


LABELS = FEW.labels


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ((FEW.images, LABELS[:-1]), ValueError, r"one label per sample.*x \(96, 1, 28, 28\) and y \(95,\)"),
        ((FEW.images[:0], LABELS[:0]), ValueError, r"at least one sample"),
        ((FEW.images.byte(), LABELS), TypeError, r"got torch\.uint8 and torch\.int64.*x\.float\(\) / 255"),
        ((FEW.images, LABELS.float()), TypeError, r"y integers, got torch\.float32 and torch\.float32"),
        ((FEW.images, LABELS - 1), ValueError, r"labels must be numbered from 0; the smallest is -1"),
        ((FEW.images, LABELS + 5), ValueError, r"labels go up to \d+, but the model has only 10 classes"),
        ((FEW.images / 0, LABELS), ValueError, r"NaN or infinity"),
        ((FEW.images, ["one"] * len(FEW.images)), TypeError, "y contains strings or objects; number classes"),
        (FEW.images, TypeError, r"an ImageData or a pair \(x, y\), got Tensor"),
    ],
    ids=["lengths", "empty", "bytes", "float labels", "negative", "classes", "nan", "words", "no labels"],
)
def test_unusable_data_are_refused(data, error, message):
    with pytest.raises(error, match=message):
        train(small(), data, epochs=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, r"epochs must be an integer, at least 1; got 0"),
        ({"batch_size": 0}, r"batch_size must be an integer, at least 1; got 0"),
        ({"lr": 0.0}, r"lr must be positive; got 0\.0"),
        ({"precision": "bf61"}, r"unknown precision 'bf61'. Closest: 'bf16'"),
        ({"schedule": "cosin"}, r"unknown schedule 'cosin'. Closest: 'cosine'"),
        ({"lr": 1e6}, r"the loss became (nan|inf) in epoch 1, batch \d.*Lower lr"),
    ],
)
def test_unusable_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        train(small(batch_norm=False), FEW, **{"epochs": 1, "batch_size": 16, **options})


def test_a_model_that_does_not_classify_is_refused():
    torch.manual_seed(0)
    with pytest.raises(
        ValueError, match=r"of shape \(sample, class\), here \(96, classes\); got \(96, 1, 28, 28\)"
    ):
        train(nn.Conv2d(1, 1, 1), FEW, epochs=1)


def test_vectors_are_trained_on_too():
    torch.manual_seed(0)
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    model = nn.Linear(5, 2)
    nn.init.zeros_(model.weight)
    trained = train(model, (x.numpy(), (x[:, 0] > 0).numpy().astype(int)), epochs=30, batch_size=10, lr=0.05)
    assert trained.accuracy > 0.9


def test_an_image_data_is_not_changed_by_training():
    before = FEW.images.clone()
    train(
        small(), ImageData("a", "train", FEW.images, LABELS, FEW.classes), epochs=1, augmentation=Shifted(3)
    )
    assert torch.equal(FEW.images, before)


class Watching:
    """A monitor that remembers when it was called, and with which weights."""

    def __init__(self, every: int = 1) -> None:
        self.every, self.calls = every, []

    def __call__(self, model, epoch):
        self.calls.append((epoch, float(model.fc2.bias.detach().sum())))
        return [{"epoch": epoch, "value": self.calls[-1][1]}] if epoch % self.every == 0 else None


def test_a_monitor_sees_the_untrained_network_and_every_epoch_and_its_records_are_kept():
    model, watch = small(), Watching(every=2)
    start = float(model.fc2.bias.detach().sum())
    trained = train(model, FEW, epochs=3, monitor=watch)
    assert [epoch for epoch, _ in watch.calls] == [0, 1, 2, 3]
    assert (watch.calls[0][1], watch.calls[3][1]) == (start, float(model.fc2.bias.detach().sum()))
    assert trained.measured == tuple({"epoch": e, "value": v} for e, v in watch.calls if e % 2 == 0)
    assert trained.describe()["measured"] == list(trained.measured)
    assert train(small(), FEW, epochs=1).measured == ()


@pytest.mark.parametrize("stopped_in", ["epoch", "monitor"])
def test_a_resumed_training_keeps_what_was_measured_before(tmp_path, stopped_in):
    options = {"epochs": 3, "batch_size": 40, "checkpoint": tmp_path / "at"}
    wanted = train(small(), FEW, epochs=3, batch_size=40, monitor=Watching())

    class Stopping(Watching):
        def __call__(self, model, epoch):
            if (stopped_in, epoch) == ("monitor", 2):
                raise KeyboardInterrupt
            return super().__call__(model, epoch)

    def stop(at: Progress) -> None:
        if (stopped_in, at.epoch, at.batch) == ("epoch", 3, 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(small(), FEW, monitor=Stopping(), progress=stop, **options)
    again = Watching()
    found = train(small(), FEW, monitor=again, **options)
    assert [epoch for epoch, _ in again.calls] == ([3] if stopped_in == "epoch" else [2, 3])
    assert found.measured == wanted.measured
