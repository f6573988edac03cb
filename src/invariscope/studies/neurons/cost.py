"""Cost of measuring the neurons of a layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from invariscope.common.cards import Card
from invariscope.studies.neurons.experiment import CALIBRATION, PatchExperiment


@dataclass(frozen=True)
class Cost:
    """Cost of measuring the neurons of one layer, counted in forward passes before measuring.

    Args:
        layer: name of the layer.
        neurons: number of measured neurons.
        crop: (height, width) of a patch in pixels.
        crops: number of forwarded patches, including deformed ones.
        gradients: number of backward passes of one patch.
        whole_images: number of whole images forwarded to find maxima and to check the crops.
        equivalent: number of whole images with the same number of pixels in total; a backward pass counts
            twice.
    """

    layer: str
    neurons: int
    crop: tuple[int, int]
    crops: int
    gradients: int
    whole_images: int
    equivalent: float

    @classmethod
    def of(cls, layer: str, experiment: PatchExperiment) -> Cost:
        """Return the cost of an experiment on one layer."""
        settings, field = experiment.settings, experiment.field
        images, neurons = len(experiment.images), len(experiment.neurons)
        own, centroid = settings.patches != "random", settings.pivot == "centroid"  # own: patches per neuron
        chosen = min(settings.top_k, images) if settings.patches == "top_k" else images
        rest = chosen * neurons if own else 0
        versions = len(settings.deformations) * settings.draws
        moved = chosen * versions * (neurons if own or centroid else 1)
        checked, pilots = (min(count, images) for count in CALIBRATION)
        pilots = pilots if centroid else 0
        crops = images + checked + rest + moved + pilots
        whole, crop = checked + (images if own else 0), field.crop
        share = (crops + 2 * pilots * neurons) * math.prod(crop) / math.prod(field.image)
        return cls(layer, neurons, crop, crops, pilots * neurons, whole, whole + share)

    def _repr_html_(self) -> str:
        return Card(str(self)).html()

    def __str__(self) -> str:
        return (
            f"{self.layer}: {self.neurons} neurons, {self.crops:,} patches of {self.crop[0]} × "
            f"{self.crop[1]} pixels, {self.gradients:,} gradients, {self.whole_images:,} whole images; in "
            f"all, about as much as {self.equivalent:,.0f} forward passes of whole images"
        )
