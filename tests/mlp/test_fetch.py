"""Official weights off a hub: the real client, a server of this machine, and what can go wrong."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
from command import feat_pose as feat_pose_here
from command import refused
from local_hub import COMMIT, HTML, LocalHub

from feat_pose_plugin.cli.demo import find_demo_tables
from feat_pose_plugin.errors import WeightsError
from feat_pose_plugin.mlp import weights as mlp_weights
from feat_pose_plugin.mlp.weights import (
    OFFICIAL_NAME,
    PATH_VARIABLE,
    cached_official,
    fetch_official,
)

COMMAND = Path(sys.executable).with_name("feat-pose")
WEIGHTS, CARD = f"{OFFICIAL_NAME}.safetensors", f"{OFFICIAL_NAME}.json"

Finished = subprocess.CompletedProcess[str]
Command = Callable[..., Finished]


@pytest.fixture
def weights(local_hub: LocalHub, make_checkpoint: Callable[..., Path]) -> Path:
    """A checkpoint that the hub has."""
    path = make_checkpoint()
    local_hub.files = {
        WEIGHTS: path.read_bytes(),
        CARD: path.with_suffix(".json").read_bytes(),
    }
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the hub's cache goes."""
    return tmp_path / "home"


@pytest.fixture
def feat_pose(local_hub: LocalHub, home: Path) -> Command:
    """The command in a process of its own, with the hub of this machine."""

    def run(*arguments: object, **environment: str) -> Finished:
        inherited = {key: value for key, value in os.environ.items() if key != PATH_VARIABLE}
        settings = {"HF_ENDPOINT": local_hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(home)}
        return subprocess.run(
            [COMMAND, *map(str, arguments)],
            env=inherited | settings | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def failed(result: Finished, *parts: str) -> None:
    assert result.returncode == 1, result.stderr
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


def test_what_is_fetched_is_found_by_its_name(
    weights: Path, feat_pose: Command, home: Path, local_hub: LocalHub
) -> None:
    fetched = feat_pose("fetch", "pose_mlp")
    assert fetched.returncode == 0, fetched.stderr
    path, digest, commit = fetched.stdout.splitlines()
    assert Path(path).read_bytes() == weights.read_bytes()
    assert digest == f"SHA-256 {sha256(weights.read_bytes()).hexdigest()}"
    assert commit == f"revision {COMMIT}"
    local_hub.asked.clear()
    again = feat_pose("fetch", "pose_mlp", "--offline")
    assert (again.returncode, again.stdout) == (0, fetched.stdout)
    assert path in feat_pose("models").stdout
    assert local_hub.asked == []


@pytest.fixture
def online(local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This process may connect, to the hub of this machine."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "1")
    monkeypatch.setenv("HF_ENDPOINT", local_hub.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("changed", r"safetensors came with hash .*, but the hub names "),
        ("truncated", "is not available: .*without sending complete"),
        pytest.param("silent", "is not available: .*timed out", marks=pytest.mark.slow),
        pytest.param("hangs", "did not arrive within 3 seconds", marks=pytest.mark.slow),
        ("trickles", "did not arrive within 3 seconds"),
        ("html", "cannot be read as safetensors"),
        ("nothing", "is not available: .*404"),
        ("half", "has no pose_mlp_v2.json"),
        ("too large", "expected at most"),
    ],
)
def test_what_is_not_right_is_refused_in_time_and_an_earlier_commit_stays(
    fault: str,
    says: str,
    weights: Path,
    tmp_path: Path,
    local_hub: LocalHub,
    make_checkpoint: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = fetch_official(cache_dir=tmp_path / "cache")
    local_hub.commit, local_hub.fault = "f" * 40, fault
    match fault:
        case "changed":  # the cache has a content once, whatever commits have it
            other = make_checkpoint("other.safetensors", seed=1)
            local_hub.files[WEIGHTS] = other.read_bytes()
        case "html":
            local_hub.files = dict.fromkeys(local_hub.files, HTML)
            local_hub.files[CARD] = weights.with_suffix(".json").read_bytes()
        case "nothing":
            local_hub.files = {}
        case "half":
            del local_hub.files[CARD]
        case "too large":
            local_hub.files[WEIGHTS] = bytes((64 << 20) + 1)
    limit = 3 if "3 seconds" in says else 30
    monkeypatch.setattr(mlp_weights, "_PATIENCE", limit)
    begun = time.monotonic()
    with pytest.raises(WeightsError, match=says) as caught:
        fetch_official(cache_dir=tmp_path / "cache")
    assert time.monotonic() - begun < min(limit, 10) + 5  # on a machine that is busy
    assert "\n" not in str(caught.value)
    assert before.path.read_bytes() == weights.read_bytes()
    if fault != "html":  # of which the hub says that it is what it has
        assert cached_official(tmp_path / "cache") == before.path


@pytest.mark.usefixtures("online")
def test_what_came_wrong_is_not_kept(weights: Path, tmp_path: Path, local_hub: LocalHub) -> None:
    local_hub.fault = "changed"
    with pytest.raises(WeightsError, match="but the hub names"):
        fetch_official(cache_dir=tmp_path)
    assert cached_official(tmp_path) is None
    local_hub.fault = None
    assert fetch_official(cache_dir=tmp_path).path.read_bytes() == weights.read_bytes()


@pytest.mark.usefixtures("online")
def test_a_damaged_cache_is_said_offline_and_mended_by_fetching(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch_official(cache_dir=tmp_path).path
    path.write_bytes(path.read_bytes()[:1000])
    with monkeypatch.context() as offline:
        offline.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(WeightsError, match="cannot be read as safetensors"):
            fetch_official(cache_dir=tmp_path)
    assert fetch_official(cache_dir=tmp_path).path == path
    assert path.read_bytes() == weights.read_bytes()


@pytest.mark.usefixtures("online")
def test_a_given_revision_is_kept_apart(weights: Path, tmp_path: Path, local_hub: LocalHub) -> None:
    first = fetch_official(cache_dir=tmp_path)
    local_hub.commit = "f" * 40
    for revision in ("v2.0", "f" * 40):
        other = fetch_official(revision, cache_dir=tmp_path)
        assert other.path.parent.name == "f" * 40
    assert cached_official(tmp_path) == first.path
    assert fetch_official(cache_dir=tmp_path).path.parent.name == "f" * 40
    assert cached_official(tmp_path) == other.path


@pytest.mark.usefixtures("online", "weights")
def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"is not available: .*file"):
        fetch_official(cache_dir=tmp_path / "file")


@pytest.mark.slow
def test_a_hub_that_does_not_answer_does_not_hold_up_a_table(
    weights: Path, feat_pose: Command, tmp_path: Path, local_hub: LocalHub
) -> None:
    """Nobody listens, then one who says nothing: seconds, once, and no retries."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    local_hub.fault = "silent"
    for endpoint in (nobody, local_hub.url):
        begun = time.monotonic()
        result = feat_pose(
            "estimate", find_demo_tables()[0], "-o", tmp_path / "pose.csv", "--model", "pose_mlp",
            HF_ENDPOINT=endpoint, HF_HUB_ETAG_TIMEOUT="1",
        )  # fmt: skip
        assert time.monotonic() - begun < 25
        failed(result, "official pose weights were not found", "pose_mlp_synth")
    assert not (tmp_path / "pose.csv").exists()


def test_only_official_weights_can_be_fetched(local_hub: LocalHub) -> None:
    refused(feat_pose_here("fetch", "pose_mlp_synth"), 2, "'pose_mlp_synth' has nothing to fetch")
    assert local_hub.asked == []


# No connection at all


@pytest.fixture
def refuse_connections(tmp_path: Path) -> dict[str, str]:
    """Every Python that is started ends when it looks up a name or connects, and says so."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("""
import os, sys

def refuse(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto") or (
        event == "socket.connect" and isinstance(arguments[1], tuple)
    ):
        os.write(2, f"CONNECTION {event} {arguments}\\n".encode())
        os._exit(99)

sys.addaudithook(refuse)
""")
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    return {"PYTHONPATH": path}


def test_offline_no_command_connects(
    feat_pose: Command, tmp_path: Path, home: Path, refuse_connections: dict[str, str]
) -> None:
    tables, out = tmp_path / "in", tmp_path / "out"
    for folder in (tables, out):
        folder.mkdir()
    for name in ("a.csv", "b.csv"):
        pd.read_csv(find_demo_tables()[0]).to_csv(tables / name, index=False)
    estimate = ["estimate", tables, "-o", out]

    seen = feat_pose("fetch", "pose_mlp", **refuse_connections)
    failed(seen, "CONNECTION socket.")  # what the rest relies on
    fetched = feat_pose("fetch", "pose_mlp", "--offline", **refuse_connections)
    failed(fetched, f"is not in {home / 'hub'}", "offline")
    official = feat_pose(*estimate, "--model", "pose_mlp", "--offline", **refuse_connections)
    failed(official, "not asked, HF_HUB_OFFLINE is set")
    # The bundled weights ask for nothing, whatever is set.
    estimated = feat_pose(*estimate, "--jobs", "2", **refuse_connections)
    assert (estimated.returncode, estimated.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is missing")
def test_without_any_network_the_bundled_weights_work(tmp_path: Path) -> None:
    """Not even the loopback device: what native code might connect to is refused as well."""
    alone = ["unshare", "--net", "--map-root-user"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not allow a network namespace")
    table = find_demo_tables()[0]
    target = tmp_path / "pose.csv"
    command = [*alone, COMMAND, "estimate", table, "-o", target]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    assert len(pd.read_csv(target)) == len(pd.read_csv(table))


@pytest.mark.slow
def test_a_detector_is_made_without_a_connection(
    hub_folder: Path, refuse_connections: dict[str, str], tmp_path: Path
) -> None:
    """py-feat's models lie here, the pose model is the bundled one."""
    code = f"""
import warnings
warnings.simplefilter("ignore")
from pathlib import Path
from feat_models import feat_hub
from feat_pose_plugin import Detectorv1
with feat_hub(Path({str(hub_folder)!r})):
    none = dict(au_model=None, emotion_model=None, identity_model=None, gaze_model=None)
    detector = Detectorv1(**none, pose_model="pose_mlp_synth")
print(detector.info["facepose_model"])
"""
    tests = str(Path(__file__).parents[1])
    path = os.pathsep.join([refuse_connections["PYTHONPATH"], tests])
    made = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("pose_mlp_synth")
