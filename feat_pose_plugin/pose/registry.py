"""Names of pose backends, and what stands behind them.

A name maps to an import string ``"module:attribute"``, loaded at first use, or to a callable;
either makes a backend of the user's options. Installed distributions add names by the entry-point
group ``feat_pose_plugin.backends``. A name that two of them claim raises when it is asked for; the
names of this package, and those registered in the process, are nobody else's. What one distribution
does wrong stops no other name.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

from feat_pose_plugin.errors import (
    BackendError,
    DuplicateBackendError,
    FeatPoseError,
    UnknownBackendError,
)

if TYPE_CHECKING:
    from feat_pose_plugin.pose.backend import PoseBackend

ENTRY_POINT_GROUP = "feat_pose_plugin.backends"

Factory = Callable[..., "PoseBackend"]
T = TypeVar("T")

_lock = threading.RLock()
_targets: dict[str, str | Factory] = {
    "pose_mlp_synth": "feat_pose_plugin.mlp.pose_mlp:synthetic_backend",
    "pose_mlp": "feat_pose_plugin.mlp.pose_mlp:official_backend",
    "pose_mlp_v2": "feat_pose_plugin.mlp.pose_mlp:official_backend",
    "img2pose": "feat_pose_plugin.frameworks.native_pose:img2pose",
}
_claims: dict[str, set[str]] = {}  # of the names that more than one distribution has


def register_pose_backend(name: str, target: str | Factory) -> None:
    """Make a pose backend selectable by name in this process.

    Args:
        name: The name that users pass as ``pose_model``.
        target: A class or function that returns a backend, or ``"module:attribute"`` of one,
            imported when the name is first used.

    Raises:
        DuplicateBackendError: The name is taken.
        BackendError: The target is neither callable nor an import string.
    """
    if not callable(target) and not (isinstance(target, str) and target.count(":") == 1):
        raise BackendError(
            f"the target of pose backend {name!r} must be callable or 'module:attribute', got "
            f"{target!r}."
        )
    with _lock:
        _read_entry_points()
        if name in _targets:
            raise DuplicateBackendError(
                f"pose backend {name!r} cannot become {target!r}: the name is taken by "
                f"{_targets[name]!r}. Choose another name."
            )
        _targets[name] = target


def available_pose_backends() -> tuple[str, ...]:
    """The names that can be selected, sorted. Nothing is imported to find them.

    An installed distribution that claims a name of this package is left out, with a warning.
    """
    with _lock:
        _read_entry_points()
        return tuple(sorted(_targets))


def get_pose_backend(name: str, /, **options: object) -> PoseBackend:
    """Make the backend with a name.

    Args:
        name: A name of :func:`available_pose_backends`, whatever its case.
        **options: Passed to the backend.

    Returns:
        The backend, its weights found and verified.

    Raises:
        UnknownBackendError: Nobody registered the name.
        DuplicateBackendError: Two installed distributions claim it.
        BackendError: Its import string cannot be imported, making it fails, with these options or
            at all, or it is no :class:`~feat_pose_plugin.pose.backend.PoseBackend`.
        WeightsError: Its weights are not available or are damaged.
    """
    from feat_pose_plugin.pose.arguments import find_name
    from feat_pose_plugin.pose.backend import PoseBackend

    more = (
        f" Add your own with register_pose_backend or the entry-point group {ENTRY_POINT_GROUP!r}."
    )
    found = find_name("pose_model", name, available_pose_backends(), UnknownBackendError, more)
    if found in _claims:
        claims = " and ".join(map(repr, sorted(_claims[found])))
        raise DuplicateBackendError(
            f"pose backend {found!r} is claimed by {claims}. Uninstall one of the "
            "distributions that bring them."
        )
    failed = f"pose backend {found!r} with options {options!r} could not be made"
    backend = call_foreign(failed, _load(found, _targets[found]), **options)
    if not isinstance(backend, PoseBackend):
        raise BackendError(
            f"pose backend {found!r} gave {type(backend).__qualname__}, not a PoseBackend. Derive "
            "it from feat_pose_plugin.PoseBackend."
        )
    return backend


def find_pose_backend(pose_model: str | PoseBackend) -> PoseBackend:
    """The backend that is meant: itself, or the one with the name; errors as of the latter."""
    from feat_pose_plugin.pose.backend import PoseBackend

    return pose_model if isinstance(pose_model, PoseBackend) else get_pose_backend(pose_model)


@cache
def _read_entry_points() -> None:
    """Once in a process; the caller has the lock."""
    ours = set(_targets)
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name in ours:
            warnings.warn(
                f"pose backend {entry.name!r} of this package is not replaced by {entry.value!r}, "
                f"from an entry point {ENTRY_POINT_GROUP!r}.",
                stacklevel=4,
            )
        elif (first := _targets.setdefault(entry.name, entry.value)) != entry.value:
            _claims.setdefault(entry.name, {str(first)}).add(entry.value)


def _load(name: str, target: str | Factory) -> Factory:
    if not isinstance(target, str):
        return target
    module_name, _, attribute = target.partition(":")
    failed = f"pose backend {name!r} could not be loaded from {target!r}"
    module = call_foreign(failed, import_module, module_name)
    loaded: object = call_foreign(failed, attrgetter(attribute), module)
    if not callable(loaded):
        raise BackendError(f"pose backend {name!r}: {target!r} is not callable.")
    return loaded


def call_foreign(failed: str, function: Callable[..., T], /, *args: object, **kwargs: object) -> T:
    """Call what others wrote; what it raises becomes our error that says what failed."""
    try:
        return function(*args, **kwargs)
    except FeatPoseError:
        raise
    except (Exception, SystemExit) as error:
        raise BackendError(f"{failed}: {type(error).__name__}: {error}.") from error
