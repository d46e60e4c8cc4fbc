"""Names of backends: entry points that lead nowhere, raise, lie, or claim the names of others."""

from __future__ import annotations

import sys
import types
import warnings
from functools import cache
from importlib.metadata import EntryPoint
from unittest import mock

import torch
from fuzz.choices import Choices
from fuzz.common import FACE

from feat_pose_plugin import PoseBackend, Provenance, estimate_pose
from feat_pose_plugin.errors import FeatPoseError
from feat_pose_plugin.mlp.pose_mlp import MLPBackend
from feat_pose_plugin.pose import registry

BUILT_IN = dict(registry._targets)
READ = registry._read_entry_points  # once in a process
NAMES = ["pose_mlp_synth", "pose_mlp", "img2pose", "a", "b", "", " ", "../x", "\ud800", "name"]


class Odd(PoseBackend):
    """Answers, or does not, as it is told."""

    provenance = Provenance("odd", "MIT")

    def __init__(self, answer: object = None) -> None:
        self._answer = answer

    def estimate(self, landmarks, *, frame_size=None, landmark_model):
        if isinstance(self._answer, BaseException):
            raise type(self._answer)(*self._answer.args)  # a new one, or its traceback grows
        return landmarks.new_zeros(len(landmarks), 6) if self._answer is None else self._answer


def _raise(error: BaseException):
    def factory(**options: object) -> PoseBackend:
        raise type(error)(*error.args)

    return factory


ERRORS = [
    ValueError("no"),
    KeyError(3),
    SystemExit(1),
    RecursionError(),
    MemoryError(),
    TypeError(),
]
ERRORS += [StopIteration(), OSError(28, "full"), AssertionError(), UnicodeError("x"), Exception()]
FACTORIES = {
    "sound": Odd,
    "none": None,
    "number": 3,
    "dictionary": dict,
    **{f"raises_{n}": _raise(error) for n, error in enumerate(ERRORS)},
    **{f"fails_{n}": (lambda error=error: Odd(error)) for n, error in enumerate(ERRORS)},
    "list": lambda: Odd([1]),
    "long": lambda: Odd(torch.zeros(9, 6)),
    "double": lambda: Odd(torch.zeros(1, 6).double()),
    "text": lambda: Odd("pose"),
}
VALUES = [f"fuzz_odd:{name}" for name in FACTORIES]
VALUES += ["", ":", "x", "fuzz_odd", "fuzz_odd:", ":Odd", ".x:y", "..:y", "json:loads", "os:system"]
VALUES += ["fuzz_odd:sound.x", "fuzz_odd:sound [extra]", "a b:c", "fuzz_odd:no", "\x00:x", "a:b:c"]
VALUES += ["feat_pose_plugin.mlp.pose_mlp:synthetic_backend", "é:x", "fuzz_broken:x"]


class Broken(types.ModuleType):
    def __getattr__(self, name: str) -> object:
        raise AttributeError(name) if name.startswith("__") else ZeroDivisionError(name)


MODULES = {"fuzz_odd": types.ModuleType("fuzz_odd"), "fuzz_broken": Broken("fuzz_broken")}
vars(MODULES["fuzz_odd"]).update(FACTORIES)


def names(data: bytes) -> None:
    choices = Choices(data)
    entries = [
        EntryPoint(choices.pick(NAMES), choices.pick(VALUES), registry.ENTRY_POINT_GROUP)
        for _ in range(choices.byte() % 5)
    ]
    with (
        mock.patch.dict(sys.modules, MODULES),  # here only: others look at all modules
        mock.patch.object(registry, "entry_points", return_value=entries),
        mock.patch.object(registry, "_targets", dict(BUILT_IN)),
        mock.patch.object(registry, "_claims", {}),
        mock.patch.object(registry, "_read_entry_points", cache(READ.__wrapped__)),
        warnings.catch_warnings(action="ignore"),
    ):
        known = registry.available_pose_backends()
        assert set(known) == set(BUILT_IN) | {entry.name for entry in entries}
        assert type(registry.get_pose_backend("pose_mlp_synth")) is MLPBackend, "shadowed"
        name = choices.pick(NAMES)
        options = choices.pick([{}, {}, {}, {"name": 1}, {"answer": None}])
        try:
            backend = registry.get_pose_backend(name, **options)
            pose = estimate_pose(FACE[None], pose_model=backend)
        except FeatPoseError:
            return
        assert len(pose) == 1
