"""Another distribution adds a model and a training by its entry points; `--workers` and listings find them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = '''
import math
from emc.models import MODELS
from emc.trainings import TRAININGS, NamedTraining

@MODELS.register("theirs")
def theirs(input_shape, num_classes, *, width: int = 3):
    """A model of theirs."""
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), width), nn.Linear(width, num_classes))

@TRAININGS.register("first_class", budget=True)
def first_class(*, k: int = 20):
    """Right on k samples."""
    def fit(X, y, seed, budget):
        return lambda Z: [c if place < k else -1 for place, c in enumerate(y)]
    return NamedTraining(fit, "theirs 1.0")
'''


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "their_plugins.py").write_text(MODULE)
    facts = tmp_path / "their_plugins-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: their-plugins\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[emc.models]\ntheirs = their_plugins\n\n[emc.trainings]\nfirst_class = their_plugins\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "EMC_JOURNAL": str(tmp_path / "j")}


def run(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "emc", *words], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_their_plugins_are_listed(environment: dict[str, str]) -> None:
    assert "theirs" in run(environment, "list", "models")
    assert "first_class" in run(environment, "list", "trainings")


def test_their_model_trains_in_a_worker(environment: dict[str, str]) -> None:
    small = ["--n-max", "16", "--replicates", "1", "--min-steps", "20", "--max-epochs", "1", "--optimizer", "lbfgs"]
    assert "theirs:width=2" in run(environment, "measure", "--model", "theirs:width=2", *small, "--workers", "2", "-q")


def test_their_training_is_measured(environment: dict[str, str]) -> None:
    words = ["--train", "first_class:k=18", "--replicates", "1", "--n-max", "24", "--min-steps", "5", "-q"]
    assert run(environment, "measure", *words, "--tolerance", "0").split()[:2] == ["EMC", "18"]
