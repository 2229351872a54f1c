"""Reads a pickle of tensors and plain values; nothing that it names is imported or called.

Python's own unpickler calls what a file says, makes what its lengths claim, and hashes tuples that
hold each other 2⁶⁰ times. This one follows the same instructions with a table of its own.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

from s5engine.foreign import cause
from s5engine.model.plain_values import Maker, Opaque, checked_key, find_maker

#: More instructions than any checkpoint has: the largest of 2025, with its optimizer, takes 60,000.
MOST_STEPS = 2_000_000

#: Instructions that push their own argument.
_VALUES = frozenset(
    (
        "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
        "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
        "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    )
)  # fmt: skip
#: Instructions that push something new.
_NEW: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": set,
}  # fmt: skip
_SKIPPED = frozenset(("PROTO", "FRAME", "STOP"))


class PlainUnpickler:
    """Follows one pickle.

    Parameters
    ----------
    storage : callable
        Gives what a persistent id (a tuple that names a tensor's storage) stands for.

    Attributes
    ----------
    foreign : set of str
        Classes and functions that are neither tensors nor plain values; in their place stands an
        `Opaque`.
    """

    def __init__(self, storage: Callable[[Any], Any]) -> None:
        self.foreign: set[str] = set()
        self._storage = storage
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def load(self, file: BinaryIO) -> Any:
        """Return what the pickle holds that begins here; the file then stands behind it.

        Raises
        ------
        ValueError, TypeError
            If it is cut off, damaged, or longer than a checkpoint's.
        """
        try:
            return self._follow(file)
        except (IndexError, KeyError) as error:
            raise ValueError("its pickle takes values that it has not made") from error

    def _follow(self, file: BinaryIO) -> Any:
        for step, (operation, argument, _) in enumerate(pickletools.genops(file)):
            if step > MOST_STEPS:
                raise ValueError(f"its pickle has more than {MOST_STEPS} instructions")
            name = operation.name
            if name in _VALUES:
                self._stack.append(argument)
            elif name in _NEW:
                self._stack.append(_NEW[name]())
            elif name not in _SKIPPED:
                if name not in _ACTIONS:
                    raise ValueError(f"its pickle has the instruction {name}")
                _ACTIONS[name](self, argument)
        return self._stack.pop()

    def _marked(self) -> list[Any]:
        """Return what was pushed since the last mark."""
        values, self._stack = self._stack, self._below.pop()
        return values

    def _mark(self, _: Any) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _pop(self, _: Any) -> None:
        self._stack.pop() if self._stack else self._marked()

    def _drop(self, _: Any) -> None:
        self._marked()

    def _tuple(self, _: Any) -> None:
        values = tuple(self._marked())  # before the stack is asked for: it is another then
        self._stack.append(values)

    def _short_tuple(self, length: int) -> None:
        values = tuple(self._stack[-length:])
        if len(values) < length:
            raise ValueError("its pickle takes more values than it has made")
        self._stack[-length:] = [values]

    def _list(self, _: Any) -> None:
        values = self._marked()
        self._stack.append(values)

    def _dict(self, _: Any) -> None:
        values = self._marked()
        self._stack.append({})
        self._set(values)

    def _set_items(self, _: Any) -> None:
        self._set(self._marked())

    def _set_item(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _set(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if len(values) % 2:
            raise ValueError("its pickle sets a key without a value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if isinstance(target, dict):
                target[checked_key(key)] = value
            elif not isinstance(target, Opaque):
                raise TypeError(f"its pickle sets items of a {type(target).__name__}")

    def _append(self, _: Any) -> None:
        value = self._stack.pop()
        self._extend([value])

    def _appends(self, _: Any) -> None:
        self._extend(self._marked())

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, set):
            target.update(map(checked_key, values))
        elif not isinstance(target, Opaque):
            raise TypeError(f"its pickle appends to a {type(target).__name__}")

    def _frozen(self, _: Any) -> None:
        values = frozenset(map(checked_key, self._marked()))
        self._stack.append(values)

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._find(module, name)

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._find(module, name)

    def _find(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("its pickle names a class by something that is no text")
        found = find_maker(module, name)
        if found is None:
            found = Opaque(f"{module}.{name}")
            self.foreign.add(found.name)
        self._stack.append(found)

    def _call(self, _: Any) -> None:
        arguments, maker = self._stack.pop(), self._stack.pop()
        if not isinstance(arguments, tuple):
            raise TypeError("its pickle calls something without a tuple of arguments")
        if isinstance(maker, Maker):
            self._stack.append(_made(maker, arguments))
        elif isinstance(maker, Opaque):
            self._stack.append(Opaque(maker.name))
        else:
            raise TypeError(f"its pickle calls a {type(maker).__name__}")

    def _call_with_names(self, _: Any) -> None:
        self._stack.pop()
        self._call(None)

    def _instance(self, argument: str) -> None:
        arguments = tuple(self._marked())
        self._global(argument)
        self._stack.append(arguments)
        self._call(None)

    def _object(self, _: Any) -> None:
        maker, *arguments = self._marked()
        self._stack.extend((maker, tuple(arguments)))
        self._call(None)

    def _build(self, _: Any) -> None:
        """Hand a state over to what keeps one; attributes of other values are left out."""
        state = self._stack.pop()
        if hasattr(self._stack[-1], "take_state"):
            self._stack[-1].take_state(state)

    def _put(self, place: Any) -> None:
        self._memo[int(place)] = self._stack[-1]

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, place: Any) -> None:
        self._stack.append(self._memo[int(place)])

    def _persistent(self, _: Any) -> None:
        self._stack.append(self._storage(self._stack.pop()))


def _made(maker: Maker, arguments: tuple[Any, ...]) -> Any:
    try:
        return maker.make(*arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"its pickle calls {maker.name} in vain ({cause(error)})") from error


_ACTIONS: dict[str, Callable[[PlainUnpickler, Any], None]] = {
    "MARK": PlainUnpickler._mark,
    "POP": PlainUnpickler._pop,
    "POP_MARK": PlainUnpickler._drop,
    "DUP": lambda self, _: self._stack.append(self._stack[-1]),
    "TUPLE": PlainUnpickler._tuple,
    "TUPLE1": lambda self, _: self._short_tuple(1),
    "TUPLE2": lambda self, _: self._short_tuple(2),
    "TUPLE3": lambda self, _: self._short_tuple(3),
    "LIST": PlainUnpickler._list,
    "DICT": PlainUnpickler._dict,
    "SETITEM": PlainUnpickler._set_item,
    "SETITEMS": PlainUnpickler._set_items,
    "APPEND": PlainUnpickler._append,
    "APPENDS": PlainUnpickler._appends,
    "ADDITEMS": PlainUnpickler._appends,
    "FROZENSET": PlainUnpickler._frozen,
    "GLOBAL": PlainUnpickler._global,
    "STACK_GLOBAL": PlainUnpickler._stack_global,
    "REDUCE": PlainUnpickler._call,
    "NEWOBJ": PlainUnpickler._call,
    "NEWOBJ_EX": PlainUnpickler._call_with_names,
    "INST": PlainUnpickler._instance,
    "OBJ": PlainUnpickler._object,
    "BUILD": PlainUnpickler._build,
    "PUT": PlainUnpickler._put,
    "BINPUT": PlainUnpickler._put,
    "LONG_BINPUT": PlainUnpickler._put,
    "MEMOIZE": PlainUnpickler._memoize,
    "GET": PlainUnpickler._get,
    "BINGET": PlainUnpickler._get,
    "LONG_BINGET": PlainUnpickler._get,
    "BINPERSID": PlainUnpickler._persistent,
}
