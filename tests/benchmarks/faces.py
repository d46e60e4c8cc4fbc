"""Faces in memory: `python tests/benchmarks/faces.py THREADS` prints the times as JSON."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

BATCHES = (1, 8, 32, 4096, 65_536)
ROUNDS = 15
PATH_VARIABLE = "FEAT_POSE_MLP_PATH"  # py-feat's and ours
_SOLVED = 256  # of a larger batch SQPnP solves so many; its time per face does not change

UPSTREAM = "py-feat"
V2 = "the v2 checkpoint"
BUNDLED = "bundled weights"
TABLE = "bundled, `estimate_pose`"
SQPNP = "SQPnP"


def main(threads: int) -> None:
    # Read when the libraries are imported; py-feat would set 1.
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
    os.environ["HF_HUB_OFFLINE"] = "1"
    sys.path.insert(0, str(Path(__file__).parents[1] / "pages"))
    with tempfile.TemporaryDirectory() as folder:
        os.environ[PATH_VARIABLE] = str(write_random_v2(Path(folder) / "v2.safetensors"))
        print(json.dumps(measure(threads)))


def write_random_v2(path: Path) -> Path:
    """A checkpoint of the official size; how long it takes does not depend on the numbers."""
    import torch

    from feat_pose_plugin.mlp.checkpoint import write_checkpoint
    from feat_pose_plugin.mlp.model import PoseMLP

    model = PoseMLP((512, 256, 128), 0.15, True)
    write_checkpoint(path, model, torch.zeros(6), torch.ones(6), {"description": "random"})
    return path


def measure(threads: int) -> dict[str, dict[str, list[float]]]:
    """Seconds per call of each contender, by the number of faces."""
    import cv2
    import torch
    from feat.utils.face_pose_mlp import pose_from_landmarks_mlp as upstream
    from measuring import seconds_in_turns
    from sqpnp import ict_sqpnp

    from feat_pose_plugin import estimate_pose, get_pose_backend, pose_from_landmarks_mlp
    from feat_pose_plugin.pose.landmark_models import find_landmark_model
    from feat_pose_plugin.testing import FRAME_SIZE, project_face

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    torch.manual_seed(0)
    bundled, sqpnp = get_pose_backend("pose_mlp_synth"), ict_sqpnp(in_camera=True)
    model = find_landmark_model("2d")
    seconds = {}
    for count in BATCHES:
        faces = project_face(0.3 * torch.randn(count, 3))
        some = faces[:_SOLVED]
        contenders: dict[str, Callable[[], object]] = {
            UPSTREAM: lambda faces=faces: upstream(faces),
            V2: lambda faces=faces: pose_from_landmarks_mlp(faces),
            BUNDLED: lambda faces=faces: bundled.estimate(faces, landmark_model=model),
            TABLE: lambda faces=faces: estimate_pose(faces),
            SQPNP: lambda some=some: sqpnp.estimate(
                some, frame_size=FRAME_SIZE, landmark_model=model
            ),
        }
        of_count = seconds_in_turns(contenders, ROUNDS)
        of_count[SQPNP] = [taken * count / len(some) for taken in of_count[SQPNP]]
        seconds[str(count)] = of_count
    return seconds


if __name__ == "__main__":
    main(int(sys.argv[1]))
