"""Stability of single neurons to translation, rotation, compression and shear of their receptive fields."""

from invariscope.studies.neurons.cost import Cost
from invariscope.studies.neurons.stability import neuron_stability, neuron_stability_cost

__all__ = ["Cost", "neuron_stability", "neuron_stability_cost"]
