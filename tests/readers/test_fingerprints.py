"""Fingerprints identify models, functions and transforms, the same in every process."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import subprocess
import sys
import threading
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import invariscope as iv
from invariscope.readers import CallableReader, TorchReader
from invariscope.readers.fingerprint import identify
from odd_models import ODD_MODELS

pytestmark = pytest.mark.usefixtures("seeded")

_SCRIPT = """
import sys; sys.path[:0] = {paths!r}
from test_fingerprints import same_everywhere
print(*same_everywhere())
"""


class Mode(Enum):
    A = 1
    B = 2


def doubled(x: Tensor) -> Tensor:
    return x * FACTOR


FACTOR = 2.0


class Configured(nn.Module):
    """Holds something that its forward may use."""

    names = frozenset(["layer", "other", "third", "fourth"])

    def __init__(self, held: Any) -> None:
        super().__init__()
        self.layer, self.held = nn.Linear(2, 2), held
        nn.init.ones_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return doubled(self.layer(x)) if "layer" in {"layer", "other", "third"} else x


HELD: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "a number": lambda: 0.01,
    "another number": lambda: 0.9,
    "an integer": lambda: 1,
    "a flag": lambda: True,
    "a text": lambda: "1",
    "nested": lambda: {"a": [1, (2, {3, 4, "five", "six", "seven"})], "b": {"c": None}},
    "nested otherwise": lambda: {"a": [1, (2, {3, 4, "five", "six", "eight"})], "b": {"c": None}},
    "a function": lambda: doubled,
    "a partial": lambda: functools.partial(doubled, x=1),
    "a lambda": lambda: lambda x: x + 1,
    "another lambda": lambda: lambda x: x + 2,
    "an array": lambda: np.arange(3.0),
    "another array": lambda: np.arange(3.0)[::-1],
    "a big-endian array": lambda: np.arange(3.0).astype(">f8"),
    "an array of objects": lambda: np.array([1, "a", None], dtype=object),
    "a tensor": lambda: torch.ones(2),
    "a conjugate": lambda: torch.ones(2, dtype=torch.complex64).mul(1j).conj(),
    "a complex tensor": lambda: torch.ones(2, dtype=torch.complex64).mul(1j),
    "a sparse tensor": lambda: torch.eye(2).to_sparse(),
    "a dtype": lambda: torch.float16,
    "a choice": lambda: Mode.A,
    "another choice": lambda: Mode.B,
    "a slice": lambda: slice(0, 2),
    "modules in a list": lambda: [nn.LeakyReLU(0.1)],
    "other modules in a list": lambda: [nn.LeakyReLU(0.2)],
    "an object": lambda: SimpleNamespace(a=1),
    "a generator": lambda: torch.Generator().manual_seed(1),
    "another generator": lambda: np.random.default_rng(1),
    "a lock": threading.Lock,
    "a bound method": lambda: nn.Linear(1, 1, bias=False, device="meta").forward,
    "an operation": lambda: torch.ops.aten.relu.default,
    "another operation": lambda: torch.ops.aten.tanh.default,
    "a builtin": lambda: torch.relu,
    "a class": lambda: Mode,
}


def same_everywhere() -> list[str]:
    """The digests of one model of each kind."""
    names = [
        "residual",
        "bf16_model",
        "double_model",
        "channels_last_model",
        "weight_norm",
        "scripted_inside",
    ]
    models = [*(ODD_MODELS[name]()[0] for name in names), *(Configured(make()) for make in HELD.values())]
    return [TorchReader(model).fingerprint() for model in models]


def test_fingerprints_are_the_same_in_another_process() -> None:
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    found = [
        subprocess.run(
            [sys.executable, "-c", _SCRIPT.format(paths=paths)],
            **{"capture_output": True, "text": True, "check": True},
            env={**__import__("os").environ, "PYTHONHASHSEED": seed},
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert found[0] == found[1]
    assert len(set(found[0])) == len(found[0])


def test_a_fingerprint_covers_everything_that_a_module_holds() -> None:
    identities = {name: TorchReader(Configured(make())).identity() for name, make in HELD.items()}
    assert len({identity.digest for identity in identities.values()}) == len(HELD)
    assert not any(identity.unseen for identity in identities.values())
    assert all(TorchReader(Configured(make())).identity() == identities[name] for name, make in HELD.items())


@pytest.mark.parametrize(
    "make",
    [
        lambda: io.BytesIO(b"").getbuffer(),
        lambda: sys.__stdout__,
        lambda: (n for n in range(3)),
        lambda: {"deep": [SimpleNamespace(it=(n for n in range(3)))]},
    ],
)
def test_what_a_fingerprint_cannot_cover_is_listed(make: Callable[[], Any]) -> None:
    model = Configured(make())
    (place,) = TorchReader(model).identity().unseen
    assert place.startswith("Configured.held")
    assert place.endswith(("(memoryview)", "(TextIOWrapper)", "(generator)"))
    found = iv.measure(model, torch.randn(4, 2), [lambda x: x, torch.neg], progress=False)
    assert found.provenance["model"]["unseen"] == [place]


def test_a_checkpoint_is_refused_if_a_fingerprint_cannot_cover_everything(tmp_path: Path) -> None:
    x, numbers = torch.randn(4, 2), itertools.cycle([1])
    held = (n for n in numbers)
    options = {"checkpoint": tmp_path / "sums", "progress": False}
    with pytest.raises(ValueError, match=r"cannot cover Configured.held \(generator\).*without checkpoint="):
        iv.measure(Configured(held), x, [lambda x: x, torch.neg], **options)
    with pytest.raises(ValueError, match=r"cannot cover transform.callables\[1\].held \(generator\)"):
        iv.measure(Configured(1), x, [lambda x: x, lambda x: x if held else -x], **options)


def test_a_checkpoint_is_not_resumed_with_other_elements_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from invariscope.engine import checkpoint

    monkeypatch.setattr(checkpoint.Checkpoint, "due", lambda self: True)
    model, x = Configured(1), torch.randn(8, 2)

    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    def elements(by: float) -> list[Any]:
        return [lambda x: x, lambda x: x * by]

    options = {"checkpoint": tmp_path / "sums", "batch_size": 4}
    with pytest.raises(KeyboardInterrupt):
        iv.measure(model, x, elements(2.0), progress=stop, **options)
    for other in ({"transform": elements(3.0)}, {"model": Configured(2)}):
        given = {"model": model, "data": x, "transform": elements(2.0)} | other
        with pytest.raises(ValueError, match="belongs to another measurement"):
            iv.measure(**given, progress=False, **options)
    resumed = iv.measure(model, x, elements(2.0), progress=False, **options)
    whole = iv.measure(model, x, elements(2.0), progress=False, batch_size=4)
    assert resumed.table.value.tolist() == whole.table.value.tolist()


# --- modules ------------------------------------------------------------------------------------------------


def test_the_fingerprint_covers_every_bit_of_parameters_and_buffers() -> None:
    model, _ = ODD_MODELS["bf16_model"]()
    model.register_buffer("passing", torch.zeros(2), persistent=False)
    digests = {TorchReader(model).fingerprint()}
    for tensor in (*model.parameters(), *model.buffers()):
        with torch.no_grad():
            tensor.view(-1)[-1:] += 1
        digests.add(TorchReader(model).fingerprint())
    assert len(digests) == 1 + len([*model.parameters(), *model.buffers()])


def test_the_fingerprint_covers_shapes_names_types_classes_and_configuration() -> None:
    models = [
        nn.Sequential(nn.Linear(2, 3, bias=False)),
        nn.Sequential(nn.Linear(3, 2, bias=False)),
        nn.Sequential(nn.Identity(), nn.Linear(2, 3, bias=False)),
        nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU()),
        nn.Sequential(nn.Linear(2, 3, bias=False), nn.Tanh()),
        nn.Sequential(nn.Linear(2, 3, bias=False), nn.LeakyReLU(0.01)),
        nn.Sequential(nn.Linear(2, 3, bias=False), nn.LeakyReLU(0.9)),
        nn.Sequential(nn.Linear(2, 3, bias=False)).half(),
        nn.Sequential(nn.Linear(2, 3, bias=False)).bfloat16(),
        nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 3, bias=False))),
        nn.Sequential(parametrizations.orthogonal(nn.Linear(2, 3, bias=False))),
    ]
    for model in models:
        for weight in model.parameters():
            nn.init.zeros_(weight)
    assert len({TorchReader(model).fingerprint() for model in models}) == len(models)


def test_the_fingerprint_covers_the_code_of_forwards_and_hooks() -> None:
    def network(change: Callable[[Tensor], Tensor]) -> nn.Module:
        class Net(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return self.helped(x)

            def helped(self, x: Tensor) -> Tensor:
                return change(x)

        return Net()

    def other() -> nn.Module:
        class Net(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return self.helped(x)

            def helped(self, x: Tensor) -> Tensor:
                return x - 1

        return Net()

    def hooked(by: float) -> nn.Module:
        model = network(torch.relu)
        model.register_forward_hook(lambda module, args, output: output * by)
        return model

    def replaced(by: float) -> nn.Module:
        model = network(torch.relu)
        model.forward = lambda x: x * by
        return model

    models = [network(torch.relu), other(), hooked(1.0), hooked(2.0), replaced(1.0), replaced(2.0)]
    digests = [TorchReader(model).fingerprint() for model in models]
    assert len(set(digests)) == len(models)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_the_fingerprint_covers_constants_and_attributes_of_scripted_modules() -> None:
    def traced(by: float) -> nn.Module:
        held = torch.tensor([by, by])
        return torch.jit.trace(nn.Sequential(_Times(held)), torch.ones(2))

    digests = [TorchReader(model).fingerprint() for model in (traced(1.0), traced(2.0), traced(1.0))]
    assert digests[0] == digests[2] != digests[1]


class _Times(nn.Module):
    def __init__(self, by: Tensor) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return x * self.by


def test_the_fingerprint_ignores_modes_gradients_and_memory_formats() -> None:
    model, _ = ODD_MODELS["channels_last_model"]()
    before = TorchReader(model).fingerprint()
    model.train().requires_grad_(False).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    assert TorchReader(model).fingerprint() == before


def test_weights_have_a_digest_of_their_own() -> None:
    first, second, third = Configured(1), Configured(2), Configured(1)
    nn.init.zeros_(third.layer.weight)
    identities = [TorchReader(model).identity() for model in (first, second, third)]
    assert identities[0].weights == identities[1].weights != identities[2].weights
    assert len({identity.digest for identity in identities}) == 3


def test_a_compiled_model_has_the_fingerprint_of_the_model() -> None:
    model, _ = ODD_MODELS["plain_cnn"]()
    compiled = torch.compile(model, backend="eager")
    assert TorchReader(compiled).fingerprint() == TorchReader(model).fingerprint()  # type: ignore[arg-type]


def test_a_module_that_holds_itself_has_a_fingerprint() -> None:
    def ring(value: float) -> nn.Module:
        model = Configured([value])
        model.held.append(model)
        return model

    digests = [TorchReader(ring(value)).fingerprint() for value in (1.0, 1.0, 2.0)]
    assert digests[0] == digests[1] != digests[2]


# --- functions ----------------------------------------------------------------------------------------------


def scaled(x: Tensor, by: float) -> Tensor:
    return x * by


class Arrays:
    """Looks like an array of another library."""

    dtype, shape = "float32", (2,)

    def __init__(self, *values: float) -> None:
        self.handle, self.values = object(), values

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.values, dtype=dtype)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("lives elsewhere")


def test_the_fingerprint_covers_code_constants_and_what_a_callable_holds() -> None:
    def closing(value: Any) -> Any:
        return lambda x: x * value

    class Model:
        def __init__(self, weight: Any) -> None:
            self.weight = weight

        def __call__(self, x: Tensor) -> Tensor:
            return x * self.weight

        def method(self, x: Tensor) -> Tensor:
            return x

    torch.manual_seed(0)
    callables = [
        lambda x: x + 1,
        lambda x: x + 2,
        lambda x: x - 1,
        lambda x, by=2: x - by,
        lambda x, by=3: x - by,
        lambda x, *, by=2: x - by,
        functools.partial(scaled, by=2.0),
        functools.partial(scaled, by=3.0),
        functools.cache(closing(4.0)),
        functools.cache(closing(5.0)),
        closing(2.0),
        closing(np.ones(3)),
        closing(np.zeros(3)),
        closing(Arrays(1.0, 2.0)),
        closing(Arrays(1.0, 3.0)),
        closing(torch.ones(3)),
        closing(torch.ones(3, dtype=torch.bfloat16)),
        closing(nn.Linear(2, 2)),
        closing(nn.Linear(2, 2)),
        closing(closing(1.0)),
        closing(closing(2.0)),
        Model(1.0),
        Model(2.0),
        Model(2.0).method,
        Model([np.ones(2), "a"]),
    ]
    identities = [CallableReader(function).identity() for function in callables]
    assert len({identity.digest for identity in identities}) == len(callables)
    assert not any(identity.unseen for identity in identities)
    assert CallableReader(closing(2.0)).identity() == CallableReader(closing(2.0)).identity()


def test_the_fingerprint_covers_globals_that_the_code_names(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [identify(f, "f").digest for f in (doubled, lambda x: doubled(x), Configured(1))]
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    after = [identify(f, "f").digest for f in (doubled, lambda x: doubled(x), Configured(1))]
    assert not set(before) & set(after)


def test_a_module_held_by_a_function_is_covered_like_the_module() -> None:
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    before = CallableReader(lambda x: model(x)).fingerprint()
    with torch.no_grad():
        model.weight[0, 0] += 1e-6
    assert CallableReader(lambda x: model(x)).fingerprint() != before
    assert len(TorchReader(model).fingerprint()) == 64


class Irrep(tuple):
    """A tuple that refuses to tell its length, as those of e3nn do."""

    def __len__(self):
        raise NotImplementedError


def test_a_tuple_without_a_length_counts_with_its_entries():
    def holding(*entries):
        net = nn.Linear(2, 2)
        with torch.no_grad():
            net.weight.fill_(1.0), net.bias.fill_(0.0)
        net.irrep = Irrep(entries)
        return net

    same = [TorchReader(holding(1, 2)).fingerprint() for _ in range(2)]
    assert same[0] == same[1] != TorchReader(holding(1, 3)).fingerprint()
    found = iv.measure(holding(1, 2), torch.eye(2), [lambda v: v, lambda v: v.flip(1)], progress=False)
    assert len(found.table)


@contextlib.contextmanager
def multiplied(by: float):
    yield by


def test_functions_decorated_by_a_context_are_identified_by_how_it_is_made():
    """transformers decorates a method of every model with one."""

    def made(by: float):
        @multiplied(by)
        def function() -> None: ...

        return identify(function, "f")

    assert made(2.0).unseen == ()
    assert made(2.0).digest == made(2.0).digest != made(3.0).digest


# Parts, for messages


class Overriding(Configured):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * 3


def test_parts_name_values_by_place() -> None:
    parts = (
        TorchReader(Configured({"factor": 2.5, "names": ["a"], "made": nn.LeakyReLU(0.2)})).identity().parts
    )
    assert parts["Configured.held['factor']"] == "2.5"
    assert parts["Configured.held['names'][0]"] == "'a'"
    assert parts["Configured.held['made'].negative_slope"] == "0.2"
    assert parts["Configured.layer.in_features"] == "2"
    assert parts["Configured.layer.weight"].startswith("float32 (2, 2) #")
    assert parts["Configured"].startswith("Configured #")


def test_an_overridden_method_has_a_place_of_its_own() -> None:
    plain, other = (TorchReader(kind(None)).identity().parts for kind in (Configured, Overriding))
    assert plain["Configured.forward.code"] != other["Overriding.forward.code"]
    assert other["Overriding.forward (inherited).code"] == plain["Configured.forward.code"]


def test_long_containers_and_texts_are_digested_as_a_whole() -> None:
    parts = identify({"many": list(range(1000)), "text": "a" * 1000}, "held").parts
    assert set(parts) == {"held", "held['many']", "held['text']"}
    assert parts["held['text']"].startswith("'aaa")
    assert max(map(len, parts.values())) < 100
    assert identify(["b" * 1000, "a" * 1000], "x").parts["x[1]"] == parts["held['text']"]


def test_code_of_a_package_can_be_identified_by_name() -> None:
    by_name = functools.partial(identify, name="transform", by_name=("invariscope",))
    turns, others = iv.QuarterTurns(), iv.Rotation([0, 90])
    assert by_name(turns).digest != identify(turns, "transform").digest
    assert by_name(turns).digest == by_name(iv.QuarterTurns()).digest != by_name(others).digest
    assert not any(place.endswith(".code") for place in by_name(turns).parts)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (iv.Elements([abs], labels=["a"]), iv.Elements([abs], labels=["b"])),
        (iv.Elements([abs, abs], identity=0), iv.Elements([abs, abs], identity=1)),
        (iv.On(iv.QuarterTurns(), "x"), iv.On(iv.QuarterTurns(), "x").inverse()),
    ],
)
def test_private_fields_that_define_a_transform_count(one: iv.Transform, other: iv.Transform) -> None:
    assert identify(one, "transform").digest != identify(other, "transform").digest
    assert identify(one, "transform") == identify(one, "transform")


def test_caches_of_a_transform_do_not_count() -> None:
    elements = iv.Elements([torch.abs, torch.neg])
    before = identify(elements, "transform").digest
    elements.orbit(torch.ones(3, 2))
    assert identify(elements, "transform").digest == before


SETTINGS = "import types\nK = 0.5\ndef scaled(x): return K * x\ninner = types.SimpleNamespace(K=1)\n"
PARTIAL = """
from functools import partial
import invariscope_settings as s
f = partial(lambda m, x: x * m.K, s)
"""
READERS_OF_SETTINGS = {
    "an attribute": "import invariscope_settings as s\nf = lambda x: x * s.K",
    "a function": "import invariscope_settings as s\nf = lambda x: s.scaled(x)",
    "a submodule": "import invariscope_pack.settings\nf = lambda x: x * invariscope_pack.settings.K",
    "a name": "import invariscope_settings as s\nf = lambda x: x * getattr(s, 'K')",
    "a closure": "import invariscope_settings as s\nf = (lambda m: lambda x: x * m.K)(s)",
    "a default": "import invariscope_settings as s\nf = lambda x, m=s: x * m.K",
    "a partial": PARTIAL,
    "a dictionary": "import invariscope_settings as s\nheld = {'s': s}\nf = lambda x: x * held['s'].K",
    "an import": "def f(x):\n    import invariscope_settings as s\n    return x * s.K",
    "an import of a name": "def f(x):\n    from invariscope_settings import K\n    return x * K",
    "an import of a submodule": "def f(x):\n    import invariscope_pack.settings as s\n    return x * s.K",
}


@pytest.mark.parametrize("code", READERS_OF_SETTINGS.values(), ids=READERS_OF_SETTINGS)
def test_the_fingerprint_covers_what_code_reads_from_other_modules(code, tmp_path, monkeypatch) -> None:
    (tmp_path / "invariscope_pack").mkdir()
    (tmp_path / "invariscope_pack/__init__.py").touch()
    for name in ("invariscope_settings", "invariscope_pack/settings"):
        (tmp_path / f"{name}.py").write_text(SETTINGS)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("invariscope_settings", "invariscope_pack.settings", "invariscope_pack"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    names: dict[str, Any] = {"__name__": "somewhere"}
    exec(code, names)
    digests = [identify(names["f"], "f").digest]
    module = "invariscope_pack.settings" if "pack" in code else "invariscope_settings"
    names["f"](1.0)
    digests += [identify(names["f"], "f").digest]
    monkeypatch.setattr(sys.modules[module], "K", 0.7)
    digests += [identify(names["f"], "f").digest]
    assert digests[0] == digests[1] != digests[2]


def test_an_import_that_the_code_does_without_is_no_part_of_its_fingerprint() -> None:
    def f(x: Any) -> Any:
        try:
            import invariscope_absent
        except ImportError:
            return x
        return invariscope_absent.f(x)

    assert not identify(f, "f").unseen


def test_a_universal_function_made_from_python_code_cannot_be_covered() -> None:
    made = np.frompyfunc(lambda x: 2 * x, 1, 1)
    assert identify([np.sin, made], "held").unseen == ("held[1] (ufunc)",)
    assert identify(np.sin, "f").digest != identify(np.cos, "f").digest


def test_attributes_are_not_taken_for_globals_of_the_same_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any) -> Any:
        return x.FACTOR

    before = identify(f, "f").digest
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert identify(f, "f").digest == before


@pytest.mark.parametrize(
    "kind", ["class Net(torch.nn.Module):\n    forward = lambda self, x: {}", "net = lambda x: {}"]
)
def test_code_without_a_module_counts(kind):
    """`exec` without a module name gives functions without a module, and classes that say "builtins"."""

    def made(body):
        names = {"torch": torch}
        exec(kind.format(body), names)
        return names["net"] if "net" in names else names["Net"]()

    first, again, other = (identify(made(body), "net").digest for body in ("x + 1", "x + 1", "x + 2"))
    assert first == again != other
