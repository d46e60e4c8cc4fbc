"""py-feat without its model files: random weights of its architectures, and faces that are known.

:func:`feat_hub` answers py-feat's downloads with random state dicts of the real architectures,
made when they are first asked for; :func:`detect` puts known boxes, and known landmarks where
wanted, in place of what untrained networks would say. All else that runs is py-feat's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import cv2
import feat.data
import feat.detector
import feat.gaze_detectors.l2cs
import feat.MPDetector
import feat.utils.face_pose_mlp
import feat.utils.io
import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import torch
from feat.au_detectors.MP_Blendshapes.MP_Blendshapes_test import MediaPipeBlendshapesMLPMixer
from feat.face_detectors.Retinaface.Retinaface_model import RETINAFACE_R34_CFG, RetinaFace
from feat.facepose_detectors.img2pose.deps.models import FasterDoFRCNN
from feat.landmark_detectors.basenet_test import MobileNet_GDConv
from feat.landmark_detectors.mobilefacenet_test import MobileFaceNet
from feat.landmark_detectors.pfld_compressed_test import PFLDInference
from feat.multitask.model_v2 import MEGraphAUv2, ModelV2Config
from feat.pretrained import AU_LANDMARK_MAP
from feat.utils import MP_BLENDSHAPE_NAMES
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

WARNINGS_OF_FEAT = [
    pytest.mark.filterwarnings(f"ignore:{what}")
    for what in (
        ":UserWarning:torchvision.models._utils",
        ":DeprecationWarning:torchvision.io",
        "__array__ implementation:DeprecationWarning",
        ".torch.jit:FutureWarning",
        ":pandas.errors.PerformanceWarning:feat.data",
        ".*fork:DeprecationWarning",
    )
]
"""Marks for what py-feat does that the libraries under it will not have for ever."""

MULTITASK = {
    "backbone": "convnextv2_atto",  # the smallest; on a CPU the published one takes a second a face
    "n_au": 20,
    "n_emotion": 7,
    "n_blendshape": 52,
    "mesh_normalized": True,
    "use_head_v3": True,
    "drop_mefl": True,
}
IMG2POSE = {
    "min_size": 400,
    "max_size": 1400,
    "pose_mean": [0.0] * 6,
    "pose_stddev": [1.0] * 6,
    "threed_points": [[0.0, 0.0, 0.0]] * 68,
    "rpn_pre_nms_top_n_test": 500,
    "rpn_post_nms_top_n_test": 100,
    "bbox_x_factor": 1.1,
    "bbox_y_factor": 1.1,
    "expand_forehead": 0.1,
}


# Random weights


class StandIn(nn.Module):
    """For the largest networks, of emotion and identity, which have nothing to do with pose."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__()
        self.net, self.fc = nn.Linear(1, 1), nn.Identity()

    def forward(self, faces: Tensor) -> Tensor:
        return self.fc(faces.new_zeros(len(faces), 512))


class ClassifierStandIn:
    """For the classifiers of action units and emotions, which read histograms of gradients."""

    def load_weights(self, **parts: object) -> None:
        """None are needed."""

    def detect_au(self, frame: np.ndarray, landmarks: object) -> np.ndarray:
        return np.zeros((len(frame), 20))

    def detect_emo(self, frame: np.ndarray, landmarks: object) -> np.ndarray:
        return np.zeros((len(frame), 7))


def _stand_in(**layers: nn.Module) -> nn.Module:
    network = StandIn()
    for name, layer in layers.items():
        setattr(network, name, layer)
    return network


class MeshStandIn(nn.Module):
    """Takes and gives what MediaPipe's mesh network does, which exists as a file only."""

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        mean = faces.mean(dim=(1, 2, 3))[:, None]
        return mean + torch.arange(1434, device=faces.device) % 256, mean


def _img2pose() -> nn.Module:
    points = torch.tensor(IMG2POSE["threed_points"])
    return FasterDoFRCNN(
        backbone=resnet_fpn_backbone(backbone_name="resnet18", weights=None),
        num_classes=2,
        pose_mean=torch.zeros(6),
        pose_stddev=torch.ones(6),
        threed_68_points=points,
    )


def _state(network: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().clone().contiguous() for key, value in network.state_dict().items()}


def _safetensors(make: Callable[[], nn.Module], **metadata: str) -> Callable[[Path], None]:
    return lambda path: save_file(_state(make()), path, metadata)


def _torch_file(make: Callable[[], nn.Module], key: str | None) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        state = _state(make())
        torch.save({key: state} if key else state, path)

    return write


def _json(content: dict[str, object]) -> Callable[[Path], None]:
    return lambda path: path.write_text(json.dumps(content))


def _blendshapes_to_aus(path: Path) -> None:
    aus = AU_LANDMARK_MAP["Feat"]
    np.savez(
        path,
        coef=np.random.default_rng(0).normal(size=(52, len(aus))),
        intercept=np.zeros(len(aus)),
        bs_columns=MP_BLENDSHAPE_NAMES,
        au_columns=aus,
    )


def _multitask() -> nn.Module:
    return MEGraphAUv2(ModelV2Config(**MULTITASK, pretrained=False))


FILES: dict[tuple[str, str], Callable[[Path], None]] = {
    ("retinaface_r34", "model.safetensors"): _safetensors(lambda: RetinaFace(RETINAFACE_R34_CFG)),
    ("img2pose", "config.json"): _json(IMG2POSE),
    ("img2pose", "model.safetensors"): _safetensors(_img2pose),
    ("mobilefacenet", "mobilefacenet_model_best.pth.tar"): _torch_file(
        lambda: MobileFaceNet([112, 112], 136, device="cpu"), "state_dict"
    ),
    ("mobilenet", "mobilenet_224_model_best_gdconv_external.pth.tar"): _torch_file(
        lambda: MobileNet_GDConv(136), "state_dict"
    ),
    ("pfld", "pfld_model_best.pth.tar"): _torch_file(PFLDInference, "state_dict"),
    ("face_multitask_v2", "face_multitask_v28.safetensors"): _safetensors(
        _multitask, config=json.dumps(MULTITASK)
    ),
    ("mp_facemesh_v2", "face_landmarks_detector.pt"): lambda path: torch.jit.script(
        MeshStandIn()
    ).save(str(path)),
    ("mp_blendshapes", "face_blendshapes.pth"): _torch_file(MediaPipeBlendshapesMLPMixer, None),
    ("bs_to_au", "bs_to_au_pls_v2.npz"): _blendshapes_to_aus,
    ("xgb_au", "xgb_au_classifier_v2.skops"): _json({}),
    ("svm_au", "svm_au_classifier_v2.skops"): _json({}),
    ("svm_emo", "svm_emo_classifier.skops"): _json({}),
    ("resmasknet", "config.json"): _json({"in_channels": 3, "num_classes": 7}),
    ("resmasknet", "ResMaskNet_Z_resmasking_dropout1_rot30.pth"): _torch_file(
        lambda: _stand_in(fc=nn.Sequential(nn.Dropout(), nn.Linear(512, 7))), "net"
    ),
    ("arcface_r50", "arcface_r50.safetensors"): _safetensors(lambda: StandIn().net),
    ("facenet", "facenet_20180402_114759_vggface2.pth"): _torch_file(
        lambda: _stand_in(logits=nn.Linear(512, 8631)), None
    ),
}
"""What writes each file that py-feat downloads: (repository of py-feat, file)."""


STAND_INS = {
    **dict.fromkeys(("ResMasking", "ArcFace", "InceptionResnetV1"), StandIn),
    **dict.fromkeys(("XGBClassifier", "SVMClassifier", "EmoSVMClassifier"), ClassifierStandIn),
    "load_l2cs_from_hf": lambda device: lambda crops: (np.zeros(len(crops)), np.zeros(len(crops))),
}
"""What stands in py-feat's modules for what has nothing to do with pose and takes long."""


class Hub:
    """Answers downloads out of a folder, and remembers what was asked for.

    Attributes:
        asked: ``repository/file`` of each attempt, in order.
    """

    def __init__(self, folder: Path, own: dict[tuple[str, str], Path]) -> None:
        self._folder = folder
        self._own = own
        self.asked: list[str] = []

    def download(self, repo_id: str, filename: str, **options: object) -> str:
        self.asked.append(f"{repo_id}/{filename}")
        key = (repo_id.removeprefix("py-feat/"), filename)
        if key in self._own:
            return str(self._own[key])
        if key not in FILES:
            raise ConnectionError(f"the hub has no {repo_id}/{filename}, or is out of reach")
        path = self._folder / key[0] / filename
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            with torch.random.fork_rng():
                torch.manual_seed(0)
                FILES[key](path)
        return str(path)


@contextmanager
def feat_hub(folder: Path, own: dict[tuple[str, str], Path] | None = None) -> Iterator[Hub]:
    """py-feat with random weights, without a network.

    Args:
        folder: Where the random weights are kept; the next call takes them from there.
        own: Files to take instead: those of :data:`FILES`, or others.

    Yields:
        What was asked for.
    """
    hub = Hub(folder, own or {})
    gradients = torch.is_grad_enabled()
    with pytest.MonkeyPatch.context() as patch:
        for module in _feat_modules():
            if getattr(module, "hf_hub_download", None) is huggingface_hub.hf_hub_download:
                patch.setattr(module, "hf_hub_download", hub.download)
            for name in STAND_INS.keys() & vars(module).keys():
                patch.setattr(module, name, STAND_INS[name])
        for module in (feat.detector, feat.MPDetector):  # skops, for the classifiers
            patch.setattr(module, "load", lambda file, trusted: MagicMock())
            patch.setattr(module, "get_untrusted_types", lambda file: [])
        patch.setattr(huggingface_hub, "hf_hub_download", hub.download)
        patch.setattr(feat.utils.face_pose_mlp, "_CACHE", {})
        patch.delenv("FEAT_POSE_MLP_PATH", raising=False)
        if not _torchcodec_works():
            patch.setattr(feat.data, "VideoDecoder", Video)
            patch.setattr(feat.utils.io, "VideoDecoder", Video)
        try:
            yield hub
        finally:
            torch.set_grad_enabled(gradients)  # Retinaface turns them off for the whole process


def _feat_modules() -> list[object]:
    return [module for name, module in list(sys.modules.items()) if name.split(".")[0] == "feat"]


# Videos, where torchcodec finds no FFmpeg


class Video:
    """The part of torchcodec's VideoDecoder that py-feat uses, by OpenCV."""

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        self._open()
        frames = 0
        while self._video.grab():
            frames += 1
        self.metadata = SimpleNamespace(
            num_frames=frames,
            height=int(self._video.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            width=int(self._video.get(cv2.CAP_PROP_FRAME_WIDTH)),
            average_fps=self._video.get(cv2.CAP_PROP_FPS),
        )
        self._open()

    def _open(self) -> None:
        # One thread, because a forked worker has none of its parent's and would wait for them.
        self._video = cv2.VideoCapture(self._path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        self._next = 0

    def __getitem__(self, index: int) -> Tensor:
        if index < self._next:
            self._open()
        while self._next < index:
            self._video.grab()
            self._next += 1
        found, frame = self._video.read()
        if not found:
            raise IndexError(f"{self._path} has no frame {index}")
        self._next += 1
        return torch.from_numpy(frame[..., ::-1].copy()).permute(2, 0, 1)  # BGR


def _torchcodec_works() -> bool:
    try:
        feat.data.VideoDecoder(Path(feat.__file__).parent / "tests" / "data" / "single_face.mp4")
    except RuntimeError:
        return False
    return True


# Known faces


@dataclass(frozen=True)
class KnownFace:
    """A face in a frame, pixels of the original frame.

    Attributes:
        box: ``x1, y1, x2, y2``.
        landmarks: ``[68, 2]``, or ``[478, 3]`` for a mesh; None for what the network says.
        dof: What img2pose's head says: rotation vector and translation.
    """

    box: Sequence[float]
    landmarks: np.ndarray | None = None
    dof: Sequence[float] = (0.0,) * 6


def detect(
    detector: nn.Module,
    inputs: object,
    frames: Sequence[Sequence[KnownFace]],
    sizes: Sequence[tuple[int, int]],
    **options: object,
) -> pd.DataFrame:
    """``detector.detect``, the networks that find faces and landmarks replaced by known faces.

    Args:
        detector: A detector of py-feat.
        inputs: As ``detect`` takes them.
        frames: The faces of each frame that it will read, in order.
        sizes: Height and width of each of these frames as they are on disk.
        **options: As ``detect`` takes them.
    """
    coming = iter(zip(frames, sizes, strict=True))
    batch: list[Sequence[KnownFace]] = []  # the faces of the frames that are being worked on

    def find_faces(images: Tensor) -> list[object]:
        batch.clear()
        found: list[object] = []
        for _ in images:
            faces, size = next(coming)
            batch.append(faces)
            # py-feat scales the long side to that of what it makes of the frame, and pads evenly.
            scale = max(images.shape[-2:]) / max(size)
            pad = [(images.shape[-side] - int(size[-side] * scale)) // 2 for side in (1, 2)]
            boxes = np.array([face.box for face in faces]).reshape(-1, 2, 2) * scale + pad
            # py-feat sorts img2pose's faces by score.
            scores = 1 - 0.01 * np.arange(len(faces))
            dofs = np.array([face.dof for face in faces]).reshape(-1, 6)
            found.append((boxes.reshape(-1, 4), scores, dofs))
        if img2pose:
            return [
                {
                    "boxes": torch.tensor(boxes, dtype=torch.float32),
                    "scores": torch.tensor(scores, dtype=torch.float32),
                    "dofs": torch.tensor(dofs, dtype=torch.float32),
                }
                for boxes, scores, dofs in found
            ]
        return [[[*box, score] for box, score in zip(*f[:2], strict=True)] for f in found]

    def in_crop(faces_data: list[dict], batch_data: dict) -> Tensor | None:
        """``[N, 68, 2]`` or ``[N, 478, 3]`` known landmarks as shares of the crop of each face."""
        rows = []
        for frame, (found, faces) in enumerate(zip(faces_data, batch, strict=True)):
            boxes = found["new_boxes"].numpy()
            pad = [batch_data["Padding"][side][frame].item() for side in ("Left", "Top")]
            scale = batch_data["Scale"][frame].item()
            for box, face in zip(boxes, faces or [None] * len(boxes), strict=True):
                if face is None:
                    rows.append(None)
                elif face.landmarks is None:
                    return None
                else:
                    points = face.landmarks[:, :2] * scale + pad
                    depth = face.landmarks[:, 2:] * scale / (box[2] - box[0])
                    shares = (points - box[:2]) / (box[2:] - box[:2])
                    rows.append(np.concatenate([shares, depth], axis=1))
        shape = next((row.shape for row in rows if row is not None), None)
        if shape is None:
            return None
        rows = [np.zeros(shape) if row is None else row for row in rows]
        return torch.tensor(np.stack(rows), dtype=torch.float32)

    img2pose = detector.info["face_model"] == "img2pose"
    name = "facepose_detector" if hasattr(detector, "facepose_detector") else "face_detector"
    if getattr(detector, name) is None:  # MPDetector has both, and one is never used
        name = "face_detector"
    forward = detector.forward

    def forward_with_landmarks(faces_data: list[dict], batch_data: dict) -> pd.DataFrame:
        known = in_crop(faces_data, batch_data)
        if known is None:
            return forward(faces_data, batch_data)
        with _landmarks(detector, known):
            return forward(faces_data, batch_data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(getattr(detector, name), "forward", find_faces)
        patch.setattr(detector, "forward", forward_with_landmarks)
        result = detector.detect(inputs, progress_bar=False, **options)
    assert next(coming, None) is None, "detect read fewer frames than there are known faces for"
    return result


@contextmanager
def _landmarks(detector: nn.Module, known: Tensor) -> Iterator[None]:
    """The detector's landmark network says what is known."""
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(detector, feat.MPDetector.MPDetector):
            mesh = (known * 256).reshape(len(known), 1434)
            said = SimpleNamespace(forward=lambda faces: (mesh,))
            patch.setitem(detector._modules, "landmark_detector", said)
            yield
        elif hasattr(detector, "multitask"):

            def replace(network: nn.Module, faces: object, said: dict[str, Tensor]) -> None:
                said["mesh"][:] = known

            hook = detector.multitask.model.register_forward_hook(replace)
            try:
                yield
            finally:
                hook.remove()
        else:
            flat = known.reshape(len(known), 136)
            in_tuple = detector.info["landmark_model"] == "mobilefacenet"
            said = (flat,) if in_tuple else flat
            patch.setattr(detector.landmark_detector, "forward", lambda faces: said)
            yield
