"""``install()`` and ``uninstall()``: the classes that `from feat import ...` gives."""

from __future__ import annotations

import subprocess
import sys
import threading

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
    before = attributes_of_feat()
    install()
    install()
    for (module, name), ours in OURS.items():
        assert getattr(module, name) is ours
    changed = [key for key, value in attributes_of_feat().items() if value is not before[key]]
    assert len(changed) == len(OURS)
    uninstall()
    assert_identical(attributes_of_feat(), before)
    uninstall()
    assert_identical(attributes_of_feat(), before)


def test_uninstall_alone_changes_nothing():
    before = attributes_of_feat()
    uninstall()
    assert_identical(attributes_of_feat(), before)


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


def test_capabilities_list_the_pose_models_while_installed():
    before = feat.detector_capabilities()
    install()
    for name, models in feat.detector_capabilities().items():
        assert "pose_mlp_synth" in models["facepose_model"]["options"], name
        assert models["facepose_model"]["default"] is None
    uninstall()
    assert feat.detector_capabilities() == before
    assert "pose_mlp_synth" not in before["Detectorv1"]["facepose_model"]["options"]


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

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert strange == []
    install()
    assert feat.Detectorv1 is Detectorv1
    uninstall()
    assert_identical(attributes_of_feat(), before)


@pytest.mark.slow
def test_a_fresh_process_in_which_feat_comes_first():
    """Nothing happens at import, and what feat had before is there again."""
    code = """
import sys
import feat
before = {
    (name, key): value
    for name, module in list(sys.modules.items()) if name.split(".")[0] == "feat"
    for key, value in list(vars(module).items())
}
def same():
    return all(vars(sys.modules[name])[key] is value for (name, key), value in before.items())
import feat_pose_plugin
from feat_pose_plugin import Detectorv1
assert same()
feat_pose_plugin.install()
assert not same()
assert feat.Detectorv1 is Detectorv1
feat_pose_plugin.uninstall()
assert same()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
