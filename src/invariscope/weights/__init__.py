"""Analyses that read weights, not responses: filter spectra, Gabor fits, shuffled channels, couplings.

    import invariscope as iv

    iv.weights.filter_spectrum(trained, "conv3", start=untrained).table
    iv.measure(iv.weights.shuffled_channels(trained, seed=0), images, fields, measures="stability")

Everything takes a `torch.nn.Module`; most of it a state dict, or filters (out, in, k, k), as well.
"""

from __future__ import annotations

from invariscope.weights.gabor import GaborFits, fit_gabor, phase_randomised
from invariscope.weights.head import HeadCorrelation, head_frequency_correlation
from invariscope.weights.rotation import RotationCoupling, rotation_coupling, rotation_excess
from invariscope.weights.shuffling import shuffled_channels
from invariscope.weights.spectrum import FilterSpectrum, filter_spectrum, laplacian_modes, mode_power
from invariscope.weights.training import SpectrumRecorder, spectrum_table, training_spectra

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
