"""Files of a hub repository, downloaded by a process of its own, which can be stopped at any time.

Run as a script, with the repository, the revision, the hub's cache and names of files. It prints
the folder where they are.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

_LARGEST = 64 << 20  # bytes; the published weights are 0.9 million


def main(repository: str, revision: str, cache: str, *names: str) -> None:
    """Download files of one commit and verify them; only then does a branch point at the commit."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.constants import HF_HUB_ETAG_TIMEOUT

    try:
        info = HfApi().model_info(
            repository, revision=revision, files_metadata=True, timeout=HF_HUB_ETAG_TIMEOUT
        )
        files = {file.rfilename: file for file in info.siblings or []}
        for name in names:
            if name not in files:
                sys.exit(f"the hub has no {name} at this revision")
            size = files[name].size
            if size is None or size > _LARGEST:
                sys.exit(f"{name} has {size} bytes; expected at most {_LARGEST}")
        folder = snapshot_download(
            repository,
            revision=info.sha,
            cache_dir=cache,
            allow_patterns=list(names),
            force_download=True,  # what lies there may be damaged
        )
        for name in names:
            path, named = Path(folder, name), files[name]
            content = path.read_bytes()
            blob = b"blob %d\0%s" % (len(content), content)  # Git's hash, of files without LFS
            found = hashlib.sha1(blob, usedforsecurity=False).hexdigest()
            expected = named.blob_id
            if named.lfs is not None:
                found, expected = hashlib.sha256(content).hexdigest(), named.lfs.sha256
            if found != expected:
                path.resolve().unlink()
                path.unlink(missing_ok=True)
                sys.exit(f"{name} came with hash {found}, but the hub names {expected}")
        snapshot_download(repository, revision=revision, cache_dir=cache, allow_patterns=[])
        sys.stdout.write(folder)
    except Exception as error:  # what the client raises differs by version
        cause = error.__cause__ or error  # the client hides the cause behind advice
        sys.exit(" ".join(f"{type(cause).__name__}: {cause}".split()))


if __name__ == "__main__":
    main(*sys.argv[1:])
