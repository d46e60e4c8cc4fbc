"""`python tests/benchmarks FOLDER`: measures, prints, and writes docs/performance.md.

FOLDER needs room for 15 GB, which are removed again. About an hour on two cores, with nothing else
running; `--share 0.01` takes a hundredth of the rows, to try it out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import faces
import tables
from measuring import ratio
from startup import startup_rows

PAGE = Path(__file__).parent.parent.parent / "docs" / "performance.md"
PACKAGES = ("py-feat", "torch", "numpy", "pandas", "pyarrow", "opencv-python-headless")

_CONTENDERS = """\
- *py-feat* is its `pose_from_landmarks_mlp`, *the v2 checkpoint* ours of the same name; both
  have the same random weights of the official size.
- *Bundled weights* is the backend `pose_mlp_synth`, tensor to tensor; `estimate_pose` makes a
  table of it, and of one face most of its time is pandas.
- *SQPnP* is OpenCV's `solvePnP`, a call for each face, which uses one thread.""".splitlines()


def main() -> None:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where large tables are made, and removed again")
    parser.add_argument("--share", type=float, default=1.0, help="of the rows of large tables")
    parser.add_argument("--rounds", type=int, default=3, help="with large tables")
    parser.add_argument("-o", "--output", type=Path, default=PAGE)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        page = "\n".join(sections(Path(folder), options.share, options.rounds))
    print(page)
    options.output.write_text(page + "\n", encoding="utf-8")


def sections(folder: Path, share: float, rounds: int) -> list[str]:
    """The lines of the page."""
    lines = [
        "# Performance",
        "",
        "After this page you know how long an estimate takes, in memory and from file to file.",
        "",
        "Measured by `python tests/benchmarks`, on " + machine() + ".",
        "A ratio is that of the medians of times taken in turns in one process; in brackets the",
        "middle half of the ratios from turn to turn.",
        "",
        *_CONTENDERS,
    ]
    for threads in (1, 2):
        lines += ["", *face_lines(threads)]
    lines += [
        "",
        "## Tables",
        "",
        "Whole processes, imports included, one thread. *Alone* is a script that reads and writes",
        "the same table with pyarrow, batch by batch, and estimates nothing.",
        "",
        "| table | rows | alone | `feat-pose estimate` | ratio | memory alone | memory |",
        "|---|---|---|---|---|---|---|",
        *(
            tables.large_table_row(suffix, folder, round(rows * share), rounds)
            for suffix, rows in tables.ROWS.items()
        ),
        "",
        "The same with `pandas.read_csv`, py-feat's function and `to_csv` in place of pyarrow, and",
        "a random checkpoint of the official size for both:",
        "",
        "| table | rows | pandas | `feat-pose estimate` | ratio | memory of pandas | memory |",
        "|---|---|---|---|---|---|---|",
        tables.pandas_row(folder, rounds, faces.write_random_v2(folder / "v2.safetensors")),
        "",
        "## Starting",
        "",
        "Whole processes.",
        "",
        "| what | time | memory |",
        "|---|---|---|",
        *startup_rows(folder),
    ]
    return lines


def machine() -> str:
    """The processor and the versions that matter."""
    lscpu = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout
    model = next(line for line in lscpu.splitlines() if line.startswith("Model name"))
    features = " with AVX-512" if "avx512f" in lscpu else ""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{os.cpu_count()} cores of an {model.partition(':')[2].strip()}{features},\n"
        f"{platform.system()}, Python {platform.python_version()}, {packages}"
    )


def face_lines(threads: int) -> list[str]:
    """A table of the times and one of the ratios."""
    command = [sys.executable, "-W", "ignore", Path(faces.__file__), str(threads)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds = json.loads(result.stdout)
    names = list(next(iter(seconds.values())))
    ours = [name for name in names if name not in (faces.UPSTREAM, faces.SQPNP)]
    lines = [f"## Faces in memory, {threads} thread{'s' * (threads > 1)}", ""]
    lines += ["Microseconds per face:", "", _line(["faces", *names]), _line(["---"] * 6)]
    for count, times in seconds.items():
        per_face = [statistics.median(times[name]) / int(count) * 1e6 for name in names]
        lines.append(_line([f"{int(count):,}", *(f"{each:.3g}" for each in per_face)]))
    for other in (faces.UPSTREAM, faces.SQPNP):
        lines += ["", f"Times faster than {other}:", ""]
        lines += [_line(["faces", *ours]), _line(["---"] * 4)]
        for count, times in seconds.items():
            ratios = [ratio(times[other], times[name], 1) for name in ours]
            lines.append(_line([f"{int(count):,}", *ratios]))
    return lines


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
