"""py-feat's official weights off the hub, in the hub's own cache."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from feat_pose_plugin.errors import WeightsNotFoundError
from feat_pose_plugin.mlp import download
from feat_pose_plugin.mlp.checkpoint import read_checkpoint

OFFICIAL_NAME = "pose_mlp_v2"
OFFICIAL_REPOSITORY = "py-feat/pose_mlp_v2"
DEFAULT_REVISION = "main"

_FILES = (f"{OFFICIAL_NAME}.safetensors", f"{OFFICIAL_NAME}.json")
_PATIENCE = 60.0  # seconds, for 0.9 megabytes


@dataclass(frozen=True)
class Fetched:
    """Weights that lie in the hub's cache.

    Attributes:
        path: The safetensors file, its JSON beside it.
        commit: Of the repository, 40 hexadecimal digits.
        sha256: Of the safetensors file, hexadecimal.
    """

    path: Path
    commit: str
    sha256: str


def is_offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` forbids any connection."""
    from huggingface_hub.constants import HF_HUB_OFFLINE

    return bool(HF_HUB_OFFLINE)


def fetch_official(
    revision: str = DEFAULT_REVISION, *, cache_dir: str | Path | None = None
) -> Fetched:
    """Download py-feat's official weights into the hub's cache and verify them.

    What has another hash than the hub names is removed again. Offline, nothing is downloaded: what
    the cache has of this revision is verified. After a minute the download is given up.

    Args:
        revision: Branch, tag or commit of ``py-feat/pose_mlp_v2``. Only ``main`` is what
            ``pose_mlp`` finds by itself.
        cache_dir: Folder for downloads, as ``huggingface_hub`` has it; its default if None.

    Raises:
        WeightsNotFoundError: The hub cannot be reached, does not have this revision, takes too
            long, or sends something else than it names; or, offline, the cache does not have it.
        WeightsError: What was fetched is no checkpoint.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    cache = Path(cache_dir or HF_HUB_CACHE)
    if is_offline():
        path = cached_official(cache, revision)
        if path is None:
            raise WeightsNotFoundError(
                f"{OFFICIAL_REPOSITORY} at revision {revision!r} is not in {cache}, and the hub is "
                "not asked: offline. Fetch it once where there is a network, and take the cache "
                "along."
            )
    else:
        path = _download(revision, cache) / _FILES[0]
    return Fetched(path, path.parent.name, read_checkpoint(path).sha256)


def cached_official(cache: Path, revision: str = DEFAULT_REVISION) -> Path | None:
    """The safetensors file of a revision in a cache of the hub; None without it or its JSON."""
    from huggingface_hub import try_to_load_from_cache

    paths = [try_to_load_from_cache(OFFICIAL_REPOSITORY, name, cache, revision) for name in _FILES]
    return Path(str(paths[0])) if all(isinstance(path, str) for path in paths) else None


def _download(revision: str, cache: Path) -> Path:
    """The folder of the files, by a process that can be stopped: the client retries for ever."""
    asked = f"{OFFICIAL_REPOSITORY} at revision {revision!r}"
    command = [sys.executable, "-P", download.__file__, OFFICIAL_REPOSITORY, revision, str(cache)]
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
