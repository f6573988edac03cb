"""Models and data by name: every form, and every kind of file that is refused."""

from __future__ import annotations

import pickle
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import invariscope as iv
from invariscope.cli.data import load_data
from invariscope.cli.models import Request, load_model, read_network
from invariscope.data.files.held import FileData
from invariscope.readers.exported import load_exported, only_tensors
from invariscope.zoo import Card, ImageData, save_network


class Malicious:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("sentinel"),))


def weights_of(model: nn.Module) -> list[float]:
    return [float(parameter.detach().sum()) for parameter in model.parameters()]


# Models


def test_code_of_the_user_may_be_a_factory_or_a_model(workplace):
    made, ready = load_model("net.py:make"), load_model("net.py:ready")
    assert (made.label, ready.label) == ("net:make", "net:ready")
    assert weights_of(made.model) == weights_of(ready.model)


def test_a_module_of_the_working_directory_can_be_named(workplace, monkeypatch):
    Path("named_network.py").write_text("from torch import nn\nmake = nn.Identity\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert isinstance(load_model("named_network:make").model, nn.Identity)


def test_a_file_may_import_its_neighbours(workplace, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("deep").mkdir()
    Path("deep/helper_of_outer.py").write_text("from torch import nn\nModule = nn.Identity\n")
    Path("deep/outer.py").write_text("from helper_of_outer import Module\ndef make(): return Module()\n")
    assert isinstance(load_model("deep/outer.py:make").model, nn.Identity)


def test_a_zoo_network_fits_the_data_and_is_seeded():
    first, again, other = (
        load_model("zoo:simple_conv(filters=2)", Request(shape=(3, 16, 16), classes=5, seed=seed))
        for seed in (7, 7, 8)
    )
    assert first.fresh
    assert first.model(torch.zeros(2, 3, 16, 16)).shape == (2, 5)
    assert weights_of(first.model) == weights_of(again.model)
    assert weights_of(first.model) != weights_of(other.model)


@pytest.mark.parametrize(
    "text", ["simple_conv(2)", "simple_conv(filters=open('x'))", "a.b", "simple_conv(", "**x"]
)
def test_options_of_a_network_are_literals_by_name(text):
    with pytest.raises(ValueError, match="write simple_conv"):
        read_network(text)


def test_a_trained_network_is_its_folder_and_standardises_images_as_in_training(tmp_path):
    trained_on = {"data": {"mean": [0.5], "std": [2.0]}}
    card = Card(
        network="simple_conv",
        input_shape=(1, 8, 8),
        classes=("a", "b"),
        options={"filters": 2},
        training=trained_on,
    )
    save_network(tmp_path / "plain", card.build(), card)
    named = load_model(str(tmp_path / "plain"))
    data = ImageData("d", "test", torch.ones(3, 1, 8, 8), torch.zeros(3, dtype=torch.long), ("a", "b"))
    assert named.label == "plain"
    assert named.prepared(data).images.unique().tolist() == [0.25]
    assert load_model(str(tmp_path / "plain" / "weights.safetensors")).label == "plain"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("net.onnx", "no such file"),
        ("net.keras", "no such file"),
        ("simple_conv", "Did you mean zoo:simple_conv"),
        ("nets/plain", "no such file"),
        ("zoo:simple_cnov", "Closest: 'simple_conv'"),
    ],
)
def test_a_name_that_is_not_a_model_says_what_to_write(name, said):
    with pytest.raises(ValueError, match=said):
        load_model(name)


@pytest.mark.parametrize(
    ("file", "said"), [("w.pt", "Name the architecture"), ("w.txt", "cannot load a model from")]
)
def test_a_file_that_is_not_a_model_says_what_it_is(file, said, workplace):
    Path(file).write_bytes(b"\0")
    with pytest.raises(ValueError, match=said):
        load_model(file)


@pytest.mark.parametrize("scheme", ["torchvision", "timm", "hf"])
def test_a_missing_library_is_named(scheme, monkeypatch):
    package = {"torchvision": "torchvision.models", "timm": "timm", "hf": "transformers"}[scheme]
    monkeypatch.setitem(sys.modules, package.split(".")[0], None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"pip install {package.split('.')[0]}"):
        load_model(f"{scheme}:resnet18")


@pytest.mark.parametrize("scheme", ["torchvision", "timm", "hf"])
def test_a_library_for_another_torch_is_an_error_of_one_line(scheme, fails, monkeypatch):
    package = {"torchvision": "torchvision", "timm": "timm", "hf": "transformers"}[scheme]
    Path("broken").mkdir()
    Path("broken", f"{package}.py").write_text("raise RuntimeError('operator nms does not exist')")
    monkeypatch.syspath_prepend("broken")
    monkeypatch.delitem(sys.modules, package, raising=False)
    said = fails("measure", f"{scheme}:resnet18", "digits.npz", "-t", "quarter_turns")
    assert f"the package {package}, which is installed but cannot be imported" in said
    assert "(RuntimeError: operator nms does not exist). Install versions" in said


def library(scheme: str, asked: list) -> tuple[str, SimpleNamespace]:
    """A stand-in for an optional library, which notes what is asked of it."""

    def make(*name: str, **options: object) -> nn.Module:
        asked.append((*name, options))
        return nn.Linear(2, 2)

    names = {"list_models": lambda: ["resnet18"], "is_model": "resnet18".__eq__}
    published = SimpleNamespace(DEFAULT=SimpleNamespace(transforms=lambda: torch.negative))
    made = {"get_model": make, "get_model_weights": {"resnet18": published}.get}
    return {
        "torchvision": ("torchvision.models", SimpleNamespace(**made, **names)),
        "timm": ("timm", SimpleNamespace(**names)),
    }[scheme]


@pytest.mark.parametrize("weights", [None, "random"])
def test_torchvision_is_asked_for_published_weights_and_their_transform(weights, monkeypatch):
    asked: list = []
    module, stand_in = library("torchvision", asked)
    monkeypatch.setitem(sys.modules, "torchvision", stand_in)
    monkeypatch.setitem(sys.modules, module, stand_in)
    before = torch.random.get_rng_state()
    named = load_model("torchvision:resnet18", Request(weights))
    assert asked == [("resnet18", {"weights": None if weights else "DEFAULT"})]
    assert named.label == ("resnet18" if weights is None else "resnet18, random")
    assert named.preprocess(torch.ones(2, 3, 4, 4)).unique().tolist() == [-1]
    assert torch.equal(before, torch.random.get_rng_state())
    assert load_model("torchvision:resnet18", Request(weights, preprocess=False)).preprocess is None


@pytest.mark.parametrize("scheme", ["torchvision", "timm"])
def test_an_unknown_model_of_a_library_gets_the_closest_names(scheme, monkeypatch):
    module, stand_in = library(scheme, [])
    monkeypatch.setitem(sys.modules, module.split(".")[0], stand_in)
    monkeypatch.setitem(sys.modules, module, stand_in)
    with pytest.raises(ValueError, match="Closest: 'resnet18'"):
        load_model(f"{scheme}:resnet81")


# Weights


@pytest.fixture
def other_weights(workplace) -> dict[str, torch.Tensor]:
    model = load_model("net.py:make").model
    return {name: torch.full_like(value, 0.5) for name, value in model.state_dict().items()}


@pytest.mark.parametrize("file", ["w.safetensors", "w.pt", "w.pth"])
def test_weights_from_a_file_replace_those_of_the_model(file, other_weights):
    (save_file if file.endswith("safetensors") else torch.save)(other_weights, file)
    named = load_model("net.py:make", Request(weights=file))
    assert all(torch.equal(value, other_weights[name]) for name, value in named.model.state_dict().items())


def test_random_weights_are_drawn_anew_under_the_seed(workplace):
    own = weights_of(load_model("net.py:make").model)
    first, again, other = (
        weights_of(load_model("net.py:make", Request("random", seed=seed)).model) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert first != own


def test_weights_of_another_architecture_are_refused(other_weights):
    other_weights["3.weight"] = torch.zeros(5, 5)
    save_file(other_weights, "w.safetensors")
    with pytest.raises(ValueError, match=r"3\.weight \(5, 5\)"):
        load_model("net.py:make", Request("w.safetensors"))


@pytest.mark.parametrize("file", ["w.safetensors", "w.pt"])
def test_truncated_weights_are_refused(file, other_weights):
    (save_file if file.endswith("safetensors") else torch.save)(other_weights, file)
    Path(file).write_bytes(Path(file).read_bytes()[:-500])
    with pytest.raises(ValueError, match="truncated"):
        load_model("net.py:make", Request(file))


@pytest.mark.parametrize("file", ["w.safetensors", "w.pt"])
def test_a_malicious_pickle_is_never_run(file, workplace):
    torch.save({"0.weight": Malicious()}, file)
    with pytest.raises(ValueError, match="run"):
        load_model("net.py:make", Request(file))
    assert not Path("sentinel").exists()


def test_weights_need_a_file_and_a_module(workplace):
    with pytest.raises(FileNotFoundError, match="no weights file"):
        load_model("net.py:make", Request("w.pt"))
    with pytest.raises(ValueError, match="needs a torch module, got list"):
        load_model("net.py:elements", Request("w.pt"))
    with pytest.raises(ValueError, match="needs a torch module, got list"):
        load_model("net.py:elements", Request("random"))


# Exported programs


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("exported") / "net.pt2"
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()).eval()
    batch = {0: torch.export.Dim("batch")}
    torch.export.save(torch.export.export(model, (torch.rand(2, 1, 8, 8),), dynamic_shapes=(batch,)), path)
    return path


def test_an_exported_program_is_measured(exported, invoke):
    done = invoke("measure", exported, "digits.npz", "-t", "quarter_turns")
    assert done.exit_code == 0, done.output
    assert "Conv2d" in invoke("list", "layers", exported, "digits.npz").stdout


def test_a_truncated_program_is_refused(exported, workplace):
    Path("net.pt2").write_bytes(exported.read_bytes()[:-300])
    with pytest.raises(ValueError, match="truncated"):
        load_exported(Path("net.pt2"))


def test_an_archive_of_something_else_is_refused(workplace):
    with pytest.raises(ValueError, match="not an exported program"):
        load_exported(Path(Path("digits.npz").rename("net.pt2")))


@pytest.mark.parametrize("entry", ["opaque_obj_0", "custom_obj_0"])
def test_a_program_with_pickled_objects_is_refused_before_it_is_opened(entry, exported, workplace):
    Path("net.pt2").write_bytes(exported.read_bytes())
    with zipfile.ZipFile("net.pt2", "a") as archive:
        archive.writestr(f"net/data/constants/{entry}", pickle.dumps(Malicious()))
    with pytest.raises(ValueError, match="contains pickled objects"):
        load_exported(Path("net.pt2"))
    assert not Path("sentinel").exists()


def test_a_program_whose_weights_are_a_malicious_pickle_is_refused(exported, workplace):
    with zipfile.ZipFile(exported) as source, zipfile.ZipFile("net.pt2", "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("sample_inputs/model.pt"):
                torch.save({"x": Malicious()}, "malicious")
                content = Path("malicious").read_bytes()
            target.writestr(name, content)
    with pytest.raises(ValueError, match="not an exported program"):
        load_exported(Path("net.pt2"))
    assert not Path("sentinel").exists()


def test_nothing_but_tensors_is_unpickled_even_where_a_library_asks_for_it(workplace, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0")
    torch.save({"x": Malicious()}, "malicious")
    with only_tensors(), pytest.raises(pickle.UnpicklingError):
        torch.load("malicious", weights_only=False)
    assert not Path("sentinel").exists()
    torch.load("malicious", weights_only=False)
    assert Path("sentinel").exists(), "the check cannot fail"


# Data


@pytest.mark.parametrize("name", ["mnist_subset", "zoo:mnist_subset"])
def test_a_data_set_is_named_with_or_without_the_zoo(name):
    data = load_data(name, split="train")
    assert (data.name, data.split) == ("mnist_subset", "train")


@pytest.mark.parametrize("names", [("x", "y"), ("images", "labels"), ("inputs", "targets")])
def test_arrays_are_found_under_their_usual_names(names, workplace):
    np.savez("d.npz", **{names[0]: np.zeros((3, 2)), names[1]: np.arange(3)})
    data = load_data("d.npz")
    assert isinstance(data, FileData)
    assert data.images.dtype == torch.float32
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 2]


def test_inputs_alone_have_no_labels(workplace):
    np.save("d.npy", np.ones((3, 2), dtype=np.float32))
    save_file({"x": torch.ones(3, 2)}, "d.safetensors")
    for name in ("d.npy", "d.safetensors"):
        data = load_data(name)
        assert (data.images.tolist(), data.labels) == ([[1, 1]] * 3, None)


def test_a_text_file_holds_one_sample_per_line(workplace):
    Path("t.txt").write_bytes("\ufeffa cat\r\n\n  \nün chat \n".encode())
    assert load_data("t.txt") == ["a cat", "ün chat "]


@pytest.mark.parametrize(
    ("content", "said"), [(b" \n", "contains no text"), (b"\xff\xfe a", "is not UTF-8 text")]
)
def test_a_text_file_without_text_is_refused(content, said, workplace):
    Path("t.txt").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        load_data("t.txt")
    with pytest.raises(FileNotFoundError, match=r"no such file: u\.txt"):
        load_data("u.txt")


def test_a_folder_without_images_is_refused(workplace):
    Path("photos").mkdir()
    with pytest.raises(ValueError, match="holds no images"):
        load_data("photos")


def test_code_of_the_user_may_return_data(workplace):
    torch.manual_seed(0)
    Path("pairs.py").write_text("import torch\ndef make(): return torch.rand(4, 3), torch.arange(4)\n")
    assert len(load_data("pairs.py:make")) == 2


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"a": np.zeros(3)}, "contains .'a'.; name the inputs x or images"),
        ({"x": np.zeros(3), "images": np.zeros(3)}, "both 'x' and 'images'; keep one"),
        ({"x": np.array(["a", "b"])}, "must be numbers"),
        ({"x": np.array([None, {}], dtype=object)}, "pickled objects are never read"),
    ],
)
def test_arrays_that_cannot_be_inputs_are_refused(arrays, said, workplace):
    np.savez("d.npz", **arrays)
    with pytest.raises(ValueError, match=said):
        load_data("d.npz")


@pytest.mark.parametrize("file", ["d.npz", "d.npy", "d.safetensors"])
@pytest.mark.parametrize("content", ["", "truncated", "malicious"])
def test_damaged_and_malicious_files_are_refused(file, content, workplace):
    np.savez("whole.npz", x=np.zeros((3, 200)))
    np.save("whole.npy", np.zeros((3, 200)))
    save_file({"x": torch.zeros(3, 200)}, "whole.safetensors")
    whole = Path(f"whole{Path(file).suffix}").read_bytes()
    contents = {"": b"", "truncated": whole[: len(whole) // 2], "malicious": pickle.dumps(Malicious())}
    Path(file).write_bytes(contents[content])
    with pytest.raises(ValueError, match="cannot read arrays"):
        load_data(file)
    assert not Path("sentinel").exists()


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        (("zoo:min_cnn",), "random, seed 4"),
        (("net.py:make",), None),
        (("net.py:make", "--weights", "random"), "random, seed 4"),
    ],
)
@pytest.mark.parametrize("name", ["measure", "curve"])
def test_results_say_which_weights_were_drawn_just_now(invoke, name, options, weights):
    more = ("-t", "quarter_turns") if name == "measure" else ("--radii", 2)
    model, *rest = options
    done = invoke(name, model, "digits.npz", *rest, *more, "--seed", 4, "--out", "r")
    assert done.exit_code == 0, done.output
    assert iv.load("r").provenance["model"].get("weights") == weights
    page = Path("r/report.html").read_text()
    assert ("<small>weights: random, seed 4</small>" in page) == (weights is not None)
