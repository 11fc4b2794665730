"""Everything that can go wrong, as one tree.

SteerableError
 ├─ UnknownName   (LookupError)    no such generator, method, layer, attribute …      .given .known
 ├─ SpaceError    (ValueError)     codes in the wrong latent space, or of the wrong shape
 ├─ SettingError  (ValueError)     a setting or an argument outside its limits
 ├─ ArtifactError (ValueError)     a file that is not ours, damaged, hostile, or of another kind
 │   └─ MismatchError              made with other weights
 ├─ SourceError   (OSError)        weights that could not be fetched, or whose hash is wrong
 ├─ MissingExtra  (ImportError)    an optional package is not installed               .extra
 └─ MethodFailed  (RuntimeError)   did not converge, met a NaN, ran out of memory

A message says what was wrong, what exists and what to do, in one line.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType


class SteerableError(Exception):
    """The base of every error that the library raises on purpose."""


class UnknownName(SteerableError, LookupError):
    def __init__(self, kind: str, given: str, known: Iterable[str]):
        self.given, self.known = given, tuple(known)
        close = get_close_matches(str(given), self.known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        super().__init__(f"no {kind} is called {given!r}{hint} There is: {', '.join(self.known) or 'nothing'}")


class SpaceError(SteerableError, ValueError):
    pass


class SettingError(SteerableError, ValueError):
    pass


class ArtifactError(SteerableError, ValueError):
    pass


class MismatchError(ArtifactError):
    pass


class SourceError(SteerableError, OSError):
    pass


class MissingExtra(SteerableError, ImportError):
    def __init__(self, package: str, extra: str, purpose: str):
        self.extra = extra
        super().__init__(f'{purpose} needs the package {package!r}: pip install "steerable[{extra}]"')


class MethodFailed(SteerableError, RuntimeError):
    pass


def need(package: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional package, or say which extra brings it."""
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingExtra(package, extra, purpose) from error
