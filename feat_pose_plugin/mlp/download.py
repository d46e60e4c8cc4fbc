"""Files of a hub repository, downloaded by a process of its own, which can be stopped at any time.

Run as a script, with the repository, the revision, a folder and names of files. It prints where
they are and what the hub says of them, as JSON.
"""

from __future__ import annotations

import json
import sys

_LARGEST = 64 << 20  # bytes; the published weights are 0.9 million


def main(repository: str, revision: str, folder: str, *names: str) -> None:
    """Download files of one commit.

    Args:
        repository: On the hub.
        revision: Branch, tag or commit.
        folder: An empty cache, where the files go.
        *names: Of the files.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    try:
        etags = []
        commit = revision
        for name in names:  # asked once each, without the retries of hf_hub_download
            found = get_hf_file_metadata(hf_hub_url(repository, name, revision=commit))
            if found.commit_hash is None or found.size is None:
                sys.exit("no answer of a hub: it names no commit and no size")
            if found.size > _LARGEST:
                sys.exit(f"{name} has {found.size} bytes, which is more than {_LARGEST}")
            commit = found.commit_hash
            etags.append(found.etag)
        paths = [
            hf_hub_download(repository, name, revision=commit, cache_dir=folder) for name in names
        ]
        sys.stdout.write(json.dumps({"commit": commit, "paths": paths, "etags": etags}))
    except Exception as error:  # what the client raises differs by version
        cause = error.__cause__ or error  # the client hides the cause behind advice
        sys.exit(f"{type(cause).__name__}: {cause}")


if __name__ == "__main__":
    main(*sys.argv[1:])
