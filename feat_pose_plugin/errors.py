"""The exceptions of this package, all of them :class:`FeatPoseError`, and its one warning.

Each message repeats what was passed and says what to do. The built-in bases are there so that
callers who know nothing of this package still catch what they would expect.
"""

from __future__ import annotations

_LONGEST = 400  # characters of a message


class FeatPoseError(Exception):
    """Base of every error that this package raises on purpose."""

    def __str__(self) -> str:
        """At most 400 characters: of a message with long names the middle is left out."""
        text = super().__str__()
        half = _LONGEST // 2
        return text if len(text) <= _LONGEST else f"{text[: half - 2]} ... {text[3 - half :]}"


class LandmarkError(FeatPoseError, ValueError):
    """Landmarks have a shape, dtype or set of columns that holds no 68 points."""


class ConventionError(FeatPoseError, ValueError):
    """A pose convention is unknown, or a pose is not in the one it is said to be in."""


class FrameSizeError(FeatPoseError, ValueError):
    """A video frame size is missing, or is not a pair ``(height, width)`` of positive pixels."""


class OptionError(FeatPoseError, ValueError):
    """An option of estimation is unknown, or does not fit the backend or the other options."""


class WeightsError(FeatPoseError, RuntimeError):
    """A checkpoint is unreadable, incomplete, inconsistent or not finite."""


class WeightsNotFoundError(WeightsError):
    """Weights are in none of their places. The message lists all of them, and may be longer."""

    __str__ = Exception.__str__


class BackendError(FeatPoseError, RuntimeError):
    """A pose backend cannot be made, or returned what the contract forbids."""


class UnknownBackendError(BackendError):
    """No pose backend has this name."""


class DuplicateBackendError(BackendError):
    """Two pose backends claim one name."""


class DetectorError(FeatPoseError, ValueError):
    """A detector cannot take a pose model, an option or an argument."""


class TrainingError(FeatPoseError, ValueError):
    """Training data or settings cannot give weights."""


class EvaluationError(FeatPoseError, ValueError):
    """Known poses are missing or malformed, or too few to measure against."""


class PictureError(FeatPoseError, ValueError):
    """A picture or video cannot be read, drawn on or encoded, or a table does not belong to it."""


class TableError(FeatPoseError, OSError):
    """A table cannot be read, or an output cannot be written."""

    system_errno: int | None = None
    """What the operating system said against writing; unlike a cause it survives pickling."""


class MotionError(FeatPoseError, ValueError):
    """A table does not say who moved when, or an option is not possible."""


class ExportError(FeatPoseError, RuntimeError):
    """A network cannot be written as ONNX, or the ONNX file gives other answers."""


class WorkerError(FeatPoseError, RuntimeError):
    """Processes or a cluster are not available, or died while they worked."""


class PoseWarning(UserWarning):
    """Input that is read, and is almost surely a mistake. The message says what it looks like."""
