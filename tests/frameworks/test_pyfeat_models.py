"""What py-feat's detectors say when a model of theirs cannot be had, and how soon."""

from __future__ import annotations

import time

import feat.utils.io
import pytest
from huggingface_hub import constants

import feat_pose_plugin
from feat_pose_plugin.errors import WeightsNotFoundError
from feat_pose_plugin.frameworks import pyfeat_models

DETECTORS = ("Detector", "Detectorv1", "Detectorv2", "MPDetector")


@pytest.fixture(autouse=True)
def no_models(monkeypatch, tmp_path):
    """py-feat has downloaded nothing."""
    monkeypatch.setattr(feat.utils.io, "get_resource_path", lambda: str(tmp_path))
    monkeypatch.setattr(feat.detector, "get_resource_path", lambda: str(tmp_path))
    monkeypatch.setattr(pyfeat_models, "PATIENCE", 0.5)


@pytest.fixture
def hub_at(monkeypatch):
    """The hub is asked, at an address."""

    def set_address(url: str) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", url)
        path = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + path)

    return set_address


def why_not(name: str, **arguments: object) -> str:
    """The one error that a detector ends in, within seconds."""
    start = time.perf_counter()
    with pytest.raises(WeightsNotFoundError) as caught:
        getattr(feat_pose_plugin, name)(**arguments)
    assert time.perf_counter() - start < 10
    assert caught.value.__cause__ is None  # no traceback of the hub
    assert caught.value.__suppress_context__
    message = str(caught.value)
    assert len(message) < 400
    assert message.startswith(f"{name} needs ")
    return message


@pytest.mark.parametrize("name", DETECTORS)
def test_offline_the_error_names_the_file_and_where_it_belongs(name):
    message = why_not(name)
    assert "needs model.safetensors of py-feat/retinaface_r34" in message
    assert "HF_HUB_OFFLINE is set" in message
    assert "feat/resources/models--py-feat--retinaface_r34 into" in message


@pytest.mark.parametrize("name", DETECTORS)
def test_a_hub_out_of_reach_is_asked_once(name, hub_at):
    hub_at("http://127.0.0.1:9")  # nobody listens there
    assert "http://127.0.0.1:9 does not answer" in why_not(name)
    assert constants.HF_HUB_OFFLINE is False


@pytest.mark.parametrize("fault", ["silent", "fails", None])
def test_a_hub_that_gives_no_answer_or_has_no_such_file(fault, hub_at, local_hub):
    local_hub.fault = fault
    hub_at(local_hub.url)
    message = why_not("Detectorv1", face_model="img2pose", pose_model="pose_mlp_synth")
    assert "needs config.json of py-feat/img2pose" in message
    assert ("does not answer" in message) == (fault is not None)
    assert fault or "404" in message


def test_an_error_of_another_cause_comes_through(monkeypatch):
    def no_room(*args: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(feat.detector, "set_torch_device", no_room)
    with pytest.raises(OSError, match="no room"):
        feat_pose_plugin.Detectorv1()
