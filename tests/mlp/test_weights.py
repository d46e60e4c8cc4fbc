"""Where the official weights are looked for, and the networks made of files."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from feat_pose_plugin import estimate_pose, get_pose_backend
from feat_pose_plugin.errors import WeightsError, WeightsNotFoundError
from feat_pose_plugin.mlp.pose_mlp import BUNDLED
from feat_pose_plugin.mlp.weights import (
    OFFICIAL_NAME,
    PATH_VARIABLE,
    find_official,
    load_checkpoint,
    load_network,
    run,
)
from feat_pose_plugin.pose.landmark_models import LandmarkModel, find_landmark_model
from feat_pose_plugin.testing import project_face

CPU = torch.device("cpu")
KIND_2D = find_landmark_model("2d")


def hub_cache(folder: Path, checkpoint: Path, *, files: tuple[str, ...] = ("safetensors", "json")):
    """Lay a checkpoint down as huggingface_hub lays down what it has downloaded."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = folder / "models--py-feat--pose_mlp_v2"
    snapshot = repository / "snapshots" / commit
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "blobs").mkdir()
    snapshot.mkdir(parents=True)
    for suffix in files:
        content = checkpoint.with_suffix(f".{suffix}").read_bytes()
        blob = repository / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (snapshot / f"{OFFICIAL_NAME}.{suffix}").symlink_to(blob)
    return snapshot / f"{OFFICIAL_NAME}.safetensors"


# The bundled weights


@pytest.mark.parametrize("landmark_kind", ["2d", "3d"])
def test_bundled_weights_are_sound_and_say_whose_they_are(landmark_kind):
    checkpoint = load_checkpoint(BUNDLED / f"pose_mlp_synth_{landmark_kind}.safetensors")
    assert "MIT" in json.dumps(checkpoint.card)
    backend = get_pose_backend("pose_mlp_synth")
    assert backend.provenance.licence == "MIT"
    assert backend.provenance.weights[landmark_kind].sha256 == checkpoint.sha256


# The look-up of the official ones


@pytest.mark.usefixtures("no_official_weights")
def test_failure_lists_all_places_and_the_ways_out(feat_folder, tmp_path, monkeypatch):
    with pytest.raises(WeightsNotFoundError) as caught:
        find_official(tmp_path / "cache")
    message = str(caught.value)
    for place in (
        "FEAT_POSE_MLP_PATH: not set",
        f"{feat_folder.parent / 'models' / 'pose_mlp_v2.safetensors'} does not exist",
        f"hub cache {tmp_path / 'cache'}",
        f"hub cache {feat_folder / 'resources'}",
        "hub repository py-feat/pose_mlp_v2: not asked, HF_HUB_OFFLINE is set",
    ):
        assert place in message
    for way in (
        "1. set FEAT_POSE_MLP_PATH",
        "2. download once where there is a network (feat-pose fetch pose_mlp)",
        "3. use the weights that come with this package: pose_model='pose_mlp_synth'",
    ):
        assert way in message
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "mine.safetensors"))
    with pytest.raises(RuntimeError, match=r"mine\.safetensors does not exist"):
        find_official()


@pytest.mark.usefixtures("no_official_weights")
def test_second_failure_takes_less_than_10_ms():
    took = []
    for _ in range(4):
        start = time.perf_counter()
        with pytest.raises(WeightsNotFoundError, match="pose_mlp_v2"):
            get_pose_backend("pose_mlp")
        took.append(time.perf_counter() - start)
    assert min(took[1:]) < 0.01  # the least, for other processes share the machine


@pytest.mark.usefixtures("fresh_weights")
def test_named_path_is_first_and_may_be_relative(make_checkpoint, tmp_path, monkeypatch):
    path = make_checkpoint("mine.safetensors")
    hub_cache(tmp_path / "cache", make_checkpoint("cached.safetensors", seed=1))
    monkeypatch.setenv(PATH_VARIABLE, str(path))
    assert find_official(tmp_path / "cache") == path
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PATH_VARIABLE, "mine.safetensors")
    assert find_official() == path


@pytest.mark.usefixtures("no_official_weights")
def test_named_path_without_both_files_is_never_passed_over_silently(
    make_checkpoint, tmp_path, monkeypatch
):
    cached = hub_cache(tmp_path / "cache", make_checkpoint("cached.safetensors"))
    alone = make_checkpoint("alone.safetensors")
    alone.with_suffix(".json").unlink()
    for path, missing in ((tmp_path / "no.safetensors", "no.safetensors"), (alone, "alone.json")):
        monkeypatch.setenv(PATH_VARIABLE, str(path))
        expected = f"FEAT_POSE_MLP_PATH: .*{missing} does not exist. Taking .*{cached} instead"
        with pytest.warns(UserWarning, match=expected):
            assert find_official(tmp_path / "cache") == cached


@pytest.mark.usefixtures("no_official_weights")
def test_hub_cache_is_found_offline(make_checkpoint, tmp_path):
    cached = hub_cache(tmp_path / "cache", make_checkpoint())
    assert find_official(tmp_path / "cache") == cached
    assert find_official(str(tmp_path / "cache")) == cached
    backend = get_pose_backend("pose_mlp", cache_dir=tmp_path / "cache")
    assert backend.estimate(project_face(torch.zeros(2, 3)), landmark_model=KIND_2D).shape == (2, 6)


@pytest.mark.usefixtures("no_official_weights")
def test_half_a_hub_cache_is_none(make_checkpoint, tmp_path):
    hub_cache(tmp_path / "cache", make_checkpoint(), files=("safetensors",))
    with pytest.raises(WeightsNotFoundError, match="py-feat/pose_mlp_v2 is not there"):
        find_official(tmp_path / "cache")


@pytest.mark.usefixtures("no_official_weights")
def test_weights_that_appear_later_are_found(make_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "later.safetensors"))
    with pytest.raises(WeightsNotFoundError):
        get_pose_backend("pose_mlp", cache_dir=tmp_path / "cache")
    cached = hub_cache(tmp_path / "cache", make_checkpoint("cached.safetensors"))
    with pytest.warns(UserWarning, match=r"later\.safetensors does not exist"):
        assert find_official(tmp_path / "cache") == cached
    path = make_checkpoint("later.safetensors", seed=1)
    assert find_official(tmp_path / "cache") == path
    assert get_pose_backend("pose_mlp").provenance.weights["2d"].path == path


@pytest.mark.usefixtures("fresh_weights")
def test_what_was_found_is_remembered_for_each_named_path(make_checkpoint, monkeypatch):
    first, second = make_checkpoint("a.safetensors"), make_checkpoint("b.safetensors", seed=1)
    for path in (first, second):
        monkeypatch.setenv(PATH_VARIABLE, str(path))
        assert find_official() == path
    for path in (first, second):
        path.unlink()  # seen by whoever looks
        monkeypatch.setenv(PATH_VARIABLE, str(path))
        assert find_official() == path


@pytest.mark.usefixtures("no_official_weights")
def test_what_was_found_in_one_cache_is_not_taken_for_another(make_checkpoint, tmp_path):
    folders = [tmp_path / name for name in "ab"]
    cached = [hub_cache(each, make_checkpoint(seed=n)) for n, each in enumerate(folders)]
    for _ in range(2):
        assert [find_official(folder) for folder in folders] == cached
    with pytest.raises(WeightsNotFoundError):
        find_official(tmp_path / "c")


@pytest.mark.usefixtures("fresh_weights")
def test_damaged_weights_are_an_error_and_not_passed_over(make_checkpoint, monkeypatch):
    path = make_checkpoint()
    path.write_bytes(path.read_bytes()[:1000])
    monkeypatch.setenv(PATH_VARIABLE, str(path))
    for _ in range(2):
        with pytest.raises(WeightsError, match=rf"{path}.*damaged") as caught:
            get_pose_backend("pose_mlp")
        assert not isinstance(caught.value, WeightsNotFoundError)
    # Repaired, they are read.
    make_checkpoint()
    get_pose_backend("pose_mlp")


def run_python(script: str, **environment: str) -> str:
    """Run a script in a process of its own, so that huggingface_hub reads the environment."""
    inherited = {key: value for key, value in os.environ.items() if key != PATH_VARIABLE}
    run = subprocess.run(
        [sys.executable, "-c", script],
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.usefixtures("no_official_weights")
def test_hub_that_fails_is_asked_once_even_by_many_threads(local_hub, tmp_path):
    script = """
import threading
from feat_pose_plugin.errors import WeightsNotFoundError
from feat_pose_plugin.mlp.weights import find_official

def fail():
    try:
        find_official()
    except WeightsNotFoundError as error:
        failures.append(str(error).partition("hub repository")[2].splitlines()[0])

failures = []
threads = [threading.Thread(target=fail) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
fail()
print(*failures, sep="\\n")
"""
    printed = run_python(
        script, HF_ENDPOINT=local_hub.url, HF_HUB_OFFLINE="0", HF_HOME=str(tmp_path)
    )
    assert len(printed.splitlines()) == 9
    assert len(set(printed.splitlines())) == 1
    assert "404" in printed
    assert local_hub.asked == ["GET about files"]


@pytest.mark.usefixtures("no_official_weights")
def test_hub_that_answers_is_downloaded_from_once(local_hub, tmp_path, make_checkpoint):
    checkpoint = make_checkpoint()
    for suffix in (".safetensors", ".json"):
        local_hub.files[OFFICIAL_NAME + suffix] = checkpoint.with_suffix(suffix).read_bytes()
    found = run_python(
        "from feat_pose_plugin.mlp.weights import find_official as find; print(find(), find())",
        HF_ENDPOINT=local_hub.url,
        HF_HUB_OFFLINE="0",
        HF_HOME=str(tmp_path / "home"),
    ).split()
    assert load_checkpoint(Path(found[0])).sha256 == load_checkpoint(checkpoint).sha256
    assert found[1] == found[0]
    downloads = [asked for asked in local_hub.asked if asked.startswith(f"GET {OFFICIAL_NAME}")]
    assert sorted(downloads) == ["GET pose_mlp_v2.json", "GET pose_mlp_v2.safetensors"]


# Networks, once per file and device


@pytest.mark.usefixtures("fresh_weights")
def test_one_network_per_file_and_device_under_threads(make_checkpoint):
    path, other = make_checkpoint("a.safetensors"), make_checkpoint("b.safetensors", seed=1)
    start = threading.Barrier(16)
    networks, answers = [], []
    faces = project_face(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)))

    def load():
        start.wait()
        network = load_network(path, CPU)
        networks.append(network)
        answers.append(network(faces))

    threads = [threading.Thread(target=load) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(networks) == 16
    assert len({id(network) for network in networks}) == 1
    torch.testing.assert_close(answers, [answers[0]] * 16, atol=1e-5, rtol=0, equal_nan=True)
    assert load_network(path, CPU) is networks[0]
    assert load_network(other, CPU) is not networks[0]
    assert load_checkpoint(path) is load_checkpoint(path)


@pytest.mark.usefixtures("fresh_weights")
@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_same_answer_on_every_device(device, make_checkpoint):
    if not getattr(torch, device).is_available():
        pytest.skip(f"{device} is not available")
    path = make_checkpoint()
    faces = project_face(torch.randn(50, 3))
    there = faces.to(device)
    answer = load_network(path, there.device)(there)
    assert answer.device == there.device
    torch.testing.assert_close(answer.cpu(), load_network(path, CPU)(faces), atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("fresh_weights")
def test_network_keeps_no_gradient_and_is_in_eval_mode(make_checkpoint):
    network = load_network(make_checkpoint(), CPU)
    faces = project_face(torch.zeros(3, 3)).requires_grad_()
    pose = run(network, faces)
    assert not pose.requires_grad
    assert torch.allclose(pose, run(network, faces), rtol=0, atol=1e-5)  # no dropout


def test_the_zero_and_the_gain_of_a_profile_are_undone():
    """Nods and turns as large as the gain says, from the zero on; tilts as they are."""
    faces = project_face(0.3 * torch.randn(40, 3, generator=torch.Generator().manual_seed(2)))
    read, from_zero, in_full = (
        estimate_pose(faces, landmark_model=profile, convention="img2pose").to_numpy()[:, :3]
        for profile in (
            LandmarkModel("mine", "2d"),
            LandmarkModel("mine", "2d", pitch_zero_deg=2.0),
            LandmarkModel("mine", "2d", pitch_zero_deg=2.0, gain=(0.8, 1.1)),
        )
    )
    np.testing.assert_allclose(from_zero, read - np.deg2rad([2.0, 0, 0]), rtol=0, atol=1e-5)
    np.testing.assert_allclose(in_full, from_zero / [0.8, 1.1, 1.0], rtol=0, atol=1e-5)
