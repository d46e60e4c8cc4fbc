"""py-feat's official weights off the hub: verified first, then put into the hub's cache."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from feat_pose_plugin.errors import WeightsError, WeightsNotFoundError
from feat_pose_plugin.files import write_whole
from feat_pose_plugin.mlp import download
from feat_pose_plugin.mlp.checkpoint import read_checkpoint

OFFICIAL_NAME = "pose_mlp_v2"
OFFICIAL_REPOSITORY = "py-feat/pose_mlp_v2"
OFFICIAL_FILES = (f"{OFFICIAL_NAME}.safetensors", f"{OFFICIAL_NAME}.json")
DEFAULT_REVISION = "main"
PATIENCE = 60.0  # seconds, for 0.9 megabytes


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
    revision: str = DEFAULT_REVISION,
    *,
    cache_dir: str | Path | None = None,
    timeout: float = PATIENCE,
) -> Fetched:
    """Download py-feat's official weights and put them where they are looked for.

    They are put in place when their bytes have the hashes that the hub names and they parse as a
    checkpoint; until then, the cache stays as it is. Offline, nothing is downloaded: what the cache
    has of this revision is verified.

    Args:
        revision: Branch, tag or commit of ``py-feat/pose_mlp_v2``. Only ``main`` is what
            ``pose_mlp`` finds by itself.
        cache_dir: Folder for downloads, as ``huggingface_hub`` has it; its default if None.
        timeout: Seconds after which to give up, all retries included.

    Raises:
        WeightsNotFoundError: The hub cannot be reached, does not have this revision or takes too
            long; or, offline, the cache does not have it.
        WeightsError: What came is not what the hub names, or no checkpoint; or the cache cannot be
            written.
    """
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    cache = Path(cache_dir or HF_HUB_CACHE)
    if is_offline():
        return _from_cache(revision, cache)
    with TemporaryDirectory(prefix="feat-pose-", ignore_cleanup_errors=True) as temporary:
        commit, paths = _download(revision, temporary, timeout)
        sha256 = read_checkpoint(paths[0]).sha256
        repository = cache / repo_folder_name(repo_id=OFFICIAL_REPOSITORY, repo_type="model")
        snapshot = repository / "snapshots" / commit
        try:
            snapshot.mkdir(parents=True, exist_ok=True)
            for path in paths:
                with write_whole(snapshot / path.name) as part:
                    shutil.copyfile(path, part)
            if revision == DEFAULT_REVISION:  # last, because it is by this that they are found
                reference = repository / "refs" / revision
                reference.parent.mkdir(exist_ok=True)
                with write_whole(reference) as part:
                    part.write_text(commit, encoding="utf-8")
        except OSError as error:
            raise WeightsError(
                f"{snapshot} could not be written: {error.strerror}. Make room, or set HF_HOME to "
                "a folder that can be written."
            ) from error
    return Fetched(snapshot / OFFICIAL_FILES[0], commit, sha256)


def cached_official(cache: Path, revision: str = DEFAULT_REVISION) -> Path | None:
    """The safetensors file of a revision in a cache of the hub, its JSON beside it, if it is."""
    from huggingface_hub import try_to_load_from_cache

    paths = [
        try_to_load_from_cache(OFFICIAL_REPOSITORY, name, cache, revision)
        for name in OFFICIAL_FILES
    ]
    return Path(str(paths[0])) if all(isinstance(path, str) for path in paths) else None


def _from_cache(revision: str, cache: Path) -> Fetched:
    path = cached_official(cache, revision)
    if path is None:
        raise WeightsNotFoundError(
            f"{OFFICIAL_REPOSITORY} at revision {revision!r} is not in {cache}, and the hub is not "
            "asked: offline. Fetch it once where there is a network, and take the cache along."
        )
    return Fetched(path, path.parent.name, read_checkpoint(path).sha256)


def _download(revision: str, folder: str, timeout: float) -> tuple[str, list[Path]]:
    """The commit, and its files, which have the hashes that the hub names."""
    command = [sys.executable, "-P", download.__file__, OFFICIAL_REPOSITORY, revision, folder]
    asked = f"{OFFICIAL_REPOSITORY} at revision {revision!r}"
    try:
        process = subprocess.run(
            [*command, *OFFICIAL_FILES],
            env=os.environ | {"PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsNotFoundError(
            f"{asked} did not arrive within {timeout:g} seconds. Try again with more time, or "
            "without a network: HF_HUB_OFFLINE=1."
        ) from error
    if process.returncode != 0:
        lines = process.stderr.strip().splitlines() or ["no reason given"]
        raise WeightsNotFoundError(f"{asked} cannot be had: {lines[-1]}")
    said = json.loads(process.stdout)
    if not re.fullmatch("[0-9a-f]{40}", said["commit"]):
        raise WeightsError(f"{asked}: the hub names {said['commit']!r:.100}, which is no commit.")
    paths = [Path(path) for path in said["paths"]]
    for path, etag in zip(paths, said["etags"], strict=True):
        content = path.read_bytes()
        if etag not in _hashes(content):
            raise WeightsError(
                f"{asked}: what came as {path.name} ({len(content)} bytes, SHA-256 "
                f"{hashlib.sha256(content).hexdigest()[:12]}) has another hash than the hub names "
                f"({etag!r:.100}). Fetch it again; if that does not help, something on the way "
                "changes it."
            )
    return said["commit"], paths


def _hashes(content: bytes) -> tuple[str, str]:
    """What the hub may name a file by: SHA-256 of a large one, Git's hash of a small one."""
    blob = b"blob %d\0%s" % (len(content), content)
    return hashlib.sha256(content).hexdigest(), hashlib.sha1(
        blob, usedforsecurity=False
    ).hexdigest()
