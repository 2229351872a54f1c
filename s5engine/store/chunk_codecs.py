"""Codecs of zarr that compare what a compressed chunk claims with what it is.

c-blosc decodes a cut chunk without a word, into whatever its memory held before; lz4 takes as much
memory as a header asks for. Both headers say how long the chunk should be.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import ShardingCodec

if TYPE_CHECKING:
    import zarr
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer

#: Bytes of the header of a blosc chunk.
_BLOSC_HEADER = 16


def check_claims(codec: str, data: Any, promised: int | None) -> None:
    """Raise if a compressed chunk contradicts itself or what it should decode to.

    Parameters
    ----------
    codec : str
        Name of the compressor; only those with sizes in their headers are looked at.
    data : bytes-like
        The chunk.
    promised : int, optional
        Bytes that it should decode to, where this is known.

    Raises
    ------
    ValueError
        If a size differs.

    Examples
    --------
    >>> check_claims("lz4", bytes([9, 0, 0, 0]), 9)
    """
    raw = memoryview(data).cast("B")
    name = codec.removeprefix("numcodecs.")
    if not len(raw):
        raise ValueError("it is empty")
    if name == "blosc":
        if len(raw) < _BLOSC_HEADER:
            raise ValueError(f"its {len(raw)} bytes are fewer than a header")
        decoded, _, encoded = struct.unpack_from("<III", raw, 4)
        if encoded != len(raw):
            raise ValueError(f"its header says {encoded} bytes, and it has {len(raw)}")
    elif name == "lz4" and len(raw) >= 4:
        (decoded,) = struct.unpack_from("<I", raw)
    else:
        return
    if promised is not None and decoded != promised:
        raise ValueError(f"it holds {decoded} bytes of pixels, and {promised} are a chunk")


class _Checked:
    """A compressor of Zarr v2 that looks at the claims of each chunk before it decodes it."""

    codec_id = "s5engine.checked"

    def __init__(self, inner: Any, promised: int | None) -> None:
        self._inner, self._promised = inner, promised

    def decode(self, buf: Any, out: Any = None) -> Any:
        check_claims(self._inner.codec_id, buf, self._promised)
        return self._inner.decode(buf, out)

    def encode(self, buf: Any) -> Any:
        return self._inner.encode(buf)

    def get_config(self) -> Any:
        return self._inner.get_config()

    @classmethod
    def from_config(cls, config: Any) -> Any:
        """Return the codec inside: its configuration is all that is ever written down."""
        from numcodecs import get_codec

        return get_codec(config)


@dataclass(frozen=True)
class _CheckedV3(BytesBytesCodec):
    """The like for Zarr v3."""

    inner: BytesBytesCodec
    name: str
    promised: int | None

    @property
    def is_fixed_size(self) -> bool:  # type: ignore[override] # a plain attribute of the base
        return self.inner.is_fixed_size

    def to_dict(self) -> Any:
        return self.inner.to_dict()

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> _CheckedV3:
        return replace(self, inner=self.inner.evolve_from_array_spec(array_spec))

    async def decode(
        self, chunks_and_specs: Iterable[tuple[Buffer | None, ArraySpec]]
    ) -> Iterable[Buffer | None]:
        pairs = list(chunks_and_specs)
        for data, _ in pairs:
            if data is not None:
                check_claims(self.name, data.as_numpy_array(), self.promised)
        return await self.inner.decode(pairs)

    async def encode(
        self, chunks_and_specs: Iterable[tuple[Buffer | None, ArraySpec]]
    ) -> Iterable[Buffer | None]:
        return await self.inner.encode(chunks_and_specs)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        return self.inner.compute_encoded_size(input_byte_length, chunk_spec)


def checked_metadata(array: zarr.Array[Any]) -> Any:
    """Return the metadata of an array with compressors that check; all else is the same."""
    metadata: Any = array.metadata
    if metadata.zarr_format == 2:
        if metadata.compressor is None:
            return metadata
        size = None if metadata.filters else math.prod(array.chunks) * array.dtype.itemsize
        return replace(metadata, compressor=_Checked(metadata.compressor, size))
    chunk = array.shards or array.chunks
    return replace(metadata, codecs=_checked(metadata.codecs, chunk, array.dtype.itemsize))


def _checked(codecs: Sequence[Any], chunk: Sequence[int], itemsize: int) -> tuple[Any, ...]:
    """Return codecs of Zarr v3 with checks around the compressors, those in shards too."""
    made: list[Any] = []
    size: int | None = math.prod(chunk) * itemsize
    for codec in codecs:
        if isinstance(codec, ShardingCodec):
            inside = _checked(codec.codecs, codec.chunk_shape, itemsize)
            made.append(replace(codec, codecs=inside))
            size = None
            continue
        name = str(codec.to_dict().get("name"))
        if isinstance(codec, BytesBytesCodec):
            made.append(_CheckedV3(codec, name, size))
            size = None
            continue
        # Only turned axes and plain bytes keep the length.
        size = size if name in ("transpose", "bytes") else None
        made.append(codec)
    return tuple(made)
