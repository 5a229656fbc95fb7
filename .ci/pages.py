"""The pages of the reference, made by pdoc from the docstrings: `python .ci/pages.py FOLDER`."""

import importlib
import inspect
import pkgutil
import sys
import typing
from pathlib import Path

import pdoc

import admm_jax

PAGES = ("admm_jax", *(f"admm_jax.{name}" for name in ("learn", "options", "plot", "progress", "restore", "testing")))


def resolve_named_tuples() -> None:
    """Put types in the place of the texts in the annotations of named tuples, which Python 3.11 keeps without a module.

    pdoc could not tell there what `Array` is.
    """
    for found in pkgutil.walk_packages(admm_jax.__path__, "admm_jax."):
        for _, cls in inspect.getmembers(importlib.import_module(found.name), inspect.isclass):
            if issubclass(cls, tuple) and hasattr(cls, "_fields") and cls.__module__ == found.name:
                cls.__new__.__annotations__ = typing.get_type_hints(cls)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python .ci/pages.py FOLDER")
    resolve_named_tuples()
    pdoc.render.configure(docformat="google")
    pdoc.pdoc(*PAGES, output_directory=Path(sys.argv[1]))
