"""Weights and cards come back as they were; files that are damaged, foreign or hostile are refused."""

from __future__ import annotations

import json
import traceback
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from tiny_files import malicious_pickle
from torch import nn

from invariscope.zoo import Card, ImageData, build, load, load_network, load_weights, save_network, train

CARD = Card(
    network="simple_conv",
    input_shape=(1, 28, 28),
    classes=tuple("0123456789"),
    options={"filters": 4, "fc": 8, "batch_norm": True},
    seed=5,
)
FEW = load("mnist_subset", samples=64)


@pytest.fixture
def saved(tmp_path):
    return save_network(tmp_path / "net", CARD.build(), CARD)


def edit(folder, **changes):
    """Changes the card, and makes it one of an earlier version, which has no digest."""
    entries = json.loads((folder / "card.json").read_text())
    earlier = {"schema": 1, "sha256": ..., "files": ...}
    entries = {key: value for key, value in {**entries, **earlier, **changes}.items() if value is not ...}
    (folder / "card.json").write_text(json.dumps(entries))


def test_a_trained_network_comes_back_with_its_card(tmp_path):
    model = CARD.build()
    card = replace(CARD, training=train(model, FEW, epochs=1, test=FEW).describe())
    save_network(tmp_path / "net", model, card)
    again, read = load_network(tmp_path / "net")
    assert read == card
    assert not again.training
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert torch.equal(again(FEW.images), model(FEW.images))


@pytest.mark.parametrize("name", ["", "card.json", "weights.safetensors"])
def test_the_folder_and_each_of_its_files_name_the_network(saved, name):
    assert type(load_network(saved / name)[0]).__name__ == "SimpleConv"


def test_the_card_prepares_data_as_training_had_them():
    standardised = FEW.standardized()
    card = replace(CARD, training={"data": standardised.describe()})
    assert torch.equal(card.prepared(FEW).images, standardised.images)
    assert card.prepared(standardised) is standardised
    assert CARD.prepared(FEW) is FEW


def test_the_card_tells_the_versions():
    assert CARD.versions["torch"] == torch.__version__


def test_a_card_of_another_network_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(
        ValueError, match=r"describes another network.*other shapes: conv1\.weight \(6, 1, 3, 3\)"
    ):
        save_network(tmp_path / "net", build("simple_conv", filters=6, fc=8, batch_norm=True), CARD)
    assert list(tmp_path.iterdir()) == []


def test_a_used_folder_is_refused_unless_it_may_be_overwritten(saved):
    with pytest.raises(FileExistsError, match="is not empty"):
        save_network(saved, CARD.build(), CARD)
    other = replace(CARD, seed=6)
    save_network(saved, other.build(), other, overwrite=True)
    assert load_network(saved)[1].seed == 6
    with pytest.raises(FileExistsError, match="is a file"):
        save_network(saved / "card.json", CARD.build(), CARD)


def test_an_interrupted_save_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(path, tensors):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("invariscope.zoo.weights.write_tensors", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_network(tmp_path / "net", CARD.build(), CARD)
    assert list(tmp_path.iterdir()) == []


def test_saved_files_can_be_read_by_whoever_can_read_the_folder(saved):
    for path in saved.iterdir():
        fresh = saved / "fresh"
        fresh.touch()
        assert path.stat().st_mode == fresh.stat().st_mode
        fresh.unlink()


def test_missing_files_are_named(tmp_path, saved):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere; networks next to it: net"):
        load_network(tmp_path / "nowhere" / "weights.safetensors")
    (saved / "weights.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no weights\.safetensors in .*net"):
        load_network(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"options": {"filters": 6, "fc": 8, "batch_norm": True}},
            r"other shapes: conv1\.weight \(4, 1, 3, 3\) instead of \(6",
        ),
        ({"options": {"filters": 4, "fc": 8}}, r"not expected: bn1\.bias.* and 19 more"),
        ({"network": "all_conv", "options": {}}, r"does not fit all_conv.*missing: .*conv6\.weight"),
        ({"classes": ["a", "b"]}, r"fc2\.weight \(10, 8\) instead of \(2, 8\)"),
        ({"network": "simple_cnov"}, r"unknown network 'simple_cnov'. Closest: 'simple_conv'"),
        ({"options": {"filter": 4}}, r"unknown option of simple_conv 'filter'. Closest: 'filters'"),
        ({"options": {"filters": "many"}}, r"cannot be built: filters must be an integer"),
        ({"options": {"filters": 10**6}}, r"the weights of simple_conv with these options need .* GiB"),
        ({"options": [4]}, r"options and training must be objects"),
        ({"input_shape": "1x28x28"}, r"input_shape and classes must be lists"),
        ({"input_shape": [28, 28]}, r"cannot be built: input_shape must be \(C, H, W\)"),
        ({"schema": 3}, r"schema 3, but this version reads up to 2: update"),
        ({"schema": "1"}, r"has no schema number"),
        ({"classes": ...}, r"not the card of a network: missing \['classes'\]"),
        ({"colour": "red"}, r"unknown \['colour'\]"),
    ],
)
def test_a_card_that_does_not_fit_is_refused_with_the_difference(saved, changes, message):
    edit(saved, **changes)
    with pytest.raises(ValueError, match=message):
        load_network(saved)


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe", b""])
def test_a_damaged_card_is_refused(saved, content):
    (saved / "card.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"card\.json is (not valid JSON|not the card of a network)"):
        load_network(saved)


@pytest.mark.parametrize("keep", [0, 4, 200, -8])
def test_truncated_weights_are_refused(saved, keep):
    path = saved / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        ValueError, match=r"weights\.safetensors is truncated(, damaged or not a safetensors| or damaged)"
    ):
        load_network(saved)
    with pytest.raises(ValueError, match=r"is truncated(,| or) damaged"):
        load_weights(CARD.build(), path)


@pytest.mark.parametrize("name", ["weights.safetensors", "model.pt"])
def test_a_malicious_pickle_is_never_executed(saved, tmp_path, name):
    marker = tmp_path / "harm"
    (saved / name).write_bytes(malicious_pickle(marker))
    with pytest.raises(ValueError, match=r"is a pickle.*not opened"):
        load_network(saved / name)
    with pytest.raises(ValueError, match=r"could run code.*; it was not loaded"):
        load_weights(CARD.build(), saved / name)
    assert not marker.exists()


def test_a_malicious_torch_archive_is_never_executed(tmp_path):
    class Harm:
        def __reduce__(self):
            import os

            return (os.mkdir, (str(tmp_path / "harm"),))

    torch.save({"conv1.weight": Harm()}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"could run code \(it refers to \w+\.mkdir\); it was not") as raised:
        load_weights(CARD.build(), tmp_path / "model.pt")
    shown = "".join(traceback.format_exception(raised.value))
    assert "weights_only` to `False" not in shown, "torch's advice to load it anyway"
    assert "weights_only=False" not in shown
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("nested", [False, True])
def test_state_dicts_of_torch_and_safetensors_fill_an_own_model(tmp_path, nested):
    model = replace(CARD, seed=9).build()
    torch.save({"state_dict": model.state_dict()} if nested else model.state_dict(), tmp_path / "model.pt")
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    for name in ("model.pt", "model.safetensors"):
        found = load_weights(CARD.build(), tmp_path / name).state_dict()
        assert all(torch.equal(value, found[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
def test_weights_of_another_kind_of_numbers_are_refused(tmp_path, dtype):
    model = CARD.build()
    name = next(iter(model.state_dict()))
    save_file(model.state_dict() | {name: model.state_dict()[name].to(dtype)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=f"{name} is {dtype} in the file and torch.float32 there"):
        load_weights(CARD.build(), tmp_path / "model.safetensors")


@pytest.mark.parametrize("size", [0x0280, 0x0380, 0x0480, 0x0580])
def test_a_header_as_long_as_a_pickle_begins_is_read(tmp_path, size):
    torch.manual_seed(0)
    model, file = nn.Linear(2, 2), tmp_path / "model.safetensors"
    save_file(model.state_dict(), file, {"room": ""})
    missing = size - int.from_bytes(file.read_bytes()[:8], "little")
    save_file(model.state_dict(), file, {"room": " " * missing})
    assert file.read_bytes()[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
    found = load_weights(nn.Linear(2, 2), file).state_dict()
    assert all(torch.equal(value, found[name]) for name, value in model.state_dict().items())


def test_weights_of_another_architecture_leave_the_model_as_it_was(tmp_path):
    save_file(build("all_conv", filters=4).state_dict(), tmp_path / "model.safetensors")
    model = CARD.build()
    with pytest.raises(
        ValueError, match=r"does not fit SimpleConv\. missing: fc1\.weight.*not expected: bn6"
    ):
        load_weights(model, tmp_path / "model.safetensors")
    assert torch.equal(model.conv1.weight, CARD.build().conv1.weight)


def test_a_torch_file_without_a_state_dict_is_refused(tmp_path):
    torch.save([1, 2, 3], tmp_path / "model.pt")
    with pytest.raises(ValueError, match="not a state dict: expected names and tensors, got list"):
        load_weights(CARD.build(), tmp_path / "model.pt")


def test_networks_with_tied_weights_are_saved(tmp_path, monkeypatch):
    model = CARD.build()
    model.conv2.bias = model.conv1.bias
    save_network(tmp_path / "net", model, CARD)
    assert torch.equal(load_network(tmp_path / "net")[0].conv2.bias, model.conv1.bias)


def test_image_data_compare_by_identity_so_that_cards_stay_comparable():
    assert isinstance(FEW, ImageData)
    assert replace(CARD, seed=5) == CARD


def test_a_folder_that_does_not_exist_is_named_with_what_lies_beside_it(saved):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nett; networks next to it: net$"):
        load_network(saved.with_name("nett"))
    with pytest.raises(FileNotFoundError, match=r"no folder .*elsewhere/plain"):
        load_network(saved.with_name("elsewhere") / "plain")


def test_a_card_prints_in_a_line():
    card = Card(network="simple_conv", input_shape=(1, 28, 28), classes=("a", "b"), options={"filters": 2})
    assert repr(card) == "<Card simple_conv, filters=2: 1 × 28 × 28 to 2 classes, random weights>"
    trained = replace(card, training={"epochs": 3, "data": {"name": "mnist"}, "history": [{}] * 3})
    assert repr(trained).endswith("to 2 classes, 3 epochs on mnist>")
