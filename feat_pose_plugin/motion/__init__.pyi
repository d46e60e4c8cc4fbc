from .neutral import relative_pose as relative_pose
from .smoothing import smooth_pose as smooth_pose
from .summary import summarise_motion as summarise_motion
from .velocity import angular_velocity as angular_velocity
