"""Names of pose backends, and what stands behind them.

A name maps to an import string ``"module:attribute"`` or to a callable; either gives a
:class:`~feat_pose_plugin.backend.PoseBackend` when called with the options of the user. Import
strings are loaded at first use. Installed distributions add names by the entry-point group
``feat_pose_plugin.backends``. One rule for duplicates: they raise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from feat_pose_plugin.errors import BackendError, DuplicateBackendError, UnknownBackendError

if TYPE_CHECKING:
    from feat_pose_plugin.backend import PoseBackend

ENTRY_POINT_GROUP = "feat_pose_plugin.backends"

Factory = Callable[..., "PoseBackend"]

_lock = threading.RLock()
_targets: dict[str, str | Factory] = {
    "pose_mlp_synth": "feat_pose_plugin.mlp.backend:synthetic_backend",
    "pose_mlp": "feat_pose_plugin.mlp.backend:official_backend",
    "pose_mlp_v2": "feat_pose_plugin.mlp.backend:official_backend",
    "img2pose": "feat_pose_plugin.native:img2pose",
}
_entry_points_read = False


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
        _add(name, target)


def available_pose_backends() -> tuple[str, ...]:
    """The names that can be selected, sorted. Nothing is imported to find them.

    Raises:
        DuplicateBackendError: An installed distribution claims a name that is taken.
    """
    with _lock:
        _read_entry_points()
        return tuple(sorted(_targets))


def get_pose_backend(name: str, **options: object) -> PoseBackend:
    """Make the backend with a name.

    Args:
        name: A name of :func:`available_pose_backends`.
        **options: Passed to the backend.

    Returns:
        The backend, its weights found and verified.

    Raises:
        UnknownBackendError: Nobody registered the name.
        BackendError: Its import string cannot be imported, it does not take the options, or it
            is no :class:`~feat_pose_plugin.backend.PoseBackend`.
        WeightsError: Its weights cannot be had or are not sound.
    """
    from feat_pose_plugin.backend import PoseBackend

    known = available_pose_backends()
    if name not in known:
        raise UnknownBackendError(
            f"unknown pose_model {name!r}. Known: {', '.join(map(repr, known))}. Add your own "
            f"with register_pose_backend or the entry-point group {ENTRY_POINT_GROUP!r}."
        )
    factory = _load(name, _targets[name])
    try:
        backend = factory(**options)
    except TypeError as error:
        if not options:
            raise
        raise BackendError(f"pose backend {name!r} with options {options!r}: {error}.") from error
    if not isinstance(backend, PoseBackend):
        raise BackendError(
            f"pose backend {name!r} gave {type(backend).__qualname__}, not a PoseBackend. Derive "
            "it from feat_pose_plugin.PoseBackend."
        )
    return backend


def _add(name: str, target: str | Factory) -> None:
    if name in _targets:
        raise DuplicateBackendError(
            f"pose backend {name!r} cannot become {target!r}: the name is taken by "
            f"{_targets[name]!r}. Choose another name."
        )
    _targets[name] = target


def _read_entry_points() -> None:
    global _entry_points_read
    if _entry_points_read:
        return
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name):
        if _targets.get(entry.name) != entry.value:  # a name read before a later one raised
            _add(entry.name, entry.value)
    _entry_points_read = True


def _load(name: str, target: str | Factory) -> Factory:
    if not isinstance(target, str):
        return target
    module_name, _, attribute = target.partition(":")
    try:
        loaded: object = getattr(import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise BackendError(
            f"pose backend {name!r} could not be loaded from {target!r}: {error}. Is the package "
            "that brings it installed whole?"
        ) from error
    if not callable(loaded):
        raise BackendError(f"pose backend {name!r}: {target!r} is not callable.")
    return loaded
