"""Single neurons: how far a shift, a turn, a zoom or a shear of what they see moves their response."""

from invariscope.studies.neurons.cost import Cost
from invariscope.studies.neurons.stability import neuron_stability, neuron_stability_cost

__all__ = ["Cost", "neuron_stability", "neuron_stability_cost"]
