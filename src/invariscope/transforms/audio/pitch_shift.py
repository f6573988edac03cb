"""Shifts of the pitch of recordings, by librosa."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from invariscope.common.checks import integer
from invariscope.transforms.base import Motion, Traits, Transform, no_inverse
from invariscope.transforms.machinery.checks import numbers_from
from invariscope.transforms.machinery.compression import refuse_gradient
from invariscope.transforms.machinery.each_element import by_element
from invariscope.transforms.machinery.photometric import refuse_maps
from invariscope.transforms.machinery.signals import need_signals
from invariscope.transforms.machinery.traits import Inputs

_RATE = 22050  # any rate gives the same result, since only ratios of rates matter
_LARGEST = 48.0  # semitones
_LONGEST = 2**20  # time steps


@dataclass(frozen=True)
class PitchShift(Transform):
    r"""Shift of the pitch of a recording in semitones, at the same duration.

    .. math:: f \mapsto 2^{s_j / 12} f

    for every frequency f of signals (n, time) or (n, channels, time), by librosa: a phase vocoder stretches
    the signal in time, and resampling restores its length. The sampling rate is not needed, since shifts are
    relative. 0 returns the signal bit for bit; 12 is an octave up. There is no inverse, no action on feature
    maps and no gradient.

    Caveats: the phase vocoder smears onsets and adds reverberation, by about the length of its window, so
    part of an effect may be a response to these artefacts. Formants move with the pitch, which makes voices
    sound smaller or larger. Each signal is computed on the CPU.

    Args:
        semitones: one shift from -48 to 48 semitones per element; fractions are allowed.
        window: length of the vocoder's window in time steps; about 90 ms suit music and speech.
    Raises:
        TypeError: `semitones` is not a list of numbers; inputs are not floating-point signals, or require a
            gradient; an inverse or an action on feature maps is requested.
        ValueError: no shifts, one out of range, or signals shorter than the window.
        ImportError: librosa is not installed: `pip install 'invariscope[audio]'`.
    Source:
        librosa.effects.pitch_shift, https://librosa.org.

    >>> PitchShift([-2, 0, 2]).labels
    ('-2 semitones', '0 semitones', '+2 semitones')
    """

    inputs: ClassVar[Inputs] = Inputs((1, 1024), gradients=False, package="librosa")
    acts_on_maps: ClassVar[bool] = False

    semitones: Sequence[float] = (-2.0, -1.0, 0.0, 1.0, 2.0)
    _: KW_ONLY
    window: int = 2048

    def __post_init__(self) -> None:
        self._keep(
            semitones=numbers_from(-_LARGEST, "semitones", self.semitones, most=_LARGEST),
            window=integer("window", self.window, least=16, most=_LONGEST),
        )

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return a semitone down, none, and two up."""
        return (cls((-1, 0, 2), window=512),)

    def check(self, x: Any) -> None:
        """Raise unless `x` holds floating-point signals that are at least as long as the window."""
        need_signals("PitchShift", x, self.window)

    def inverse(self) -> Transform:
        """Raise TypeError: the opposite shift adds artefacts instead of removing them."""
        raise no_inverse(self, "Keep the untransformed samples, or declare the inverses of callables")

    def table(self) -> None:
        """Return None: shifts add up without limit, so they do not form a finite group."""

    def _traits(self) -> Traits:
        neutral = [shift == 0 for shift in self.semitones]
        return Traits(
            tuple(f"{shift:+g} semitones" if shift else "0 semitones" for shift in self.semitones),
            {"pitch_semitones": tuple(self.semitones)},
            identity=neutral.index(True) if any(neutral) else None,
            exact=tuple(neutral),
            invertible=False,
            added_by=("semitones",),
        )

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Shift the pitch of each signal on its own."""
        refuse_maps(self, motion)
        if motion.inverse:
            self.inverse()
        refuse_gradient("PitchShift", values)

        def change(signals: Tensor, element: int) -> Tensor:
            if self.semitones[element] == 0 or signals.is_meta:
                return signals
            found = [self._shifted(signal, self.semitones[element]) for signal in _arrays(signals)]
            return torch.from_numpy(np.stack(found)).to(signals)

        return by_element(values, motion, change)

    def _shifted(self, signal: np.ndarray, semitones: float) -> np.ndarray:
        librosa = _librosa()
        return librosa.effects.pitch_shift(signal, sr=_RATE, n_steps=semitones, n_fft=self.window)


def _arrays(signals: Tensor) -> np.ndarray:
    wide = signals if signals.dtype == torch.float64 else signals.float()
    return wide.detach().cpu().numpy()


def _librosa() -> Any:
    try:
        import librosa  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ImportError(
            "PitchShift needs librosa, which is not installed: pip install 'invariscope[audio]'"
        ) from None
    return librosa
