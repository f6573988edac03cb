"""Globs, lists and predicates select layers; what selects nothing is an error that helps."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from invariscope.readers import CallableReader, LayerInfo, Reader, TorchReader, as_reader
from invariscope.readers.torch.in_graph import responses_in_graph
from odd_models import ODD_MODELS

pytestmark = pytest.mark.usefixtures("seeded")


def chosen(name: str, layers: Any) -> list[tuple[str, int]]:
    model, x = ODD_MODELS[name]()
    return [(i.layer, i.call) for i in TorchReader(model, layers=layers).inspect(x).layers]


def test_a_name_selects_its_layer() -> None:
    assert chosen("residual", "block1.conv1") == [("block1.conv1", 0)]


def test_a_star_crosses_dots() -> None:
    assert chosen("residual", "block*.conv*") == [
        ("block1.conv1", 0),
        ("block1.conv2", 0),
        ("block2.conv1", 0),
        ("block2.conv2", 0),
    ]


def test_a_list_selects_in_forward_order_whatever_its_own_order() -> None:
    assert chosen("residual", ["head", "stem", "st?m"]) == [("stem", 0), ("head", 0)]


def test_operations_are_selected_by_name_with_all_their_runs() -> None:
    assert chosen("residual", "*/add") == [(f"block{b}/add", c) for b in (1, 2) for c in (0, 1)]
    assert chosen("residual", "mean") == [("mean", 0)]


def test_runs_of_a_shared_module_are_selected_together() -> None:
    assert chosen("shared_module", "mix") == [("mix", 0), ("mix", 1), ("mix", 2)]


def test_parts_of_an_output_are_selected_by_their_place() -> None:
    assert chosen("lstm_batch_first", "rnn[1][0]") == [("rnn[1][0]", 0)]
    assert chosen("lstm_batch_first", "rnn") == [("rnn", 0)]
    assert chosen("lstm_batch_first", "rnn*") == [("rnn", 0), ("rnn[1][0]", 0), ("rnn[1][1]", 0)]


def test_a_container_is_read_only_when_named() -> None:
    assert ("block1", 0) not in chosen("residual", None)
    assert chosen("residual", "block1") == [("block1", 0)]


def test_the_model_itself_goes_by_the_name_of_its_class() -> None:
    model, x = ODD_MODELS["residual"]()
    reader, found = TorchReader(model, layers=["Residual", "log_softmax"]), {}
    infos = reader.inspect(x).layers
    assert [(i.layer, i.kind, i.alias_of) for i in infos] == [
        ("log_softmax", "function log_softmax", None),
        ("Residual", "Residual", ("log_softmax", 0)),
    ]
    with reader.open() as forward:
        output = forward(x, lambda reading: found.update({reading.layer: reading.values}))
    assert found["Residual"] is output


def test_a_model_without_children_is_a_layer_if_torch_made_it() -> None:
    infos = TorchReader(nn.Linear(3, 2)).inspect(torch.rand(2, 3)).layers
    assert [(i.layer, i.kind) for i in infos] == [("Linear", "Linear")]


def test_layers_inside_attention_are_read_when_named() -> None:
    class Verbose(nn.MultiheadAttention):
        def forward(self, query: Tensor, *args: Any, **kwargs: Any) -> Any:
            return self.out_proj(query), None

    model, x = nn.Sequential(Verbose(4, 2, batch_first=True)), torch.rand(3, 2, 4)
    assert [i.layer for i in TorchReader(model).inspect(x).layers] == ["0"]
    assert [i.layer for i in TorchReader(model, layers="*out*").inspect(x).layers] == ["0.out_proj"]


def test_a_predicate_sees_what_is_known_of_a_layer() -> None:
    assert chosen("residual", lambda info: info.kind == "Conv2d" and info.layer != "stem") == [
        ("block1.conv1", 0),
        ("block1.conv2", 0),
        ("block2.conv1", 0),
        ("block2.conv2", 0),
    ]
    assert chosen("residual", lambda info: info.shape == (4,) and info.call == 0) == [
        ("head", 0),
        ("log_softmax", 0),
        ("Residual", 0),
    ]


def test_unused_layers_are_listed_among_those_asked_for() -> None:
    model, x = ODD_MODELS["transformer_encoder"]()
    assert TorchReader(model, layers="layers.0*").inspect(x).unused == ("layers.0.self_attn.out_proj",)
    assert TorchReader(model, layers="layers.1.norm1").inspect(x).unused == ()


def test_module_lists_and_parameter_lists_are_not_unused_layers() -> None:
    class Lists(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.empty, self.weights = nn.ModuleList(), nn.ParameterList([torch.rand(3)])
            self.spare, self.lin = nn.Linear(2, 2), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.lin(x) * self.weights[0]

    assert TorchReader(Lists()).inspect(torch.rand(2, 3)).unused == ("spare",)


# --- errors ---------------------------------------------------------------------------------------------


def test_a_pattern_that_matches_nothing_names_the_closest_layers() -> None:
    with pytest.raises(ValueError, match="no layer matches") as caught:
        chosen("residual", ["stem", "block1.conv9"])
    assert str(caught.value) == (
        "no layer matches 'block1.conv9' in Residual. "
        "Closest: 'block1.conv2', 'block1.conv1', 'block2.conv2'. "
        "`invariscope list layers MODEL` shows all 18."
    )


def test_a_word_for_layers_that_have_numbers_for_names_says_so() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    with pytest.raises(ValueError, match="no layer matches 'conv") as caught:
        TorchReader(model, layers="conv*").inspect(torch.rand(2, 3))
    assert str(caught.value) == (
        "no layer matches 'conv*' in Sequential. Its layers have numbers for names, such as '0', '1'. "
        "`invariscope list layers MODEL` shows all 2, with their kinds."
    )


@pytest.mark.parametrize("name", ["residual", "shared_module", "shared_container"])
def test_the_number_of_layers_in_the_message_is_that_of_the_listing(name: str) -> None:
    with pytest.raises(ValueError, match=rf"shows all {len(chosen(name, None))}\b"):
        chosen(name, "none such")


def test_readings_in_the_graph_count_layers_in_the_same_way() -> None:
    model, x = ODD_MODELS["shared_module"]()
    with pytest.raises(ValueError, match=rf"shows all {len(chosen('shared_module', None))}\b"):
        responses_in_graph(model, x, layers="none such")


def test_a_layer_that_never_ran_says_so() -> None:
    with pytest.raises(
        ValueError, match=r"'layers.0.self_attn.out_proj' exists in .*, but its forward pass never ran it"
    ):
        chosen("transformer_encoder", "layers.0.self_attn.out_proj")


def test_a_predicate_that_accepts_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="selects none of the"):
        chosen("residual", lambda info: False)


def test_an_empty_list_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"layers=\[\] selects nothing"):
        TorchReader(nn.Linear(2, 2), layers=[])


@pytest.mark.parametrize("layers", [3, ["conv", 4], {"conv"}])
def test_a_selection_of_another_kind_is_an_error(layers: Any) -> None:
    with pytest.raises(TypeError, match="layers must be a name, a glob, a list of them or a predicate"):
        TorchReader(nn.Linear(2, 2), layers=layers)


def test_a_batch_axis_for_an_unknown_layer_is_an_error() -> None:
    model, x = ODD_MODELS["refused_layers"]()
    with pytest.raises(ValueError, match=r"no layer matches 'similarty' in Refused\. Closest: 'similarity'"):
        TorchReader(model, batch_axis={"similarty": 0}).inspect(x)


def test_a_batch_axis_that_does_not_follow_the_batch_is_the_reason_to_skip() -> None:
    model, x = ODD_MODELS["refused_layers"]()
    infos = TorchReader(model, batch_axis={"lin": 1, "similarity": 2}).inspect(x).layers
    assert [i.status for i in infos[:2]] == [
        "batch_axis=1 does not follow the batch: it has 3 and 3 values for batches of 2 and 3",
        "batch_axis=2 does not exist in a tensor of 2 axes",
    ]


@pytest.mark.parametrize("batch_axis", ["0", 1.0, True, {"lin": "1"}])
def test_a_batch_axis_of_another_kind_is_an_error(batch_axis: Any) -> None:
    with pytest.raises(TypeError, match="batch_axis must be an axis or"):
        TorchReader(nn.Linear(2, 2), batch_axis=batch_axis)


def test_a_failing_model_says_what_it_was_fed_and_where_it_failed() -> None:
    model, _ = ODD_MODELS["plain_cnn"]()
    with pytest.raises(ValueError, match="the model, in 'conv' \\(Conv2d\\), failed") as caught:
        TorchReader(model).inspect(torch.rand(4, 3, 8, 8))
    assert "on inputs of shape (4, 3, 8, 8) and dtype float32, 2 of which were tried: " in str(caught.value)
    assert "expected input" in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_the_innermost_module_is_blamed() -> None:
    model, _ = ODD_MODELS["residual"]()
    model.block2.bn = nn.BatchNorm2d(7)
    with pytest.raises(ValueError, match=r"in 'block2\.bn' \(BatchNorm2d\)"):
        TorchReader(model.eval()).inspect(torch.rand(4, 1, 7, 7))


@pytest.mark.parametrize("x", [torch.rand(0, 4), torch.tensor(1.0)])
def test_empty_inputs_are_an_error(x: Tensor) -> None:
    with pytest.raises(ValueError, match="inputs must contain at least one sample, got shape"):
        TorchReader(nn.Linear(4, 2)).inspect(x)


def test_inputs_that_are_not_a_tensor_are_an_error() -> None:
    with pytest.raises(
        TypeError, match="inputs must be a tensor with the batch on the first axis, got ndarray"
    ):
        TorchReader(nn.Linear(4, 2)).inspect(np.ones((3, 4)))  # type: ignore[arg-type]


def test_a_lazy_module_must_run_once_before() -> None:
    with pytest.raises(ValueError, match=r"'0.weight' is not initialised yet \(a lazy module\)"):
        TorchReader(nn.Sequential(nn.LazyLinear(3))).inspect(torch.rand(3, 4))


def test_an_unknown_precision_is_an_error() -> None:
    with pytest.raises(ValueError, match="precision must be one of 'float32', 'bf16', 'float64', got 'fp8'"):
        TorchReader(nn.Linear(4, 2)).inspect(torch.rand(3, 4), precision="fp8")  # type: ignore[arg-type]


def test_a_copy_that_would_still_run_the_original_is_refused() -> None:
    model, x = ODD_MODELS["wrapped_forward"]()
    with pytest.raises(
        ValueError, match="precision='bf16' needs a copy of the model, but the forward method of"
    ):
        TorchReader(model).inspect(x, precision="bf16")


def test_a_model_that_cannot_be_copied_says_why() -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    model.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(
        ValueError, match="precision='bf16' needs a copy of the model, but the model cannot be copied"
    ):
        TorchReader(model).inspect(torch.rand(3, 4), precision="bf16")


def test_complex_weights_are_not_cast() -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    model.register_buffer("phases", torch.rand(3, dtype=torch.complex64))
    with pytest.raises(ValueError, match="precision='float64' cannot cast the complex tensor 'phases'"):
        TorchReader(model).inspect(torch.rand(3, 4), precision="float64")


# --- as_reader ------------------------------------------------------------------------------------------


def test_as_reader_recognises_modules_callables_and_readers() -> None:
    reader = as_reader(nn.Linear(2, 2), layers="Linear")
    assert isinstance(reader, TorchReader)
    assert reader.layers == "Linear"
    assert isinstance(as_reader(lambda x: {"a": x}), CallableReader)
    assert as_reader(reader) is reader


def _annotated(width: int = 2) -> nn.Linear:
    return nn.Linear(width, 2)


def _keywords_only(*, width=2):
    return nn.Linear(width, 2)


def _two_arguments(inputs, outputs):
    return nn.Linear(inputs, outputs)


@pytest.mark.parametrize(
    ("maker", "said"),
    [
        (nn.Flatten, r"got the class Flatten, not a model: did you mean Flatten\(\)\?"),
        (nn.Linear, r"did you mean Linear\(\.\.\.\)\?"),
        (_annotated, r"got the function _annotated, not a model: did you mean _annotated\(\)\?"),
        (_keywords_only, r"did you mean _keywords_only\(\)\?"),
        (_two_arguments, r"did you mean _two_arguments\(\.\.\.\)\?"),
    ],
)
def test_what_makes_a_model_is_not_taken_for_one(maker: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        as_reader(maker)


def test_functions_of_the_inputs_are_taken_whatever_else_they_may_be_given() -> None:
    functions = lambda x, scale=2: {"a": x * scale}, lambda *inputs: {"a": inputs[0]}, np.tanh, torch.relu
    for function in functions:
        assert isinstance(as_reader(function), CallableReader)


def test_something_else_is_an_error() -> None:
    with pytest.raises(
        TypeError, match=r"cannot read a dict: pass a torch\.nn\.Module.*a Reader, or a callable"
    ):
        as_reader({"conv": 1})


def test_a_reader_keeps_its_own_selection() -> None:
    with pytest.raises(TypeError, match="its own layers="):
        as_reader(TorchReader(nn.Linear(2, 2)), layers="Linear")


def test_a_reader_defined_elsewhere_is_found() -> None:
    class Table(dict):  # type: ignore[type-arg]
        pass

    class TableReader(TorchReader):
        @classmethod
        def accepts(cls, model: Any) -> bool:
            return isinstance(model, Table)

    from invariscope.readers.base import READERS

    try:
        assert isinstance(as_reader(Table()), TableReader)
        assert issubclass(READERS.get("table_reader"), Reader)
    finally:
        READERS._classes.pop("table_reader")


def test_layer_infos_compare_by_value() -> None:
    info = LayerInfo("conv", 0, (3,), "float32", "Conv2d", None)
    assert info == LayerInfo("conv", 0, (3,), "float32", "Conv2d", None)
    assert info.status == "ok"


# --- exclusions -----------------------------------------------------------------------------------------


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin, self.spare = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, self.lin(x), x) + 1


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("!*where*", ["lin", "add"]),
        (["*", "!*where*"], ["lin", "add", "Gated"]),
        (["!add", "*where*", "add"], ["where"]),
        (["!lin", "!where"], ["add"]),
    ],
)
def test_an_exclamation_mark_excludes(layers: Any, expected: list[str]) -> None:
    found = TorchReader(Gated(), layers=layers).inspect(torch.rand(3, 3))
    assert [info.layer for info in found.layers] == expected


def test_an_exclusion_holds_for_callables_and_for_what_never_ran() -> None:
    reader = CallableReader(lambda x: {"a": x, "b": x}, layers="!a")
    assert [info.layer for info in reader.inspect(torch.rand(3, 3)).layers] == ["b"]
    assert TorchReader(Gated(), layers="!spare").inspect(torch.rand(3, 3)).unused == ()


def test_an_exclusion_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no layer matches '!wehre' in Gated. Closest: 'where'"):
        TorchReader(Gated(), layers=["*", "!wehre"]).inspect(torch.rand(3, 3))


def test_a_layer_that_never_ran_beside_others_is_listed_as_unused() -> None:
    found = TorchReader(Gated(), layers=["lin", "spare"]).inspect(torch.rand(3, 3))
    assert ([info.layer for info in found.layers], found.unused) == (["lin"], ("spare",))
