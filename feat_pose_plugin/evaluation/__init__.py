"""How far the numbers can be trusted: any pose backend against faces whose pose is known.

::

    read_reference -> Reference -> evaluate  -> Evaluation -> plot_evaluation
                                -> calibrate -> Calibration
    read_turns     -> Turns     -> turn_gains, turn_errors -> DataFrame
"""

from __future__ import annotations

from feat_pose_plugin.evaluation.calibration import Calibration, HeadZero, calibrate, head_zero
from feat_pose_plugin.evaluation.figures import Evaluation, evaluate
from feat_pose_plugin.evaluation.picture import plot_evaluation
from feat_pose_plugin.evaluation.reference import Reference, read_reference
from feat_pose_plugin.evaluation.turns import Turns, read_turns, turn_errors, turn_gains

__all__ = [
    "Calibration",
    "Evaluation",
    "HeadZero",
    "Reference",
    "Turns",
    "calibrate",
    "evaluate",
    "head_zero",
    "plot_evaluation",
    "read_reference",
    "read_turns",
    "turn_errors",
    "turn_gains",
]
