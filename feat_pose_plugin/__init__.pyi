from .errors import FeatPoseError as FeatPoseError
from .errors import PoseWarning as PoseWarning
from .frameworks.old_scripts import Detector as Detector
from .frameworks.pyfeat_detectors import Detectorv1 as Detectorv1
from .frameworks.pyfeat_detectors import Detectorv2 as Detectorv2
from .frameworks.pyfeat_detectors import MPDetector as MPDetector
from .frameworks.pyfeat_detectors import install as install
from .frameworks.pyfeat_detectors import uninstall as uninstall
from .mlp.pose_mlp import pose_from_landmarks_mlp as pose_from_landmarks_mlp
from .pose.backend import PoseBackend as PoseBackend
from .pose.backend import Provenance as Provenance
from .pose.conventions import FEAT_FACEPOSE_COLUMNS_6D as FEAT_FACEPOSE_COLUMNS_6D
from .pose.convert import convert_pose as convert_pose
from .pose.estimate import estimate_pose as estimate_pose
from .pose.registry import available_pose_backends as available_pose_backends
from .pose.registry import get_pose_backend as get_pose_backend
from .pose.registry import register_pose_backend as register_pose_backend

__version__: str
