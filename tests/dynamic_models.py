"""Models that run different layers for different inputs, or remember earlier ones, each with correct answers.

    net, x = DYNAMIC_MODELS["experts"].build()

Inputs are (SAMPLES, 6), or (SAMPLES, 5, 6) for models with tokens. In models with `refused`, no response
depends on the input alone. For the others, `reads` gives the layers that can be read, as functions of
(net, inputs) that are correct for any batch; all other layers that ran are left out, with a reason that
matches `why`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

SAMPLES = 40

Layer = Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class Planted:
    make: type[nn.Module]
    reads: Mapping[str, Layer] = field(default_factory=dict)
    why: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""
    tokens: bool = False

    def build(self) -> tuple[nn.Module, Tensor]:
        """The model, in float64, and its inputs: fresh ones at each call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            net = self.make().double().eval()
            shape = (SAMPLES, 5, 6) if self.tokens else (SAMPLES, 6)
            return net, torch.randn(*shape, dtype=torch.float64)


DYNAMIC_MODELS: dict[str, Planted] = {}

# Which reason a layer that gets only some rows is given depends on the three trial inputs.
UNEVEN = (
    "depends on the values|no axis follows the batch size|for some inputs and not for others|"
    "in another thread"
)
NEIGHBOURS = "depends on the other inputs of the batch"


def planted(name: str, **right: Any) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Register a model with its correct answers."""

    def register(make: type[nn.Module]) -> type[nn.Module]:
        DYNAMIC_MODELS[name] = Planted(make, **right)
        return make

    return register


def routed(net: Any, x: Tensor) -> Tensor:
    """Each sample by its own expert, one at a time."""
    return torch.stack([net.experts[int(net.gate(row).argmax())](row) for row in x])


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.body, self.head = nn.Linear(6, 3), nn.Linear(6, 6), nn.Linear(6, 4)
        self.experts = nn.ModuleList(nn.Linear(6, 4) for _ in range(3))


GATE: dict[str, Layer] = {"gate": lambda net, x: net.gate(x)}
BODY: dict[str, Layer] = {"body": lambda net, x: net.body(x)}
EXPERTS = dict.fromkeys([f"experts.{k}" for k in range(3)], UNEVEN)


# --- routed ---------------------------------------------------------------------------------------------


@planted("experts", reads=GATE | {"Experts": routed}, why=EXPERTS)
class Experts(Base):
    def forward(self, x: Tensor) -> Tensor:
        chosen, out = self.gate(x).argmax(-1), x.new_zeros(len(x), 4)
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).nonzero()[:, 0]
            if len(rows):
                out[rows] = expert(x[rows])
        return out


@planted(
    "experts_that_see_everything",
    reads=GATE
    | {f"experts.{k}": lambda net, x, k=k: net.experts[k](x) for k in range(3)}
    | {"Dense": routed},
)
class Dense(Base):
    def forward(self, x: Tensor) -> Tensor:
        chosen = self.gate(x).argmax(-1)
        every = torch.stack([expert(x) for expert in self.experts], 1)
        return every[torch.arange(len(x)), chosen]


def grouped(net: Any, x: Tensor) -> Tensor:
    return net.head(torch.tanh(net.body(x)))


@planted(
    "rows_grouped_by_expert", reads=GATE | {"Grouped": grouped}, why={"body": NEIGHBOURS, "head": NEIGHBOURS}
)
class Grouped(Base):
    def forward(self, x: Tensor) -> Tensor:
        order = self.gate(x).argmax(-1).argsort(stable=True)
        out = x.new_zeros(len(x), 4)
        out[order] = self.head(torch.tanh(self.body(x[order])))
        return out


@planted("sorted_by_a_score", reads=GATE | {"Sorted": grouped}, why={"body": NEIGHBOURS, "head": NEIGHBOURS})
class Sorted(Base):
    def forward(self, x: Tensor) -> Tensor:
        order = self.gate(x)[:, 0].argsort()
        found = self.head(torch.tanh(self.body(x[order])))
        return found[order.argsort()]


@planted("sorted_and_left_so", refused="depends on the other inputs of its batch")
class LeftSorted(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.body(x[self.gate(x)[:, 0].argsort()])


# --- exits ----------------------------------------------------------------------------------------------


def exits(net: Any, x: Tensor) -> Tensor:
    early = torch.tanh(net.gate(x))
    late = net.experts[0](torch.tanh(net.body(x)))[:, :3]
    return torch.where((early.amax(1) > 0.5)[:, None], early, late)


@planted(
    "exit_of_single_samples",
    reads=GATE | {"Exit": exits},
    why={"body": UNEVEN, "experts.0": UNEVEN},
)
class Exit(Base):
    def forward(self, x: Tensor) -> Tensor:
        out = torch.tanh(self.gate(x)).clone()
        unsure = (out.amax(1) <= 0.5).nonzero()[:, 0]
        if len(unsure):
            out[unsure] = self.experts[0](torch.tanh(self.body(x[unsure])))[:, :3]
        return out


@planted("exit_of_the_whole_batch", refused="depends on the other inputs of its batch")
class ExitTogether(Base):
    def forward(self, x: Tensor) -> Tensor:
        out = self.gate(x)
        return out if (out.amax(1) > 0.5).all() else self.experts[0](self.body(x))[:, :3]


@planted("a_rare_branch_for_its_own_rows", reads=GATE | {"Rare": lambda net, x: rare(net, x)})
class Rare(Base):
    """Few samples take the branch, none of them among the first."""

    def forward(self, x: Tensor) -> Tensor:
        out = self.gate(x)
        rows = (x[:, 0].abs() > 1.9).nonzero()[:, 0]
        if len(rows):
            out[rows] = self.experts[0](x[rows])[:, :3]
        return out


def rare(net: Any, x: Tensor) -> Tensor:
    return torch.where((x[:, 0].abs() > 1.9)[:, None], net.experts[0](x)[:, :3], net.gate(x))


@planted("a_rare_branch_beside_the_output", reads=GATE | {"Beside": lambda net, x: net.gate(x)})
class Beside(Base):
    def forward(self, x: Tensor) -> Tensor:
        if (x[:, 0].abs() > 1.9).any():
            self.experts[1](x)
        return self.gate(x)


# --- normalised within the batch ------------------------------------------------------------------------


@planted("centred_within_the_batch", refused="depends on the other inputs of its batch")
class Centred(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.body(x - x.mean(0))


@planted(
    "statistics_of_the_batch_beside_the_output",
    reads=BODY | {"BesideStatistics": lambda net, x: net.body(x)},
    why={"norm": NEIGHBOURS},
)
class BesideStatistics(Base):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        found = self.body(x)
        self.norm(found)
        return found


@planted("divided_by_the_size_of_the_batch", refused="depends on the other inputs of its batch")
class Divided(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) / len(x)


# --- tokens ---------------------------------------------------------------------------------------------


def kept_tokens(net: Any, x: Tensor) -> Tensor:
    best = net.gate(x)[..., 0].topk(3, dim=1).indices
    return x.gather(1, best[..., None].expand(-1, -1, 6))


@planted(
    "a_fixed_number_of_tokens_each",
    tokens=True,
    reads=GATE
    | {"body": lambda net, x: net.body(kept_tokens(net, x))}
    | {"TopTokens": lambda net, x: net.body(kept_tokens(net, x)).mean(1)},
)
class TopTokens(Base):
    def forward(self, x: Tensor) -> Tensor:
        best = self.gate(x)[..., 0].topk(3, dim=1).indices
        return self.body(x.gather(1, best[..., None].expand(-1, -1, 6))).mean(1)


def dropped(net: Any, x: Tensor) -> Tensor:
    return (net.body(x) * (net.gate(x)[..., :1] > 0)).sum(1)


@planted("dropped_tokens", tokens=True, reads=GATE | {"Dropped": dropped}, why={"body": UNEVEN})
class Dropped(Base):
    def forward(self, x: Tensor) -> Tensor:
        keep = self.gate(x)[..., 0] > 0
        out = torch.zeros_like(x)
        out[keep] = self.body(x[keep])
        return out.sum(1)


@planted(
    "tokens_that_compete_within_the_batch", tokens=True, refused="depends on the other inputs of its batch"
)
class Competing(Base):
    def forward(self, x: Tensor) -> Tensor:
        score = self.gate(x)[..., 0]
        keep = score > score.median()
        return (self.body(x) * keep[..., None]).sum(1)


@planted(
    "padded_to_the_longest",
    tokens=True,
    reads=GATE | {"Longest": dropped},
    why={"body": "shape"},
)
class Longest(Base):
    """Packs the tokens that are kept to the left, as far as the sample with the most of them needs."""

    def forward(self, x: Tensor) -> Tensor:
        keep = self.gate(x)[..., 0] > 0
        order = keep.long().argsort(dim=1, descending=True, stable=True)[:, : max(1, int(keep.sum(1).max()))]
        packed = x.gather(1, order[..., None].expand(-1, -1, 6))
        return (self.body(packed) * keep.gather(1, order)[..., None]).sum(1)


# --- repeats --------------------------------------------------------------------------------------------


def halting(net: Any, x: Tensor) -> Tensor:
    rows = []
    for row in x:
        for _ in range(4):
            if row.norm() > 1:
                row = torch.tanh(net.body(row))
        rows.append(row)
    return torch.stack(rows)


@planted("halting_for_each_sample", reads={"Halting": halting}, why={"body": UNEVEN})
class Halting(Base):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range(4):
            active = x.norm(dim=1) > 1
            if not active.any():
                break
            x = torch.where(active[:, None], torch.tanh(self.body(x)), x)
        return x


@planted("until_all_have_converged", refused="depends on the other inputs of its batch")
class Converging(Base):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range(6):
            if not (x.norm(dim=1) > 1).any():
                break
            x = torch.tanh(self.body(x)) * 0.8
        return x


@planted("pieces_of_two", reads=GATE | {"Pieces": lambda net, x: net.head(x)}, why={"head": UNEVEN})
class Pieces(Base):
    def forward(self, x: Tensor) -> Tensor:
        self.gate(x)
        return torch.cat([self.head(part) for part in x.split(2)])


# --- stateful -------------------------------------------------------------------------------------------


@planted("another_function_after_some_inputs", refused="depends on earlier inputs")
class Ageing(Base):
    def __init__(self) -> None:
        super().__init__()
        self.inputs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.inputs += len(x)
        return self.body(x) * (1 if self.inputs <= 40 else 2)


@planted("remembers_without_using_it", reads=BODY | {"Remembers": lambda net, x: net.body(x)})
class Remembers(Base):
    def __init__(self) -> None:
        super().__init__()
        self.last: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.last = [x.clone()]
        return self.body(x)


@planted("a_running_mean_of_what_came", refused="depends on chance|depends on earlier inputs")
class Running(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return self.body(x - self.mean)
