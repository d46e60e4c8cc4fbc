"""py-feat's own models off the hub: had in seconds, or one error that says what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

from feat_pose_plugin.errors import WeightsNotFoundError
from feat_pose_plugin.mlp.weights import feat_folder

PATIENCE = 5.0  # seconds for a first answer of the hub


@contextmanager
def models_of_feat(detector: str) -> Iterator[None]:
    """While py-feat loads the models of a detector; a WeightsNotFoundError if it lacks a file.

    For every file py-feat asks the hub, which tries again for 23 seconds when nobody answers. Here
    the hub is asked once beforehand. If it does not answer, py-feat loads what it has, as with
    ``HF_HUB_OFFLINE=1``.
    """
    offline = constants.HF_HUB_OFFLINE
    reason = "HF_HUB_OFFLINE is set" if offline else _why_no_answer()
    constants.HF_HUB_OFFLINE = bool(reason)
    try:
        yield
    except OSError as error:  # the hub's errors all are
        # The outermost call that names a file is py-feat's; its fallbacks come after it.
        for frame, _ in walk_tb(error.__traceback__):
            asked = frame.f_locals
            if {"repo_id", "filename"} <= asked.keys():
                break
        else:
            raise
        cause = error.__cause__ or error  # the hub hides the cause behind advice
        reason = reason or f"{type(cause).__name__}: {cause}".splitlines()[0][:100]
        folder = f"models--{asked['repo_id'].replace('/', '--')}"
        raise WeightsNotFoundError(
            f"{detector} needs {asked['filename']} of {asked['repo_id']}, a model of py-feat. It "
            f"cannot be downloaded: {reason}. Make this detector once on a computer with network, "
            f"and copy its folder feat/resources/{folder} into {feat_folder()}/resources."
        ) from None  # whose traceback goes through all retries of the hub
    finally:
        constants.HF_HUB_OFFLINE = offline


def _why_no_answer() -> str:
    """Nothing if the hub answers, whatever it answers."""
    try:
        url = hf_hub_url("py-feat/retinaface_r34", "model.safetensors")
        get_hf_file_metadata(url, timeout=PATIENCE)
    except Exception as error:  # what the client raises differs by version
        response = getattr(error, "response", None)
        if response is None or response.status_code >= 500:
            return f"{constants.ENDPOINT} does not answer ({type(error).__name__})"
    return ""
