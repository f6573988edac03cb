"""`invariscope verify` prints one line per file, and fails if a file is not as it was written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.zoo import Card, save_network

EARLIER = Path(__file__).parents[1] / "golden" / "saved"
CARD = Card(
    network="simple_conv", input_shape=(1, 28, 28), classes=("a", "b"), options={"filters": 2, "fc": 4}
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    x = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    for name in ("one", "two"):
        iv.measure(nn.Conv2d(1, 2, 3), x, iv.QuarterTurns(), progress=False).save(folder / "runs" / name)
    save_network(folder / "net", CARD.build(), CARD)
    return folder


@pytest.fixture
def saved(written, tmp_path):
    return Path(shutil.copytree(written, tmp_path / "saved"))


def lines(done):
    return [line.split(None, 1) for line in done.output.splitlines()]


def test_whole_files_are_ok(invoke, saved):
    done = invoke("verify", saved)
    assert done.exit_code == 0
    assert [state for state, _ in lines(done)] == ["ok"] * 6


def test_a_single_file_can_be_given(invoke, saved):
    done = invoke("verify", saved / "net" / "card.json", saved / "runs" / "one")
    assert [state for state, _ in lines(done)] == ["ok"] * 3


def test_files_of_an_earlier_version_have_no_digest_which_is_no_error(invoke):
    done = invoke("verify", EARLIER)
    assert done.exit_code == 0
    assert done.output.count("no digest") == len(done.output.splitlines()) == 3


@pytest.mark.parametrize("name", ["runs/one/result.json", "net/weights.safetensors", "net/card.json"])
def test_a_flipped_bit_is_named_with_its_file(invoke, saved, name):
    content = bytearray((saved / name).read_bytes())
    content[-20] ^= 1
    (saved / name).write_bytes(content)
    done = invoke("verify", saved)
    assert done.exit_code == 1
    (wrong,) = [text for state, text in lines(done) if state == "wrong"]
    assert wrong.startswith(str(saved / name))


def test_files_of_two_results_are_noticed(invoke, saved):
    shutil.copy(saved / "runs/one/maps.safetensors", saved / "runs/two/maps.safetensors")
    done = invoke("verify", saved)
    assert done.exit_code == 1
    assert "runs/two/maps.safetensors: has another SHA-256 than the one recorded in" in done.output
    with pytest.raises(ValueError, match=r"does not match its result\.json"):
        iv.load(saved / "runs/two")


def test_a_missing_file_is_wrong(invoke, saved):
    (saved / "runs/one/maps.safetensors").unlink()
    done = invoke("verify", saved)
    assert done.exit_code == 1
    assert "runs/one/maps.safetensors: missing" in done.output


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no such file"),
        (Path.mkdir, "contains no saved result"),
        (lambda path: path.with_suffix(".json").write_text("{}"), "is not a file with a digest"),
    ],
)
def test_nothing_to_check_is_an_error(invoke, tmp_path, make, said):
    path = tmp_path / "x"
    made = make(path)
    done = invoke("verify", path if made is None else path.with_suffix(".json"))
    assert done.exit_code == 2
    assert said in done.output


def test_an_old_result_says_that_damage_cannot_be_noticed_until_it_is_saved_again(tmp_path):
    old = iv.load(EARLIER / "result")
    assert "have no SHA-256" in old.provenance["notes"][-1]
    again = iv.load(old.save(tmp_path / "again"))
    assert again.provenance == old.provenance
