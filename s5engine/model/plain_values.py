"""What the names in a checkpoint's pickle stand for: tensors, arrays, paths and plain containers.

Each is made here from values that were checked; no class of the file is ever imported.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Opaque:
    """Stands for a value that is not made: a sparse tensor, a foreign object."""

    name: str

    def __repr__(self) -> str:
        return f"<{self.name}>"


@dataclass(frozen=True, eq=False)
class Maker:
    """Stands for a class or a function; ``make`` is what calling it does here."""

    name: str
    make: Callable[..., Any]


@dataclass(frozen=True, eq=False)
class StorageKind:
    """A class of storages, such as ``FloatStorage``; ``dtype`` is None where it is not known."""

    dtype: torch.dtype | None


@dataclass(frozen=True, eq=False)
class Storage:
    """The numbers of one or more tensors.

    Attributes
    ----------
    dtype : torch.dtype or None
        None where this package has no use for it.
    count : int
    values : Tensor or None
        ``count`` numbers in a row; None while their place is not known.
    """

    dtype: torch.dtype | None
    count: int
    values: Tensor | None


class NumpyDtype:
    """A numpy dtype whose byte order comes after it; None where it is none of plain numbers."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code = code if isinstance(code, str) and _PLAIN_DTYPE.fullmatch(code) else None
        self.order: Literal["<", ">", "=", "|"] = "="

    def take_state(self, state: Any) -> None:
        """Take the byte order."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "=", "|"):
            self.order = state[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype itself."""
        if self.code is None:
            raise ValueError("a numpy array is of a dtype that is no plain number")
        return np.dtype(self.code).newbyteorder(self.order)


class NumpyArray:
    """A numpy array, made from its bytes when it is asked for."""

    def __init__(self, *_: Any) -> None:
        self._state: Any = None

    def take_state(self, state: Any) -> None:
        """Take ``(version, shape, dtype, whether in Fortran's order, bytes)``."""
        self._state = state

    @cached_property
    def values(self) -> np.ndarray[Any, Any]:
        """The array itself.

        Raises
        ------
        ValueError, TypeError
            If what is told of it does not fit together.
        """
        _, shape, kind, fortran, raw = self._state
        if not isinstance(kind, NumpyDtype) or not isinstance(raw, bytes | bytearray):
            raise ValueError("a numpy array holds objects")
        flat = np.frombuffer(raw, kind.dtype)
        return flat.reshape(shape, order="F" if fortran else "C")

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers."""
        return self.values.nbytes

    def tolist(self) -> Any:
        """Return the numbers as Python's own."""
        return self.values.tolist()

    def __repr__(self) -> str:
        return "<numpy.ndarray>"


_PLAIN_DTYPE = re.compile(r"b1|[iu][1248]|f[248]|U\d{1,4}")
#: Types of values, of keys of a dictionary, members of a set.
_PLAIN = (str, bytes, int, float, bool, type(None))
#: Classes that hold plain values only, of which no engine has a use.
_IDLE = re.compile(
    r"builtins\.(slice|range|list|dict|tuple|int|float|str|bool|bytes|object)"
    r"|datetime\.(date|datetime|time|timedelta|timezone)|decimal\.Decimal|uuid\.UUID"
    r"|numpy\.(bool_?|str_|u?int\d+|float\d+|ndarray)|numpy\.dtypes\.\w+"
    r"|torch\.(device|Tensor|\w+Tensor|per_\w+|strided|sparse_\w+)|torch\.sparse\.\w+Tensor"
    r"|torch\.nn\.parameter\.(Parameter|Buffer)|torch\.serialization\._get_layout"
    r"|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_\w+"
)
#: Names of one thing in other releases of Python and numpy.
_MOVED = {
    "__builtin__": "builtins",
    "pathlib._local": "pathlib",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
}


def checked_key(key: Any) -> Any:
    """Return a key of a dictionary, if comparing it takes no time to speak of.

    Raises
    ------
    TypeError
        If it is neither a plain value nor a tuple of a few of them.
    """
    parts = key if isinstance(key, tuple) else (key,)
    if len(parts) > 16 or not all(isinstance(part, _PLAIN) for part in parts):
        kind = "long or nested tuple" if isinstance(key, tuple) else type(key).__name__
        raise TypeError(f"a key of a dictionary in it is a {kind}")
    return key


def find_maker(module: str, name: str) -> Any:
    """Return what a name in a pickle stands for; None if it is foreign."""
    full = f"{_MOVED.get(module, module)}.{name}"
    if full in _MAKERS:
        return Maker(full, _MAKERS[full])
    if module in ("torch", "torch.storage", "torch.cuda"):
        if isinstance(found := getattr(torch, name, None), torch.dtype):
            return found
        if name.endswith("Storage") and name.isidentifier():
            return StorageKind(_STORAGES.get(name))
    return Opaque(full) if _IDLE.fullmatch(full) else None


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Any:
    """Return a view of a storage, if all of it lies there."""
    marks = rest[2] if len(rest) > 2 else None
    if not isinstance(storage, Storage):
        raise TypeError("a tensor has no storage")
    if storage.values is None or storage.dtype is None or marks:
        return Opaque("a tensor of a kind that networks do not have")
    return _view(storage.values, offset, size, stride)


def _typed_tensor(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    needs: Any,
    hooks: Any,
    dtype: Any,
    *rest: Any,
) -> Any:
    """Return a view of a storage of bytes as numbers of another dtype."""
    if not isinstance(storage, Storage) or not isinstance(dtype, torch.dtype):
        raise TypeError("a tensor has no storage or no dtype")
    if storage.values is None or storage.count * storage.values.element_size() % dtype.itemsize:
        return Opaque(f"a tensor of {dtype}")
    return _view(storage.values.view(dtype), offset, size, stride)


def _view(values: Tensor, offset: Any, size: Any, stride: Any) -> Any:
    sizes = [offset, *size, *stride]
    if not all(isinstance(number, int) and 0 <= number < 2**62 for number in sizes):
        raise ValueError("a tensor has a size that is no whole number")
    if len(size) != len(stride) or len(size) > 16:
        raise ValueError("a tensor has another number of strides than of sides")
    count = math.prod(size)
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if count and (count > len(values) or last >= len(values)):
        return Opaque("a tensor that is larger than its storage")
    return torch.as_strided(values, size, stride, offset) if count else values.new_empty(size)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _subclass(function: Any, kind: Any, arguments: Any, *_: Any) -> Any:
    """Return a tensor with attributes, without them."""
    if isinstance(function, Maker) and isinstance(arguments, tuple):
        return function.make(*arguments)
    return Opaque("a subclass of torch.Tensor")


def _dictionary(*arguments: Any) -> dict[Any, Any]:
    """Return a dict, in place of ``OrderedDict``, ``Counter`` and ``defaultdict``."""
    made: dict[Any, Any] = {}
    for given in arguments:
        pairs = given.items() if isinstance(given, Mapping) else given
        if isinstance(pairs, list | tuple | type(made.items())):
            made.update((checked_key(key), value) for key, value in pairs)
    return made


def _members(values: Any = ()) -> list[Any]:
    return [checked_key(value) for value in values]


def _bytes(text: Any = b"", encoding: Any = "latin1") -> Any:
    if isinstance(text, str) and encoding in ("latin1", "latin-1", "utf-8", "ascii"):
        return text.encode(encoding)
    return bytes(text) if isinstance(text, bytes | bytearray) else Opaque("bytes")


def _complex(real: Any = 0, imaginary: Any = 0) -> complex:
    return complex(float(real), float(imaginary))


def _size(sides: Any = ()) -> tuple[Any, ...]:
    return tuple(sides)


def _scalar(kind: Any, raw: Any = b"") -> Any:
    """Return a number of numpy's as one of Python's."""
    if not isinstance(kind, NumpyDtype) or kind.code is None or not isinstance(raw, bytes):
        return Opaque("a scalar of numpy's")
    (value,) = np.frombuffer(raw, kind.dtype)
    return value.item()


def _from_buffer(raw: Any, kind: Any, shape: Any, order: Any = "C", *_: Any) -> NumpyArray:
    array = NumpyArray()
    array.take_state((1, shape, kind, order == "F", raw))
    return array


def _path(kind: type[PurePath]) -> Callable[..., PurePath]:
    def make(*parts: str) -> PurePath:
        return kind(*parts)

    return make


_MAKERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _dictionary,
    "collections.Counter": _dictionary,
    "collections.defaultdict": _dictionary,
    "builtins.set": lambda *a: set(_members(*a)),
    "builtins.frozenset": lambda *a: frozenset(_members(*a)),
    "builtins.bytearray": _bytes,
    "builtins.complex": _complex,
    "_codecs.encode": _bytes,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _subclass,
    "numpy.dtype": NumpyDtype,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.multiarray._reconstruct": NumpyArray,
    "numpy._core.numeric._frombuffer": _from_buffer,
    **{f"pathlib.{name}": _path(PureWindowsPath) for name in ("WindowsPath", "PureWindowsPath")},
    **{f"pathlib.{n}": _path(PurePosixPath) for n in ("PosixPath", "PurePosixPath", "Path")},
}
#: dtypes of the classes of storages that weights come in.
_STORAGES: dict[str, torch.dtype] = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}
