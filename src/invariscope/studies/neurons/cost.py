"""What measuring the neurons of a layer will cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Forwards up to one layer, counted before any of them is made.

    Args:
        layer: which.
        neurons: how many are measured.
        crop: (height, width) of a patch in pixels.
        crops: patches that are forwarded, deformed ones included.
        gradients: backward passes of one patch.
        whole_images: whole images that are forwarded, to look for maxima and to check the crops.
        equivalent: forwards of whole images that have as many pixels as all of these, a backward pass
            counted as two.
    """

    layer: str
    neurons: int
    crop: tuple[int, int]
    crops: int
    gradients: int
    whole_images: int
    equivalent: float

    @classmethod
    def of(
        cls,
        layer: str,
        *,
        image: tuple[int, int],
        crop: tuple[int, int],
        images: int,
        neurons: int,
        versions: int,
        patches: str,
        top_k: int,
        centroid: bool,
        calibration: tuple[int, int],
    ) -> Cost:
        """The count for one layer.

        Args:
            versions: deformed versions of a patch.
            calibration: images for the check of the crops, and patches for centroids.
        """
        own = patches != "random"  # every neuron has patches of its own
        chosen = min(top_k, images) if patches == "top_k" else images
        rest = chosen * neurons if own else 0
        moved = chosen * versions * (neurons if own or centroid else 1)
        checked, pilots = min(calibration[0], images), min(calibration[1], images) if centroid else 0
        crops = images + checked + rest + moved + pilots
        whole = checked + (images if own else 0)
        share = (crops + 2 * pilots * neurons) * crop[0] * crop[1] / (image[0] * image[1])
        return cls(layer, neurons, crop, crops, pilots * neurons, whole, whole + share)

    def __str__(self) -> str:
        return (
            f"{self.layer}: {self.neurons} neurons, {self.crops:,} patches of {self.crop[0]} × "
            f"{self.crop[1]} pixels, {self.gradients:,} gradients, {self.whole_images:,} whole images; about "
            f"{self.equivalent:,.0f} forwards of whole images in all"
        )
