"""Small segments on disk, for the tests of the stores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile


def pixels(
    layers: int = 3, height: int = 300, width: int = 400, dtype: str = "uint8", seed: int = 0
) -> np.ndarray:
    """Noise (layers, height, width) with an empty corner, whose chunks are never written."""
    top = np.iinfo(dtype).max
    data = np.random.default_rng(seed).integers(1, top, (layers, height, width)).astype(dtype)
    data[:, : height // 2, : width // 2] = 0
    return data


def write_layers(folder: Path, data: np.ndarray, first: int = 0) -> Path:
    """Write ``data`` as ``<folder>/layers/<LL>.tif``, LZW, one row per strip; return ``folder``."""
    (folder / "layers").mkdir(parents=True, exist_ok=True)
    for number, layer in enumerate(data, start=first):
        tifffile.imwrite(
            folder / "layers" / f"{number:02d}.tif",
            layer,
            compression="lzw",
            predictor=True,
            rowsperstrip=1,
        )
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file below ``folder``: its name and its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
