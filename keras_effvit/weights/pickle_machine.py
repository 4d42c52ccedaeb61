"""Reads a pickle as data: a machine that knows its opcodes, and neither imports nor calls anything.

A pickle is a program, and Python's own unpickler runs it. This one builds dicts, lists, tuples, strings and numbers;
where the program names a global it looks it up in a table of ours, and where it calls one it calls what the table
holds. A name outside the table is an error that says the name.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


class CheckpointError(ValueError):
    """A file that cannot be read as a checkpoint, or will not be."""


@dataclass(frozen=True)
class Named:
    """A global of the pickle that stands for itself: a storage type, a dtype, an unknown training object."""

    name: str


@dataclass(frozen=True)
class Inert:
    """An object of a class that is allowed to appear but is never made."""

    name: str


Builder = Callable[..., Any]
_MARK = object()
#: Keys that hash in constant time and depth; no checkpoint needs others.
_KEYS = (str, int, float, bytes, type(None))
#: Python hashes integers modulo a little more than this, so that larger ones can be made to collide without end.
_LARGEST_KEY = 2**60
#: No call in a checkpoint has more; copying a long tuple again and again would never end.
_MOST_ARGUMENTS = 64
_CONSTANTS = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
}
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_NOTHING = {"PROTO", "FRAME"}


class PickleMachine:
    """Runs one pickle.

    Args:
        builders: by global name, what a call of it builds.
        stands_for_itself: whether a global without a builder may appear, as an `Inert` object where it is called.
        persistent: builds what a persistent id stands for.
        steps: how many opcodes to take before the file is refused.
    """

    def __init__(
        self,
        builders: Mapping[str, Builder],
        stands_for_itself: Callable[[str], bool],
        persistent: Callable[[Any], Any],
        steps: int,
    ):
        self._builders = builders
        self._stands_for_itself = stands_for_itself
        self._persistent = persistent
        self._steps = steps
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, file) -> Any:
        """Reads one pickle from a binary file and leaves the file after it.

        Args:
            file: a file positioned at the pickle.

        Returns:
            The object it describes.

        Raises:
            CheckpointError: if it is no pickle, or asks for something that is not in the tables.
        """
        try:
            for step, (opcode, argument, _) in enumerate(pickletools.genops(file)):
                if opcode.name == "STOP":
                    return self._take()
                if step >= self._steps:
                    raise CheckpointError(f"Expected a pickle of at most {self._steps} opcodes. Received: a longer one")
                self._step(opcode.name, argument)
        except CheckpointError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
            raise CheckpointError(f"Expected a pickle. Received: {type(error).__name__}: {error}") from error
        raise CheckpointError("Expected a pickle. Received: one without an end")

    def _step(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name not in _NOTHING:
            operation = getattr(self, f"op_{name.lower()}", None)
            if operation is None:
                raise CheckpointError(f"Expected the opcodes of a checkpoint. Received: {name} {argument!r}")
            operation(argument)

    def _take(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise CheckpointError("Expected a pickle. Received: a mark where a value belongs")
        return value

    def _pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    # Stack and memo.

    def op_mark(self, _):
        self._stack.append(_MARK)

    def op_pop(self, _):
        self._stack.pop()

    def op_pop_mark(self, _):
        self._pop_to_mark()

    def op_dup(self, _):
        self._stack.append(self._stack[-1])

    def op_put(self, index):
        self._memo[index] = self._stack[-1]

    op_binput = op_long_binput = op_put

    def op_memoize(self, _):
        self._memo[len(self._memo)] = self._stack[-1]

    def op_get(self, index):
        self._stack.append(self._memo[index])

    op_binget = op_long_binget = op_get

    # Containers.

    def op_empty_list(self, _):
        self._stack.append([])

    def op_empty_tuple(self, _):
        self._stack.append(())

    def op_empty_dict(self, _):
        self._stack.append({})

    op_empty_set = op_empty_list

    def op_list(self, _):
        self._stack.append(self._pop_to_mark())

    op_frozenset = op_list

    def op_tuple(self, _):
        self._stack.append(tuple(self._pop_to_mark()))

    def op_tuple1(self, _):
        self._stack.append((self._take(),))

    def op_tuple2(self, _):
        second = self._take()
        self._stack.append((self._take(), second))

    def op_tuple3(self, _):
        third, second = self._take(), self._take()
        self._stack.append((self._take(), second, third))

    def op_dict(self, _):
        items = self._pop_to_mark()
        self._stack.append({})
        self._set(items)

    def op_append(self, _):
        value = self._take()
        self._extend([value])

    def op_appends(self, _):
        self._extend(self._pop_to_mark())

    op_additems = op_appends

    def _extend(self, items):
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Inert):
            raise CheckpointError(f"Expected a list to append to. Received: {type(target).__name__}")

    def op_setitem(self, _):
        value = self._take()
        self._set([self._take(), value])

    def op_setitems(self, _):
        self._set(self._pop_to_mark())

    def _set(self, items):
        target = self._stack[-1]
        if isinstance(target, Inert):
            return
        if not isinstance(target, dict):
            raise CheckpointError(f"Expected a dict to fill. Received: {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, _KEYS) or (isinstance(key, int) and abs(key) > _LARGEST_KEY):
                raise CheckpointError(f"Expected a string or a number as key. Received: {type(key).__name__}")
            target[key] = value

    # Globals and calls, none of them Python's.

    def op_global(self, argument):
        self._stack.append(self._find(*argument.split(" ", 1)))

    def op_stack_global(self, _):
        name = self._take()
        self._stack.append(self._find(self._take(), name))

    def _find(self, module: Any, name: Any) -> Named:
        full = f"{module}.{name}"
        if not isinstance(module, str) or not isinstance(name, str):
            raise CheckpointError(f"Expected names of a global. Received: {full[:200]!r}")
        if full not in self._builders and not self._stands_for_itself(full):
            raise CheckpointError(
                f"Expected nothing but tensors and plain containers. Received: a file that refers to {full!r}, "
                "which a checkpoint has no use for; it was not imported, and nothing was run"
            )
        return Named(full)

    def op_reduce(self, _):
        arguments = self._take()
        self._stack.append(self._call(self._take(), arguments))

    op_newobj = op_reduce

    def op_newobj_ex(self, _):
        self._take()  # keyword arguments: no builder takes any
        self.op_reduce(None)

    def op_obj(self, _):
        function, *arguments = self._pop_to_mark()
        self._stack.append(self._call(function, tuple(arguments)))

    def op_inst(self, argument):
        arguments = self._pop_to_mark()
        self._stack.append(self._call(self._find(*argument.split(" ", 1)), tuple(arguments)))

    def _call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Named) or not isinstance(arguments, tuple):
            raise CheckpointError(f"Expected a call of a global. Received: a call of {type(function).__name__}")
        if len(arguments) > _MOST_ARGUMENTS:
            raise CheckpointError(f"Expected a call of {function.name}. Received: {len(arguments)} arguments")
        builder = self._builders.get(function.name)
        return Inert(function.name) if builder is None else builder(*arguments)

    def op_build(self, _):
        self._take()  # attributes: those of inert objects and of dicts (a state dict's `_metadata`) are of no use

    def op_binpersid(self, _):
        self._stack.append(self._persistent(self._take()))
