"""``install()`` and ``uninstall()``: the classes that `from feat import ...` gives."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import feat
import feat.detector
import feat.detector_v2
import feat.MPDetector
import pytest
from feat_models import WARNINGS_OF_FEAT

from feat_pose_plugin import Detectorv1, Detectorv2, MPDetector, install, uninstall

pytestmark = WARNINGS_OF_FEAT

OURS = {
    (feat, "Detectorv1"): Detectorv1,
    (feat, "Detectorv2"): Detectorv2,
    (feat.detector, "Detectorv1"): Detectorv1,
    (feat.detector_v2, "Detectorv2"): Detectorv2,
    (feat.MPDetector, "MPDetector"): MPDetector,
}


@pytest.fixture(autouse=True)
def uninstalled_afterwards():
    yield
    uninstall()


def attributes_of_feat() -> dict[tuple[str, str], object]:
    """Every attribute of every module of feat, and of the classes that are replaced."""
    found: dict[tuple[str, str], object] = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "feat":
            found |= {(name, attribute): value for attribute, value in vars(module).items()}
    for ours in (Detectorv1, Detectorv2, MPDetector):
        for cls in ours.__mro__:
            if cls.__module__.startswith("feat."):
                found |= {(cls.__name__, key): value for key, value in vars(cls).items()}
    return found


def assert_identical(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    assert [key for key in expected if found[key] is not expected[key]] == []


def test_uninstall_leaves_identical_objects():
    before, capabilities = attributes_of_feat(), feat.detector_capabilities()
    uninstall()  # of nothing
    assert_identical(attributes_of_feat(), before)
    install()
    install()
    for (module, name), ours in OURS.items():
        assert getattr(module, name) is ours
    changed = [key for key, value in attributes_of_feat().items() if value is not before[key]]
    assert len(changed) == len(OURS)
    for name, models in feat.detector_capabilities().items():
        assert "pose_mlp_synth" in models["facepose_model"]["options"], name
        assert models["facepose_model"]["default"] is None
    for _ in range(2):
        uninstall()
        assert_identical(attributes_of_feat(), before)
    assert feat.detector_capabilities() == capabilities
    assert "pose_mlp_synth" not in capabilities["Detectorv1"]["facepose_model"]["options"]


@pytest.mark.filterwarnings("ignore:face_model='retinaface'")
def test_a_script_that_imports_from_feat(hub):
    script = """
from feat import Detectorv1, Detectorv2
from feat.detector import Detectorv1 as same
from feat.MPDetector import MPDetector
assert same is Detectorv1
none = dict(au_model=None, emotion_model=None, identity_model=None, gaze_model=None)
detectors = [
    Detectorv1(**none, pose_model="pose_mlp_synth"),
    Detectorv2(identity_model=None, pose_model="pose_mlp_synth"),
    MPDetector(**none, pose_model="pose_mlp_synth"),
]
"""
    install()
    names: dict = {}
    exec(script, names)
    for detector, ours in zip(
        names["detectors"], (Detectorv1, Detectorv2, MPDetector), strict=True
    ):
        assert type(detector) is ours
        assert detector.info["facepose_model"].startswith("pose_mlp_synth")
    uninstall()
    exec("from feat import Detectorv1", names)
    with pytest.raises(TypeError, match="pose_model"):
        names["Detectorv1"](**names["none"], pose_model="pose_mlp_synth")
    assert isinstance(names["detectors"][0], names["Detectorv1"])


def test_threads_see_one_class_or_the_other():
    before = attributes_of_feat()
    known = {Detectorv1, feat.Detectorv1}
    strange = []
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        barrier.wait()
        for _ in range(20):
            (install if number % 2 else uninstall)()
            if not {feat.Detectorv1, feat.detector.Detectorv1} <= known:
                strange.append(feat.Detectorv1)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert strange == []
    install()
    assert feat.Detectorv1 is Detectorv1
    uninstall()
    assert_identical(attributes_of_feat(), before)


@pytest.mark.slow
def test_importing_the_package_changes_nothing_in_feat():
    code = """
import sys, feat
before = {
    (name, key): value
    for name, module in list(sys.modules.items()) if name.split(".")[0] == "feat"
    for key, value in list(vars(module).items())
}
import feat_pose_plugin
from feat_pose_plugin import Detectorv1
assert all(vars(sys.modules[name])[key] is value for (name, key), value in before.items())
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
