"""Analyses of weights instead of responses: filter spectra, Gabor fits, shuffled channels, couplings.

    import invariscope as iv

    iv.weights.filter_spectrum(trained, "conv3", start=untrained).table
    iv.measure(iv.weights.shuffled_channels(trained, seed=0), images, fields, measures="stability")

All functions accept a `torch.nn.Module`; most also accept a state dict, or filters (out, in, k, k).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from invariscope.common import lazy
from invariscope.weights.shuffling import shuffled_channels
from invariscope.weights.spectrum import FilterSpectrum, filter_spectrum, laplacian_modes, mode_power
from invariscope.weights.training import SpectrumRecorder, spectrum_table, training_spectra

if TYPE_CHECKING:
    from invariscope.lab.weights.gabor import GaborFits, fit_gabor, phase_randomised
    from invariscope.lab.weights.head import HeadCorrelation, head_frequency_correlation
    from invariscope.lab.weights.rotation import RotationCoupling, rotation_coupling, rotation_excess

__getattr__ = lazy.attributes(
    __name__,
    {
        "invariscope.lab.weights.gabor": ("GaborFits", "fit_gabor", "phase_randomised"),
        "invariscope.lab.weights.head": ("HeadCorrelation", "head_frequency_correlation"),
        "invariscope.lab.weights.rotation": ("RotationCoupling", "rotation_coupling", "rotation_excess"),
    },
)

__all__ = [
    "FilterSpectrum",
    "GaborFits",
    "HeadCorrelation",
    "RotationCoupling",
    "SpectrumRecorder",
    "filter_spectrum",
    "fit_gabor",
    "head_frequency_correlation",
    "laplacian_modes",
    "mode_power",
    "phase_randomised",
    "rotation_coupling",
    "rotation_excess",
    "shuffled_channels",
    "spectrum_table",
    "training_spectra",
]
