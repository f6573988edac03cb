"""Every planted dynamic or stateful model is read right, layer by layer, or clearly refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import invariscope as iv
from dynamic_models import DYNAMIC_MODELS, SAMPLES

ELEMENTS = [lambda v: v, lambda v: v.flip(-1), lambda v: v.roll(2, -1)]
READ = sorted(name for name, planted in DYNAMIC_MODELS.items() if not planted.refused)
REFUSED = sorted(set(DYNAMIC_MODELS) - set(READ))


def measured(net, x, **options):
    return iv.measure(
        net,
        x,
        ELEMENTS,
        **{"measures": ["transformation_variance"], "layers": "*", "progress": False} | options,
    )


def assert_right(result, planted):
    """The very layers that can be read, with the values of brute force on one input at a time."""
    net, x = planted.build()
    found = {key[1]: values for key, values in result.maps.items() if key[0] == "transformation_variance"}
    modules = {name for name, _ in net.named_modules()} | {type(net).__name__}
    assert found.keys() & modules == planted.reads.keys()
    with torch.no_grad():
        for layer, response in planted.reads.items():
            orbits = [
                torch.stack([response(net, f(x[i : i + 1]))[0] for f in ELEMENTS]) for i in range(SAMPLES)
            ]
            brute = torch.stack(orbits).var(1).mean(0).numpy()
            np.testing.assert_allclose(found[layer], brute, rtol=1e-9, err_msg=layer)
    skipped = {entry["layer"]: entry["reason"] for entry in result.provenance["skipped"]}
    for layer, why in planted.why.items():
        assert re.search(why, skipped[layer]), (layer, skipped[layer])
    assert not skipped.keys() & set(result.table.layer)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("name", READ)
def test_a_dynamic_model_has_the_values_of_brute_force_or_says_what_is_left_out(name, batch_size):
    net, x = DYNAMIC_MODELS[name].build()
    ran = set()
    for layer, module in net.named_modules():
        module.register_forward_hook(lambda *_, layer=layer: ran.add(layer))
    result = measured(net, x, batch_size=batch_size)
    assert_right(result, DYNAMIC_MODELS[name])
    assert not ran & set(result.provenance["unused"])


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_responds_to_more_than_its_input_is_refused(name, batch_size):
    planted = DYNAMIC_MODELS[name]
    net, x = planted.build()
    with pytest.raises(ValueError, match=planted.refused):
        measured(net, x, batch_size=batch_size)


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("name", ["experts", "sorted_by_a_score", "exit_of_single_samples"])
def test_what_is_left_out_does_not_depend_on_the_first_samples(name, first):
    planted = DYNAMIC_MODELS[name]
    net, x = planted.build()
    chosen = net.gate(x).argmax(-1)
    x = x[(chosen != first).long().argsort(stable=True)]  # at the head those of one expert
    result = measured(net, iter(x.split(10)), batch_size=30)
    assert set(planted.reads) <= set(result.table.layer)
    assert set(planted.why) <= {entry["layer"] for entry in result.provenance["skipped"]}
