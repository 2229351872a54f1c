"""Training: tiles with labels out of parts, the loss that leaves out what is ignored, the fit.

This room has the name of its verb: ``s5engine.train`` is the package of ``s5engine.train.fit`` and
its neighbours, and calling it trains, as `s5engine.train.fit.train` describes.
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    """A package that can be called."""

    def __call__(self, *arguments: Any, **options: Any) -> Path:
        from s5engine.train.fit import train

        return train(*arguments, **options)


# Importing any module of this room makes it an attribute of s5engine, whatever a function of that
# name is bound to: only if the room itself can be called is `s5engine.train` always the same.
sys.modules[__name__].__class__ = _Room
