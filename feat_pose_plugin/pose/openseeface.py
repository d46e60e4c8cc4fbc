"""OpenSeeFace's points in the order that everybody else has.

OpenSeeFace (``lm_model0``) gives 66 points: 0 to 47 as all do; then the outer lips without their
corners (48 to 52 upper, 53 to 57 lower); then the inner lips with the corners of the mouth (58
right, 59 to 61 upper, 62 left, 63 to 65 lower; its own tracker measures the width of the mouth from
58 to 62). Many tables make 68 of them by putting two points in at 60 and 64, and have mouths whose
points belong elsewhere: pitch is wrong by 5 degrees then, and a nod by a fifth.
"""

from __future__ import annotations

from torch import Tensor
from torch.linalg import vector_norm

POINTS = 66
_FROM_66 = [*range(48), 58, *range(48, 53), 62, *range(53, 58), *range(58, 66)]  # corners twice
_FROM_68 = [point + (point > 59) + (point > 62) for point in _FROM_66]
_USUAL_CORNERS, _OWN_CORNERS = (48, 54), (58, 63)


def in_usual_order(points: Tensor) -> Tensor:
    """``[B, 68, D]`` of everybody else, from ``[B, 66, D]`` or from 68 in either order.

    Of 68 the corners of the mouth tell in which order they are, by most of the rows.
    """
    if points.shape[1] == POINTS:
        return points[:, _FROM_66]
    usual, own = (
        vector_norm(points[:, right] - points[:, left], dim=-1)
        for right, left in (_USUAL_CORNERS, _OWN_CORNERS)
    )
    wider = (own > usual)[usual.isfinite() & own.isfinite()].float()
    return points[:, _FROM_68] if len(wider) and wider.mean() > 0.5 else points
