"""Experiments on the neurons of a layer: responses to patches, unchanged and deformed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from invariscope.common.draws import Draws, Stream
from invariscope.studies.neurons.crops import Field, Patches, Run, centre_responses, cut, cut_moved
from invariscope.studies.neurons.responses import NeuronResponses
from invariscope.studies.neurons.settings import NeuronSettings

# Number of images used to check the crops, and number of patches used to find a centroid.
CALIBRATION = (4, 32)


@dataclass(frozen=True)
class PatchExperiment:
    """Experiment on the neurons of one layer.

    Args:
        field: receptive field of the neurons.
        images: (sample, C, H, W), on the model's device and with its dtype.
        keys: (sample,) integers that identify the images.
        groups: (sample,) jackknife groups.
        neurons: (neuron,) indices of feature maps.
        maps: number of feature maps in the layer.
        settings: all other options.
    """

    field: Field
    images: Tensor
    keys: np.ndarray
    groups: np.ndarray
    neurons: np.ndarray
    maps: int
    settings: NeuronSettings

    def measured(self, run: Run, layer: str) -> NeuronResponses:
        """Return all responses that the formula needs; `run` computes the feature maps of the layer."""
        places = self._random_places()
        self._check(run, layer, places)
        anywhere = self._rows(np.arange(len(self.images)), places)
        other = self._responses(run, len(anywhere), lambda part: self._cut(anywhere[part]), None)
        pivots = self._pivots(run, anywhere)
        if self.settings.patches == "random":
            image = np.repeat(np.arange(len(self.images))[:, None], len(self.neurons), axis=1)
            rest, chosen = other, places[:, None]
        else:
            image, chosen = self._favourites(run)
            rows = self._rows(image.ravel(), chosen.reshape(-1, 2))
            channels = np.tile(self.neurons, len(image))
            rest = self._responses(run, len(rows), lambda part: self._cut(rows[part]), channels)
            rest = rest.reshape(image.shape)
        moved = self._moved(run, image, chosen, rest, pivots)
        return NeuronResponses(moved, rest, image, other, self.groups, self.images.dtype == torch.float64)

    def placed(self, values: np.ndarray) -> np.ndarray:
        """Return values by feature map, (map,); NaN for maps that were not measured."""
        found = np.full(self.maps, np.nan, np.float64 if self.images.dtype == torch.float64 else np.float32)
        found[self.neurons] = values
        return found

    def _random_places(self) -> np.ndarray:
        """Return rows and columns of random neurons with windows inside the image, (image, 2)."""
        chance = Draws(self.settings.seed, self.keys, 2, Stream.NEURON_PLACE).uniform()
        rows, columns = self.field.interior
        first = np.array([rows.start, columns.start])
        return first + np.floor(chance * [len(rows), len(columns)]).astype(np.int64)

    def _rows(self, images: np.ndarray, places: np.ndarray) -> Patches:
        return Patches(images, self.field.corners(places))

    def _cut(self, patches: Patches) -> Tensor:
        return cut(self.images, patches, self.field.crop)

    def _responses(
        self, run: Run, count: int, crops: Callable[[slice], Tensor], channels: np.ndarray | None
    ) -> np.ndarray:
        """Return float64 responses to crops, (row, neuron), or (row,) with one channel per row."""
        found = []
        for low in range(0, count, self.settings.batch_size):
            part = slice(low, min(low + self.settings.batch_size, count))
            responses = centre_responses(run, crops(part), self.field).double().cpu().numpy()
            own = (
                responses[:, self.neurons]
                if channels is None
                else responses[np.arange(len(responses)), channels[part]]
            )
            found.append(own)
        whole = np.concatenate(found)
        if not np.isfinite(whole).all():
            raise ValueError(
                f"{int((~np.isfinite(whole)).sum())} of {whole.size} responses to patches are not finite; "
                "look for NaN in the images or overflow in the model"
            )
        return whole

    def _check(self, run: Run, layer: str, places: np.ndarray) -> None:
        """Raise ValueError if responses to crops and to the same patches within images differ."""
        few = np.arange(min(CALIBRATION[0], len(self.images)))
        whole = run(self.images[: len(few)])[torch.from_numpy(few), :, places[few, 0], places[few, 1]]
        alone = centre_responses(run, self._cut(self._rows(few, places[few])), self.field)
        apart = float((whole - alone).abs().max())
        if apart > 1e-3 * float(whole.abs().max().clamp(min=1e-30)):
            raise ValueError(
                f"a neuron of layer {layer!r} responds differently to a patch alone and within its image (by "
                f"{apart:.3g}): its weights depend on the position, or an operation uses the whole image. "
                "Use an earlier layer."
            )

    def _favourites(self, run: Run) -> tuple[np.ndarray, np.ndarray]:
        """Return images (patch, neuron) and places (patch, neuron, 2) of each neuron's largest responses."""
        rows, columns = self.field.interior
        tops, places = [], []
        size = max(1, self.settings.batch_size // 8)
        for low in range(0, len(self.images), size):
            maps = run(self.images[low : low + size])[:, torch.from_numpy(self.neurons)]
            inside = maps[:, :, rows.start : rows.stop, columns.start : columns.stop].flatten(2)
            top, at = inside.max(dim=2)
            tops.append(top.double().cpu().numpy())
            at = at.cpu().numpy()
            places.append(np.stack([rows.start + at // len(columns), columns.start + at % len(columns)], -1))
        strength, place = np.concatenate(tops), np.concatenate(places)
        if self.settings.patches == "maximal":
            return np.repeat(np.arange(len(strength))[:, None], len(self.neurons), axis=1), place
        best = np.argsort(-strength, axis=0, kind="stable")[: self.settings.top_k]
        return best, np.take_along_axis(place, best[..., None], axis=0)

    def _pivots(self, run: Run, anywhere: Patches) -> np.ndarray:
        """Return the fixed point (x, y) of the deformations in the crop, (neuron, 2)."""
        middle = np.tile(self.field.centre, (len(self.neurons), 1))
        if self.settings.pivot == "centre":
            return middle
        energy = self._sensitivity(run, anywhere[: CALIBRATION[1]])
        total = energy.sum(axis=(1, 2))
        x = energy.sum(axis=1) @ np.arange(energy.shape[2])
        y = energy.sum(axis=2) @ np.arange(energy.shape[1])
        with np.errstate(divide="ignore", invalid="ignore"):
            centroid = np.stack([x, y], axis=1) / total[:, None]
        return np.where(total[:, None] > 0, centroid, middle)

    def _sensitivity(self, run: Run, patches: Patches) -> np.ndarray:
        """Return Σ over patches and channels of (∂a/∂pixel)², (neuron, height, width)."""
        with torch.enable_grad():
            crops = self._cut(patches).clone().requires_grad_()
            responses = centre_responses(run, crops, self.field).sum(dim=0)
            found = []
            for neuron in self.neurons.tolist():
                (slope,) = torch.autograd.grad(responses[neuron], crops, retain_graph=True)
                found.append(slope.double().square().sum(dim=(0, 1)).cpu().numpy())
        return np.stack(found)

    def _moved(
        self, run: Run, image: np.ndarray, places: np.ndarray, rest: np.ndarray, pivots: np.ndarray
    ) -> np.ndarray:
        """Return the mean over draws of the squared change of the response, (patch, neuron, kind).

        If all neurons share patches and pivots, they also share one forward pass.
        """
        shared = self.settings.patches == "random" and self.settings.pivot == "centre"
        count = 1 if shared else len(self.neurons)
        places = np.broadcast_to(places, (len(image), count, 2))
        rows = self._rows(image[:, :count].ravel(), places.reshape(-1, 2))
        about = np.tile(pivots[:count], (len(image), 1))
        channels = None if shared else np.tile(self.neurons, len(image))
        matrices, shifts = self.settings.ensemble.drawn(self.keys)
        moved = np.zeros((*rest.shape, len(self.settings.ensemble.kinds)))
        for kind, draw in np.ndindex(matrices.shape[1:3]):
            u, t = matrices[rows.images, kind, draw], shifts[rows.images, kind, draw]

            def crops(part: slice, u: np.ndarray = u, t: np.ndarray = t) -> Tensor:
                size, margin = self.field.receptive.size, self.field.margin
                fields = self.settings.ensemble.fields(u[part], t[part], about[part], size, margin)
                return cut_moved(self.images, rows[part], fields)

            responses = self._responses(run, len(rows), crops, channels).reshape(rest.shape)
            moved[:, :, kind] += np.square(responses - rest) / matrices.shape[2]
        return moved
