"""The coverage-guided fuzzer: ``python tests/fuzz/run.py TARGET --runs N``.

It needs the extra ``fuzz``. An input on which a target fails is written to the folder of
``--findings``; give that file as ``--input`` to see the failure again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent.parent))
with atheris.instrument_imports(include=["feat_pose_plugin"]):
    from fuzz.common import scratch
    from fuzz.targets import SEEDS, TARGETS

# Bytes of an input, seconds for one, megabytes.
SETTINGS = ["-runs=-1", "-seed=1", "-max_len=4096", "-timeout=20", "-rss_limit_mb=4096"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--runs", type=int, default=10_000, help="how many inputs")
    parser.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--input", type=Path, help="one input, and no others")
    given = parser.parse_args()
    target = TARGETS[given.target]
    warnings.simplefilter("error")
    if given.input is not None:
        target(given.input.read_bytes())
        return
    corpus = Path(tempfile.mkdtemp())
    for number, seed in enumerate(SEEDS[given.target]):
        (corpus / str(number)).write_bytes(seed)
    finding = given.findings / f"{given.target}-{os.getpid()}"
    count = 0

    def counted(data: bytes) -> None:
        nonlocal count
        try:
            target(data)
        except BaseException:  # libFuzzer keeps only those that took too long
            finding.write_bytes(data)
            print(f"{given.target}: a finding after {count} inputs, {finding}", flush=True)
            raise
        count += 1
        if count == given.runs:
            print(f"{given.target}: {count} inputs, no finding", flush=True)
            shutil.rmtree(corpus)
            shutil.rmtree(scratch())
            os._exit(0)  # libFuzzer's own end waits for threads of Arrow, and they for Python

    slow = f"-artifact_prefix={given.findings}/{given.target}-"
    atheris.Setup([sys.argv[0], *SETTINGS, slow, str(corpus)], counted)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
