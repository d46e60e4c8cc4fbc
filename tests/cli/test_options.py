"""Options that are parsed are passed on."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from unittest.mock import ANY

import pandas as pd
import pytest
from command import feat_pose

KNOWN = "known.csv --convention degrees --landmarks points"
CASES = [
    ("estimate known.csv -o out.csv --model mine", "pose.registry.get_pose_backend", ("mine",), {}),
    (
        "estimate known.csv -o out.csv --height 480 --width 640 --force",
        "tables.run.open_run",
        (ANY, Path("out.csv"), ANY),
        {"frame_size": (480, 640), "force": True},
    ),
    (
        "estimate known.csv -o out.csv --convention degrees --landmark-model dlib --normalized "
        "--rotation-frame camera --translation geometric --focal-length 900.5 "
        "--principal-point 300 200 --inter-ocular-mm 90 --quality",
        "pose.estimate.PoseEstimator",
        (),
        {
            "backend": ANY,
            "landmark_model": "dlib",
            "normalized": True,
            "convention": "degrees",
            "rotation_frame": "camera",
            "translation": "geometric",
            "focal_length": 900.5,
            "principal_point": (300, 200),
            "inter_ocular_mm": 90,
            "quality": True,
        },
    ),
    (
        "convert known.csv -o out.csv --from degrees --to rotvec --inter-ocular-mm 90",
        "tables.pose_tables.convert_table",
        (Path("known.csv"), Path("out.csv"), "degrees", "rotvec"),
        {"inter_ocular_mm": 90},
    ),
    (
        "detect clip.mp4 -o out.csv --face-model img2pose --landmark-model pfld --pose-model mine "
        "--identity-model facenet --device auto --quality",
        "frameworks.pyfeat_detectors.Detectorv1",
        (),
        {
            **dict.fromkeys(("au_model", "emotion_model", "gaze_model")),
            "face_model": "img2pose",
            "landmark_model": "pfld",
            "pose_model": "mine",
            "identity_model": "facenet",
            "device": "auto",
            "pose_options": {"quality": True},
        },
    ),
    (
        "compare known.csv known.csv --from-a degrees --from-b 300w-lp --by who --by day",
        "evaluation.compare.compare_pose",
        (ANY, ANY),
        {"convention_a": "degrees", "convention_b": "300w-lp", "by": ["who", "day"]},
    ),
    (
        "plot known.csv -o out.png --convention degrees --fps 25",
        "show.plots.plot_time_lines",
        (ANY,),
        {"convention": {"known.csv": "degrees"}, "fps": 25},
    ),
    (
        "overlay clip.mp4 known.csv -o out.mp4 --convention degrees --first-frame 1",
        "show.overlay.overlay_video",
        (Path("clip.mp4"), ANY, Path("out.mp4")),
        {"convention": "degrees", "first": 1, "progress": ANY},
    ),
    (
        "overlay photo.jpg known.csv -o out.png --convention degrees",
        "show.overlay.overlay_picture",
        (Path("photo.jpg"), ANY, Path("out.png")),
        {"convention": "degrees"},
    ),
    (
        "report known.csv -o out.html --convention degrees --fps 25 --video v.mp4 --first-frame 1",
        "show.report.write_report",
        (Path("known.csv"), Path("out.html")),
        {"convention": "degrees", "fps": 25, "video": Path("v.mp4"), "first": 1},
    ),
    (
        f"evaluate {KNOWN}",
        "evaluation.read_reference",
        (Path("known.csv"),),
        {"convention": "degrees", "landmarks": "points"},
    ),
    (
        f"evaluate {KNOWN} --model mine --landmark-model dlib",
        "evaluation.evaluate",
        ("mine", ANY),
        {"landmark_model": "dlib"},
    ),
    (
        f"calibrate {KNOWN} --groups who",
        "evaluation.read_reference",
        (Path("known.csv"),),
        {"convention": "degrees", "landmarks": "points", "groups": "who"},
    ),
    (
        f"calibrate {KNOWN} --model mine --landmark-model dlib",
        "evaluation.calibrate",
        ("mine", ANY),
        {"landmark_model": "dlib"},
    ),
    (
        "turns faces.npz --landmarks points --landmark-model dlib",
        "evaluation.read_turns",
        (Path("faces.npz"), {"points": "dlib"}),
        {},
    ),
    (
        "train distill a.csv b.csv -o w.safetensors --convention degrees --seed 3",
        "training.distill.train_distill",
        ([Path("a.csv"), Path("b.csv")], Path("w.safetensors")),
        {"settings": ANY, "convention": "degrees", "seed": 3, "progress": True},
    ),
    ("fetch pose_mlp --revision v2 --offline", "mlp.weights.fetch_official", ("v2",), {}),
    (
        "export out.onnx --model mine --landmark-model dlib --convention degrees",
        "mlp.onnx_export.export_onnx",
        (Path("out.onnx"),),
        {"pose_model": "mine", "landmark_model": "dlib", "convention": "degrees"},
    ),
]


class Called(Exception):  # noqa: N818
    """With what, in place of doing it."""


@pytest.mark.parametrize(
    ("typed", "name", "arguments", "options"), CASES, ids=lambda case: str(case)[:20]
)
def test_what_is_typed_arrives(typed, name, arguments, options, tmp_path, monkeypatch):
    def called(*args, **kwargs):
        raise Called(args, kwargs)

    module, _, function = f"feat_pose_plugin.{name}".rpartition(".")
    monkeypatch.setattr(import_module(module), function, called)
    monkeypatch.chdir(tmp_path)
    Path("clip.mp4").touch()
    points = {f"{axis}_{n}": [n] for axis in "xy" for n in range(68)}
    pd.DataFrame({**points, "Pitch": [1], "Roll": [2], "Yaw": [3]}).to_csv("known.csv", index=False)
    result = feat_pose(*typed.split())
    assert isinstance(result.exception, Called), result.output
    assert (arguments, options) == result.exception.args  # ANY decides


@pytest.mark.parametrize("command", ["estimate in.csv -o out.csv", "detect in.jpg -o out.csv"])
def test_offline_is_said_to_the_hub(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    feat_pose(*command.split(), "--offline")
    assert os.environ["HF_HUB_OFFLINE"] == "1"
