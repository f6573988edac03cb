"""Networks that an archive can keep: rounded to float16, graded, and started again from their seed."""

import pytest
import torch

from invariscope import zoo
from invariscope.common.sealing import read_sealed_json, write_sealed_json
from invariscope.lab.recipes.kinds import CellContext
from invariscope.lab.recipes.kinds.train import Train
from invariscope.lab.recipes.kinds.training import NETWORK, network_after

OPTIONS = {"data": "mnist_subset", "network": "lenet", "epochs": 1, "samples": 256, "batch_size": 64}


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cell")
    cell = Train(**OPTIONS, seed=3, weights="float16", graded=True)
    kept = folder / "kept"
    kept.mkdir()
    cell.run(CellContext(folder / "part", kept))
    return folder / "part"


def test_float16_weights_are_stored_in_half_the_space_and_read_back_exactly(cell, tmp_path):
    model, card = network_after(cell)
    again = zoo.save_network(tmp_path / "again", zoo.round_to_float16(model), card)
    assert (again / "weights.safetensors").read_bytes() == (
        cell / NETWORK / "weights.safetensors"
    ).read_bytes()
    parameters = sum(p.numel() for p in model.parameters())
    assert (cell / NETWORK / "weights.safetensors").stat().st_size < 2.2 * parameters


def test_biases_are_not_rounded():
    model = torch.nn.utils.skip_init(torch.nn.Linear, 1, 1)
    with torch.no_grad():
        model.weight.fill_(1 + 2**-12)
        model.bias.fill_(1 + 2**-12)
    zoo.round_to_float16(model)
    assert model.weight.item() == 1
    assert model.bias.item() == 1 + 2**-12


def test_a_weight_beyond_float16_is_refused_by_name():
    model = torch.nn.utils.skip_init(torch.nn.Linear, 1, 1)
    torch.nn.init.constant_(model.weight, 1e5)
    with pytest.raises(ValueError, match=r"weight has weights up to 1e\+05"):
        zoo.round_to_float16(model)


def test_the_grade_is_that_of_the_rounded_network_on_the_whole_test_split(cell):
    model, card = network_after(cell)
    test = card.prepared(zoo.load("mnist_subset", split="test"))
    assert card.training["test_images"] == len(test)
    assert card.training["test_accuracy"] == zoo.evaluate(model, test)


def test_the_network_before_training_is_built_again_from_its_seed(cell):
    model, card = network_after(cell, 0)
    built = zoo.build("lenet", input_shape=card.input_shape, seed=3)
    for name, tensor in built.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=0, atol=0)


def test_the_start_of_a_training_that_began_elsewhere_must_have_been_kept(cell, tmp_path):
    card = read_sealed_json(cell / NETWORK / "card.json", newest=2, what="a card").document
    card["training"]["start"] = "train/other"
    (tmp_path / NETWORK).mkdir()
    write_sealed_json(tmp_path / NETWORK / "card.json", card)
    with pytest.raises(ValueError, match="after epoch 0: add it to keep_epochs"):
        network_after(tmp_path, 0)


def test_a_cell_interrupted_while_it_is_graded_still_has_the_networks_it_kept(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    cell = Train(**OPTIONS, graded=True, keep_epochs=[0, 1])
    with monkeypatch.context() as patched:
        patched.setattr(zoo, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cell.run(CellContext(tmp_path / "part", tmp_path / "kept"))
    cell.run(CellContext(tmp_path / "again", tmp_path / "kept"))
    for epoch in (0, 1):
        assert (tmp_path / "again" / f"{NETWORK}@{epoch}" / "weights.safetensors").is_file()
