"""Periodic pictures of what one sees in a CT layer: fibres, scanner noise, cracked ink.

Made once per process. The sides of the two fibre textures have no common factor, so that one laid
over the other repeats only after the product of their sides.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from s5engine.phantom.noise import Floats


def _normal(field: npt.NDArray[np.floating]) -> Floats:
    """Return a field with mean 0 and standard deviation 1, not writable."""
    out: Floats = ((field - field.mean()) / field.std()).astype(np.float32)
    out.flags.writeable = False
    return out


def _blurred_noise(rng: np.random.Generator, shape: tuple[int, int], y: float, x: float) -> Floats:
    """Return periodic noise, blurred by a Gaussian of ``y`` and ``x`` px, mean 0 and spread 1.

    By Fourier transform: the blurs along a fibre are hundreds of pixels long.
    """
    spectrum = np.fft.rfft2(rng.standard_normal(shape, np.float32))
    for axis, (frequency, blur) in enumerate(
        ((np.fft.fftfreq(shape[0]), y), (np.fft.rfftfreq(shape[1]), x))
    ):
        response = np.exp(-2 * (np.pi * blur * frequency) ** 2)
        response = response.astype(np.float32)
        spectrum *= response[:, None] if axis == 0 else response
    return _normal(np.fft.irfft2(spectrum, shape))


@cache
def fibres(kind: int) -> Floats:
    """Return one period of horizontal fibres: ``(1024, 2048)`` or ``(1125, 2025)``, by ``kind``.

    Strands of several thicknesses that swell and thin out along their length and wave a little,
    all together as the sheet does, with some bright single fibres.
    """
    rng = np.random.default_rng(172 + kind)
    shape = ((1024, 2048), (1125, 2025))[kind]
    total = np.zeros(shape, np.float32)
    for thickness, length, weight in ((1.1, 45, 0.6), (2.6, 120, 1.0), (7.0, 260, 0.7)):
        total += weight * _blurred_noise(rng, shape, thickness, length)
    total += 1.6 * np.clip(_blurred_noise(rng, shape, 1.4, 90) - 2.2, 0, None)
    # The wave: each column is moved by whole pixels, so that nothing is blurred.
    along = np.arange(shape[1]) * 2 * np.pi / shape[1]
    phases = rng.uniform(0, 2 * np.pi, 4)
    wave = sum(a * np.sin((k + 1) * along + phases[k]) for k, a in enumerate((9, 6, 3, 2)))
    rows = (np.arange(shape[0])[:, None] + np.rint(wave).astype(int)) % shape[0]
    return _normal(np.take_along_axis(total, rows, axis=0))


@cache
def grain() -> Floats:
    """Return one period of scanner noise, ``(1029, 2000)``, correlated over about a pixel."""
    return _blurred_noise(np.random.default_rng(5), (1029, 2000), 0.6, 0.6)


@cache
def crackle() -> Floats:
    """Return one period of cracked ink, ``(1013, 1019)``: plates with dark cracks between them.

    The plates are the Voronoi cells of scattered points, about 9 px across, as dried carbon ink
    breaks up; each has its own brightness.
    """
    import cv2
    from scipy.ndimage import gaussian_filter

    shape, size, margin = (1013, 1019), 9, 64
    rng = np.random.default_rng(79)
    count = shape[0] * shape[1] // size**2
    seeds = np.full(shape, 255, np.uint8)
    seeds[rng.integers(0, shape[0], count), rng.integers(0, shape[1], count)] = 0
    padded = np.pad(seeds, margin, mode="wrap")
    _, cells = cv2.distanceTransformWithLabels(
        padded, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    edge = np.zeros(padded.shape, bool)
    edge[:, 1:] |= cells[:, 1:] != cells[:, :-1]
    edge[1:] |= cells[1:] != cells[:-1]
    # A plate's brightness hangs on where its point is, so that both sides of the seam agree.
    labels = np.pad(np.arange(seeds.size).reshape(shape), margin, mode="wrap")
    of_cell = np.zeros(int(cells.max()) + 1, np.int64)
    of_cell[cells[padded == 0]] = labels[padded == 0]
    plate = rng.standard_normal(seeds.size)[of_cell[cells]]
    field = gaussian_filter(np.where(edge, -1.6, 0.5 + 0.5 * plate), 0.8)
    return _normal(field[margin:-margin, margin:-margin])
