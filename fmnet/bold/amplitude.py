"""How much each voxel moves in time, and in which frequencies: temporal SD, ALFF, fALFF.

Amplitudes are square roots of the power spectral density, in percent per root Hz, so that runs of
different lengths can be compared.

Where volumes are missing within a run, the spectrum is the least-squares one (Lomb-Scargle), which
takes the volumes that are there at the times when they were acquired. Interpolation would make up
the missing ones, more of them the more a person moves, and what is made up holds hardly any high
frequencies: head motion would raise fALFF.

References
----------
Zang, Y.-F., et al. (2007). Altered baseline brain activity in children with ADHD revealed by
resting-state functional MRI. Brain Dev., 29.
Zou, Q.-H., et al. (2008). An improved approach to detection of amplitude of low-frequency
fluctuation (ALFF) for resting-state fMRI: fractional ALFF. J. Neurosci. Methods, 172.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft

from fmnet.bold.open_run import OpenRun
from fmnet.data.volume import FloatArray

#: Voxels whose spectra are held in memory at a time.
BLOCK = 4096

Frequencies = NDArray[np.float64]


def temporal_sd(run: OpenRun) -> FloatArray:
    """Compute the standard deviation of the cleaned series over time, in percent: (V,)."""
    deviation: FloatArray = run.cleaned().std(axis=0)
    return deviation


def alff(run: OpenRun) -> FloatArray:
    """Average the amplitude within the run's band, in percent per root Hz: (V,)."""
    band, _ = _amplitudes(run)
    return band


def falff(run: OpenRun) -> FloatArray:
    """Divide the amplitudes within the run's band by those of all frequencies: (V,)."""
    _, share = _amplitudes(run)
    return share


def _amplitudes(run: OpenRun) -> tuple[FloatArray, FloatArray]:
    """Work out both measures at once: (V,) each."""
    source, kept = run.source, run.source.nuisance.kept
    frequencies = list_frequencies(kept, source.t_r)
    is_within = np.ones(len(frequencies), dtype=bool)
    low, high = source.cleaning.low_hz, source.cleaning.high_hz
    if low is not None:
        is_within &= frequencies >= low
    if high is not None:
        is_within &= frequencies <= high
    if not is_within.any():
        raise run.refusal(
            f"no frequency in the band from {low or 0:g} Hz to {_say(high)}",
            f"at least one of the {len(frequencies)} frequencies that a run of {len(kept)} "
            f"volumes of {source.t_r:g} s has, up to {frequencies.max(initial=0):.3g} Hz",
            "widen the band, or leave out the run",
        )
    return run.once(
        "amplitudes", lambda: band_amplitudes(run.unfiltered(), kept, source.t_r, is_within)
    )


def band_amplitudes(
    series: FloatArray, kept: NDArray[np.intp], t_r: float, is_within: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    """Average amplitudes over a band, and divide their sum by that over all frequencies.

    Parameters
    ----------
    series : ndarray of float32, shape (T_kept, V)
        Percent of the mean; NaN where there are no data.
    kept : ndarray of int, shape (T_kept,)
        When each volume was acquired, in repetition times.
    t_r : float
        Repetition time in seconds.
    is_within : ndarray of bool, shape (F,)
        Which frequencies, see `list_frequencies`, belong to the band.

    Returns
    -------
    tuple of ndarray of float32, shape (V,)
        Percent per root Hz, and a share; NaN where the series doesn't vary.
    """
    mean, share = np.full((2, series.shape[1]), np.nan, dtype=np.float32)
    for start in range(0, series.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        amplitude = np.sqrt(power_density(series[:, block], kept, t_r))
        band, whole = amplitude[is_within].sum(axis=0), amplitude.sum(axis=0)
        varies = whole > 0
        mean[block][varies] = band[varies] / is_within.sum()
        share[block][varies] = band[varies] / whole[varies]
    return mean, share


def list_frequencies(kept: NDArray[np.intp], t_r: float) -> Frequencies:
    """List the frequencies, in Hz, above 0 and below the Nyquist frequency: (F,)."""
    n = _span(kept)
    return np.arange(1, (n + 1) // 2) / (n * t_r)


def power_density(series: FloatArray, kept: NDArray[np.intp], t_r: float) -> FloatArray:
    """One-sided power spectral density in percent squared per Hz: (F, V), see `band_amplitudes`."""
    n_kept, n = len(kept), _span(kept)
    centred = series - series.mean(axis=0)
    if n_kept == n:
        spectrum = rfft(centred, axis=0)[1 : (n + 1) // 2]
        power = spectrum.real**2 + spectrum.imag**2
    else:
        power = _least_squares_power(centred, kept - kept[0], n)
    density: FloatArray = power * np.float32(2 * t_r / n_kept)
    return density


def _least_squares_power(centred: FloatArray, places: NDArray[np.intp], n: int) -> FloatArray:
    """Power of the waves that fit best, one frequency at a time, as `rfft` scales it: (F, V).

    Each frequency has its own origin of time, at which sine and cosine are orthogonal (Lomb, 1976,
    Astrophys. Space Sci., 39).
    """
    phase = 2 * np.pi / n * np.arange(1, (n + 1) // 2)[:, None] * places  # (F, T_kept)
    shift = np.arctan2(np.sin(2 * phase).sum(axis=1), np.cos(2 * phase).sum(axis=1)) / 2
    phase -= shift[:, None]
    power = np.zeros((len(phase), centred.shape[1]), dtype=np.float32)
    for wave in (np.cos(phase), np.sin(phase)):
        scale = np.sqrt(len(places) / 2 / (wave**2).sum(axis=1))
        power += ((wave * scale[:, None]).astype(np.float32) @ centred) ** 2
    return power


def _span(kept: NDArray[np.intp]) -> int:
    return int(kept[-1] - kept[0]) + 1


def _say(high_hz: float | None) -> str:
    return "any" if high_hz is None else f"{high_hz:g} Hz"
