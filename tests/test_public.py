"""The public names, and what is said about them."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import feat_pose_plugin
from feat_pose_plugin import errors

PUBLIC = [name for name in feat_pose_plugin.__all__ if not name.startswith("__")]


def test_star_import_gives_the_public_names_and_no_other():
    names: dict[str, object] = {}
    exec("from feat_pose_plugin import *", names)
    del names["__builtins__"]
    assert set(names) == set(feat_pose_plugin.__all__) == set(dir(feat_pose_plugin))


def test_the_stub_names_the_module_that_defines_each_public_name():
    stub = Path(feat_pose_plugin.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    for module, name in re.findall(r"^from \.([\w.]+) import (\w+) as \2$", stub, re.M):
        home = inspect.getmodule(getattr(feat_pose_plugin, name))
        assert home is None or home.__name__ == f"feat_pose_plugin.{module}"


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_says_what_it_is(name):
    value = getattr(feat_pose_plugin, name)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        assert name.isupper()
        return
    assert inspect.getdoc(value)
    if inspect.isfunction(value):
        documented = [value]
    else:
        documented = [
            member
            for attribute, member in vars(value).items()
            if inspect.isfunction(member)
            and not attribute.startswith("_")
            and member.__module__.startswith("feat_pose_plugin.pose")  # others are as py-feat's
        ]
    for function in documented:
        text = inspect.getdoc(function)
        assert text
        for parameter in inspect.signature(function).parameters:
            if parameter != "self":
                assert re.search(rf"^ +\**{parameter}: ", text, re.MULTILINE), (name, parameter)


def test_every_error_is_ours_and_a_built_in_one():
    declared = {kind for kind in vars(errors).values() if inspect.isclass(kind)}
    for kind in declared - {errors.FeatPoseError, errors.PoseWarning}:
        assert issubclass(kind, errors.FeatPoseError)
        assert issubclass(kind, ValueError | RuntimeError | OSError)
        assert kind.__doc__
    assert issubclass(errors.LandmarkError, ValueError)
    assert issubclass(errors.BackendError, RuntimeError)
    assert issubclass(errors.TableError, OSError)


def test_package_is_typed():
    assert (Path(feat_pose_plugin.__file__).parent / "py.typed").is_file()
