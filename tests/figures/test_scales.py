from __future__ import annotations

import pytest
from studied import study_of

from figures.__main__ import STUDIES
from figures.scales import REPLICATES, SCALES
from figures.study import cells, curve_key, identity


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("name", STUDIES)
def test_every_cell_is_a_measurement_whose_names_are_known(name, scale):
    study = study_of(name)
    for size in (scale, scale.with_data()):
        asked = [identity(cell) for cell in cells(study, size)]
        curves = [curve_key(given) for given in study.curves(size)]
        assert len(set(curves)) == len(curves)
        assert asked or curves


@pytest.mark.parametrize("name", STUDIES)
def test_paired_tests_have_the_replicates_that_they_need(name):
    for scale in ("cpu", "gpu", "paper"):
        assert {cell["replicates"] for cell in cells(study_of(name), SCALES[scale])} <= {REPLICATES}


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_studies_share_the_cells_that_they_have_in_common(scale):
    def asked(name: str, *families: str) -> set[str]:
        kept = cells(study_of(name), scale)
        return {identity(cell) for cell in kept if str(cell["model"]).partition(":")[0] in families}

    assert asked("generalisation", "mlp", "cnn", "linear") == asked("labels", "mlp", "cnn", "linear")
    assert asked("architectures", "mlp", "cnn")
    assert asked("architectures", "mlp", "cnn") <= asked("labels", "mlp", "cnn")
