"""A file that is only a rule for its bytes: pieces from a small library, one after the other.

A layer of 4 GB can so be served from some tens of MB: the order of the pieces says what is where,
and the offsets follow by addition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from s5engine.errors import InvalidArgumentError


class VirtualFile:
    """Bytes that exist only when they are read.

    Parameters
    ----------
    pieces : sequence of bytes
        The library: each distinct piece once.
    order : (n,) array of int, optional
        Which piece of the library comes first, second, … in the file. By default each piece
        once, in the order given.

    Raises
    ------
    InvalidArgumentError
        If ``order`` names a piece that the library does not hold.
    """

    def __init__(self, pieces: Sequence[bytes], order: npt.ArrayLike | None = None) -> None:
        self.pieces = tuple(pieces)
        picked = np.arange(len(self.pieces)) if order is None else np.asarray(order)
        if picked.size and not 0 <= int(picked.min()) <= int(picked.max()) < len(self.pieces):
            raise InvalidArgumentError(
                f"The order names pieces {picked.min()} to {picked.max()}, "
                f"the library holds {len(self.pieces)}."
            )
        self.order = picked.astype(np.int32)
        lengths = np.array([len(piece) for piece in self.pieces], dtype=np.int64)
        self.offsets = np.zeros(picked.size + 1, dtype=np.int64)
        np.cumsum(lengths[self.order], out=self.offsets[1:])

    @property
    def size(self) -> int:
        """Length of the file, bytes."""
        return int(self.offsets[-1])

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        return f"VirtualFile({self.size:,} bytes, {self.order.size:,} pieces)"

    def views(self, start: int = 0, stop: int | None = None) -> list[memoryview]:
        """Return bytes ``start`` to ``stop`` as views of the library, without a copy.

        Both ends are cut to the file.
        """
        stop = self.size if stop is None else min(stop, self.size)
        start = max(start, 0)
        if start >= stop:
            return []
        first = int(np.searchsorted(self.offsets, start, side="right")) - 1
        last = int(np.searchsorted(self.offsets, stop, side="left"))
        views = [memoryview(self.pieces[i]) for i in self.order[first:last].tolist()]
        # The far end first: with a single piece the near cut would move it.
        views[-1] = views[-1][: stop - int(self.offsets[last - 1])]
        views[0] = views[0][start - int(self.offsets[first]) :]
        return [view for view in views if len(view)]

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return bytes ``start`` to ``stop``, cut to the file."""
        return b"".join(self.views(start, stop))

    def fingerprint(self) -> str:
        """Return a short digest of the order and of both ends of each piece.

        Not of all bytes: a library of 100 MB is shared by the files of many layers.
        """
        digest = hashlib.blake2b(self.order.tobytes(), digest_size=8)
        for piece in self.pieces:
            digest.update(len(piece).to_bytes(8, "little") + piece[:4096] + piece[-4096:])
        return digest.hexdigest()
