"""What happens over time: smoothing, pose from a neutral pose, angular velocity, summaries.

Each function takes a pose table, as :func:`~feat_pose_plugin.estimate_pose` and py-feat's detectors
return it, and keeps all of its rows in their order.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
