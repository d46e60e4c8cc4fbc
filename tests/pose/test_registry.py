"""Names of backends: registered in a process, or brought by an installed distribution."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from documents import blocks, python_blocks
from fakes import Fake, faces

from feat_pose_plugin import (
    available_pose_backends,
    estimate_pose,
    get_pose_backend,
    register_pose_backend,
)
from feat_pose_plugin.errors import (
    BackendError,
    DuplicateBackendError,
    UnknownBackendError,
    WeightsError,
)
from feat_pose_plugin.pose import registry

BUILT_IN = ("img2pose", "pose_mlp", "pose_mlp_synth", "pose_mlp_v2")


def fail_with(error: Exception):
    def factory(**options):
        raise error

    return factory


@pytest.fixture(autouse=True)
def own_names(monkeypatch):
    """Names registered by a test are gone after it."""
    available_pose_backends()
    monkeypatch.setattr(registry, "_targets", dict(registry._targets))


def test_built_in_names():
    assert set(BUILT_IN) <= set(available_pose_backends())
    assert list(available_pose_backends()) == sorted(available_pose_backends())


@pytest.mark.parametrize("target", [Fake, lambda **options: Fake(**options)])
def test_registered_class_or_function_is_made_with_the_options(target):
    register_pose_backend("mine", target)
    assert "mine" in available_pose_backends()
    assert get_pose_backend("mine").provenance.name == "fake"
    assert get_pose_backend("mine", name="option").provenance.name == "option"
    assert get_pose_backend("mine") is not get_pose_backend("mine")
    register_pose_backend("Other", target)
    assert get_pose_backend("oTHER").provenance.name == "fake"


def test_import_string_is_loaded_at_first_use_and_not_before(tmp_path, monkeypatch):
    (tmp_path / "lazy_pose.py").write_text("from fakes import Fake as Backend\n")
    monkeypatch.syspath_prepend(tmp_path)
    register_pose_backend("lazy", "lazy_pose:Backend")
    assert "lazy" in available_pose_backends()
    assert "lazy_pose" not in sys.modules
    assert get_pose_backend("lazy", name="x").provenance.name == "x"
    assert "lazy_pose" in sys.modules


@pytest.mark.parametrize("name", [*BUILT_IN, "mine"])
def test_duplicate_raises_and_changes_nothing(name):
    register_pose_backend("mine", Fake)
    before = available_pose_backends()
    with pytest.raises(DuplicateBackendError, match=f"'{name}' cannot become 'other:Thing'"):
        register_pose_backend(name, "other:Thing")
    assert available_pose_backends() == before
    assert get_pose_backend("mine").provenance.name == "fake"


@pytest.mark.parametrize("name", ["pose_mpl", "", None, 3])
def test_unknown_name_is_repeated_and_the_known_ones_listed(name):
    with pytest.raises(UnknownBackendError) as caught:
        get_pose_backend(name)
    message = str(caught.value)
    assert f"unknown pose_model {name!r}" in message
    assert all(repr(known) in message for known in available_pose_backends())
    assert "register_pose_backend" in message
    assert "feat_pose_plugin.backends" in message


@pytest.mark.parametrize("target", [None, 5, "module", "module.Class", "a:b:c", ""])
def test_target_that_can_be_no_backend(target):
    with pytest.raises(BackendError, match=f"'mine'.*got {target!r}"):
        register_pose_backend("mine", target)
    assert "mine" not in available_pose_backends()


@pytest.mark.parametrize(
    ("target", "message", "cause"),
    [
        ("no_such_module:Backend", "'mine' could not be loaded from 'no_such", ModuleNotFoundError),
        ("json:no_such", "'mine' could not be loaded from 'json:no_such'", AttributeError),
        ("json:", "'mine' could not be loaded from 'json:'", AttributeError),
        ("json:__name__", "'json:__name__' is not callable", None),
        (dict, "'mine' gave dict, not a PoseBackend", None),
    ],
)
def test_what_leads_to_no_backend_is_said_with_its_cause(target, message, cause):
    register_pose_backend("mine", target)
    with pytest.raises(BackendError, match=message) as caught:
        get_pose_backend("mine")
    assert cause is None or isinstance(caught.value.__cause__, cause)


def test_option_that_is_not_taken_is_named():
    register_pose_backend("mine", Fake)
    with pytest.raises(BackendError, match=r"'mine' with options \{'colour': 'red'\}.*colour"):
        get_pose_backend("mine", colour="red")
    with pytest.raises(BackendError, match="cache_dir"):
        get_pose_backend("pose_mlp_synth", cache_dir="x")


ERRORS = [ValueError("no"), OSError("no"), TypeError("no"), StopIteration("no"), SystemExit("no")]


@pytest.mark.parametrize("error", ERRORS)
def test_whatever_a_backend_raises_is_our_error_with_its_cause(error):
    register_pose_backend("mine", fail_with(error))
    with pytest.raises(BackendError, match=r"'mine'.*could not be made.*no") as caught:
        get_pose_backend("mine")
    assert caught.value.__cause__ is error

    def fail(landmarks):
        raise error

    with pytest.raises(BackendError, match=r"'fake' failed.*no") as caught:
        estimate_pose(faces(1), pose_model=Fake(fail))
    assert caught.value.__cause__ is error


def test_an_error_of_ours_comes_through():
    register_pose_backend("mine", fail_with(WeightsError("no")))
    with pytest.raises(WeightsError, match=r"^no$"):
        get_pose_backend("mine")


# Entry points


def install(folder: Path, name: str, entries: str, module: str = "") -> None:
    """What installing a distribution leaves in a folder of ``sys.path``."""
    information = folder / f"{name}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[feat_pose_plugin.backends]\n{entries}\n")
    if module:
        (folder / f"{name}.py").write_text(module)


def run_with(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\n{script}"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )


def test_documented_entry_point_works_once_installed(tmp_path):
    page = "write-a-backend.md"
    (entry_point,) = (block.code for block in blocks(page) if block.language == "toml")
    entries = tomllib.loads(entry_point)
    ((name, value),) = entries["project"]["entry-points"]["feat_pose_plugin.backends"].items()
    install(tmp_path, "my-package", f"{name} = {value}")
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").touch()
    (tmp_path / "my_package" / "backend.py").write_text(python_blocks(page)[0])
    script = f"""
from feat_pose_plugin import available_pose_backends, get_pose_backend
assert {name!r} in available_pose_backends()
assert "my_package" not in sys.modules and "torch" not in sys.modules
from feat_pose_plugin.testing import check_pose_backend
check_pose_backend(get_pose_backend({name!r}))
"""
    run = run_with(tmp_path, script)
    assert run.returncode == 0, run.stderr


def test_what_a_distribution_does_wrong_stops_no_other_name(tmp_path):
    install(tmp_path, "first", "twice = first:Backend")
    install(tmp_path, "second", "twice = second:Backend\nfine = second:Fine")
    install(tmp_path, "thief", "pose_mlp_synth = thief:Backend", "raise SystemExit('stolen')")
    install(tmp_path, "broken", "broken = broken:Backend", "import no_such_module")
    script = """
import warnings
from feat_pose_plugin import available_pose_backends, get_pose_backend, register_pose_backend
from feat_pose_plugin.errors import BackendError
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert {"twice", "fine", "broken"} <= set(available_pose_backends())
print(*[each.message for each in caught])
register_pose_backend("mine", dict)
print(get_pose_backend("pose_mlp_synth").provenance.licence)
for use in (
    lambda: get_pose_backend("twice"),
    lambda: register_pose_backend("twice", dict),
    lambda: get_pose_backend("broken"),
):
    try:
        use()
    except BackendError as error:
        print(type(error).__name__, error)
assert "thief" not in sys.modules
"""
    run = run_with(tmp_path, script)
    assert run.returncode == 0, run.stderr
    warning, licence, claimed, taken, broken = run.stdout.splitlines()
    assert "'pose_mlp_synth' of this package is not replaced by 'thief:Backend'" in warning
    assert licence == "MIT"
    said = "DuplicateBackendError pose backend 'twice'"
    assert claimed.startswith(f"{said} is claimed by 'first:Backend' and 'second:Backend'")
    assert taken.startswith(f"{said} cannot become")
    assert broken.startswith("BackendError")
    assert "no_such_module" in broken


def test_a_distribution_that_hangs_holds_up_nobody_else(tmp_path):
    install(tmp_path, "slow", "slow = slow:Backend", "import time\ntime.sleep(60)")
    script = """
import faulthandler, os, threading, time
from feat_pose_plugin import available_pose_backends, get_pose_backend, register_pose_backend
threading.Thread(target=get_pose_backend, args=("slow",), daemon=True).start()
while "slow" not in sys.modules:
    time.sleep(0.01)
faulthandler.dump_traceback_later(20, exit=True)
register_pose_backend("mine", dict)
print(available_pose_backends()[0], get_pose_backend("pose_mlp_synth").provenance.licence)
sys.stdout.flush()
os._exit(0)
"""
    run = run_with(tmp_path, script)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "img2pose MIT\n"
