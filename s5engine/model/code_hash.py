"""What tells one network from another: a hash of its weights and of its code.

Python's own pickles will not do: they name a function without its code, or hold the lines of the
file that it stands in.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import types
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

#: Packages whose code is named, not read, as that of Python itself is.
_SETTLED = ("torch", "numpy", "scipy")
#: Deepest nesting, and most things, that are followed before a network counts as unknown.
_DEEPEST, _MOST = 60, 200_000
_PLAIN = (bool, int, float, complex, str, bytes, PurePath)


class _UnknownError(Exception):
    """Something that cannot be told from others of its kind."""


def code_hash(network: object) -> str | None:
    """Return a hash of a callable: the same in every process for the same weights and code.

    Parameters
    ----------
    network : callable
        A torch module, a function, a method, a partial or an object with ``__call__``. What it
        refers to (defaults, closures, globals, attributes, submodules, tensors) counts as well.

    Returns
    -------
    str or None
        64 hexadecimal digits; None for what cannot be told surely: code that is not Python's,
        objects that do not say what they are made of.
    """
    hasher = _Hasher()
    try:
        hasher.add(network)
    except (_UnknownError, RecursionError):
        return None
    return hasher.digest.hexdigest()


class _Hasher:
    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self._seen: dict[int, int] = {}
        self._kept: list[object] = []  # what was seen stays alive, so that no id comes again
        self._depth = 0

    def add(self, value: Any) -> None:
        """Take one thing in, and all that it is made of."""
        if value is None or isinstance(
            value, bool | int | float | complex | str | bytes | PurePath
        ):
            self._tell(type(value).__name__, repr(value))
            return
        if id(value) in self._seen:  # rings, and what is used twice
            self._tell("again", str(self._seen[id(value)]))
            return
        self._seen[id(value)] = len(self._seen)
        self._kept.append(value)
        self._depth += 1
        if self._depth > _DEEPEST or len(self._seen) > _MOST:
            raise _UnknownError
        for kinds, take in _KINDS:
            if isinstance(value, kinds):
                take(self, value)
                break
        else:
            self._object(value)
        self._depth -= 1

    def _tell(self, kind: str, text: str) -> None:
        self.digest.update(f"{kind}:{len(text)}:{text};".encode())

    def _array(self, array: np.ndarray) -> None:
        if array.dtype.hasobject:
            raise _UnknownError
        self._tell("array", f"{array.dtype.str} {array.shape}")
        self.digest.update(np.ascontiguousarray(array).tobytes())

    def _tensor(self, tensor: Tensor) -> None:
        if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
            raise _UnknownError
        plain = tensor.detach().cpu().contiguous()
        self._tell("tensor", f"{plain.dtype} {tuple(plain.shape)}")
        self.digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())

    def _module(self, module: nn.Module) -> None:
        if isinstance(module, torch.jit.ScriptModule):
            raise _UnknownError
        self.add(type(module))
        state = {k: v for k, v in vars(module).items() if not k.endswith("_hooks")}
        for name in ("_parameters", "_buffers", "_modules"):
            self.add(list(state.pop(name, {}).items()))
        # Without hooks, and what torch counts for itself.
        hooks = [v for k, v in vars(module).items() if k.endswith("_hooks") and v]
        self.add([list(hook.values()) for hook in hooks if isinstance(hook, Mapping)])
        self.add(dict(sorted(state.items())))

    def _sequence(self, values: Any) -> None:
        self._tell(type(values).__name__, str(len(values)))
        for value in values:
            self.add(value)

    def _mapping(self, values: Mapping[Any, Any]) -> None:
        self._tell("mapping", str(len(values)))
        for key, value in values.items():
            self.add(key)
            self.add(value)

    def _set(self, values: AbstractSet[Any]) -> None:
        parts = []
        for value in values:  # sets have no order: those of the elements' own hashes is taken
            alone = _Hasher()
            alone.add(value)
            parts.append(alone.digest.hexdigest())
        self._sequence(sorted(parts))

    def _code(self, code: types.CodeType) -> None:
        # Not the file and the lines: moving a function does not change it.
        self._tell("code", f"{code.co_name} {code.co_argcount} {code.co_kwonlyargcount}")
        self.digest.update(code.co_code)
        self.add([code.co_names, code.co_varnames, code.co_freevars, code.co_flags])
        for constant in code.co_consts:
            self.add(sorted(constant, key=repr) if isinstance(constant, frozenset) else constant)

    def _function(self, function: types.FunctionType) -> None:
        if _is_settled(function):
            self._named(function)
            return
        self.add(function.__code__)
        self.add([function.__defaults__, function.__kwdefaults__])
        for cell in function.__closure__ or ():
            try:
                self.add(cell.cell_contents)
            except ValueError:  # a name that has no value yet
                self._tell("cell", "empty")
        for name in _names_in(function.__code__):
            if name in function.__globals__:
                self._tell("global", name)
                self.add(function.__globals__[name])

    def _method(self, method: types.MethodType) -> None:
        self.add(method.__func__)
        self.add(method.__self__)

    def _partial(self, partial: functools.partial[Any]) -> None:
        self.add([partial.func, partial.args, partial.keywords])

    def _class(self, kind: type) -> None:
        self._tell("class", kind.__qualname__)
        if _is_settled(kind):
            self._tell("from", kind.__module__)
            return
        self.add([base for base in kind.__mro__[1:] if base is not object])
        for name, value in sorted(vars(kind).items()):
            if not name.startswith("__") or name in ("__call__", "__init__"):
                self._tell("member", name)
                self.add(value)

    def _named(self, thing: Any) -> None:
        """Take what belongs to an installed package by its name: modules, built-in functions."""
        module = getattr(thing, "__module__", None)
        name = getattr(thing, "__qualname__", getattr(thing, "__name__", repr(thing)))
        owner = getattr(thing, "__self__", None)
        self._tell("named", f"{module} {name}")
        if owner is not None and not isinstance(owner, types.ModuleType | type):
            self.add(owner)

    def _wrapped(self, member: Any) -> None:
        self.add([type(member).__name__, member.__func__])

    def _property(self, member: property) -> None:
        self.add([member.fget, member.fset])

    def _plain(self, value: Any) -> None:
        self._tell(type(value).__name__, repr(value))

    def _object(self, value: Any) -> None:
        """Take an object as it would be made again elsewhere."""
        try:
            made = value.__reduce_ex__(2)
        except Exception as error:  # each class fails at this in its own way
            raise _UnknownError from error
        if isinstance(made, str):
            self._tell("named", made)
            return
        self.add(type(value))
        self.add([part for part in made[:3] if part is not None])
        for part in made[3:]:
            if part is not None:
                self.add(list(part))


def _names_in(code: types.CodeType) -> list[str]:
    """Return the names that code may look up, those of the functions inside it too."""
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return sorted({*code.co_names, *(name for c in inner for name in _names_in(c))})


def _is_settled(thing: Any) -> bool:
    root = str(thing.__module__).partition(".")[0]
    return root in _SETTLED or (root in sys.stdlib_module_names and root != "__main__")


_KINDS: tuple[tuple[Any, Callable[[_Hasher, Any], None]], ...] = (
    (nn.Module, _Hasher._module),
    (Tensor, _Hasher._tensor),
    (np.ndarray, _Hasher._array),
    (
        (np.generic, np.dtype, torch.dtype, torch.device, torch.Size, slice, range, type(...)),
        _Hasher._plain,
    ),
    ((list, tuple), _Hasher._sequence),
    (Mapping, _Hasher._mapping),
    (AbstractSet, _Hasher._set),
    (types.CodeType, _Hasher._code),
    (types.FunctionType, _Hasher._function),
    (types.MethodType, _Hasher._method),
    (functools.partial, _Hasher._partial),
    (type, _Hasher._class),
    ((staticmethod, classmethod), _Hasher._wrapped),
    (property, _Hasher._property),
    (
        (
            types.ModuleType,
            types.BuiltinFunctionType,
            types.MethodDescriptorType,
            np.ufunc,
            types.WrapperDescriptorType,
            types.GetSetDescriptorType,
            types.MemberDescriptorType,
        ),
        _Hasher._named,
    ),
)
