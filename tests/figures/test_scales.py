from __future__ import annotations

import pytest
from studied import study_of

from emc.hypotheses.parts import SAME_SIZE
from emc.registry import PluginSpec
from emc.scaling import count_parameters
from figures.__main__ import STUDIES
from figures.architectures import BUDGET, PEERS
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
    mlps, cnns = asked("architectures", "mlp"), asked("architectures", "cnn")
    assert mlps
    assert mlps <= asked("labels", "mlp")
    beside = [cell for cell in cells(study_of("architectures"), scale) if cell["model"] in peers(scale)]
    alone = {identity(cell) for cell in beside if cell.get("min_steps") == BUDGET[scale.name]["min_steps"]}
    assert cnns - alone <= asked("labels", "cnn")


def peers(scale):
    """CNNs with the budget of a transformer."""
    return set(PEERS.get(scale.name, {}).values())


@pytest.mark.parametrize("data", ["synthetic_images:count=4000,size=8,channels=1", "digits"])
def test_the_families_of_the_cpu_scale_are_of_sizes_that_claims_compare(data):
    def sizes(family, **settings):
        held = [c for c in cells(study_of("architectures"), SCALES["cpu"]) if c["data"] == data]
        models = [c["model"] for c in held if settings.items() <= c.items() and c["model"].startswith(family)]
        specs = map(PluginSpec.parse, models)
        return {count_parameters(spec, PluginSpec("relu"), (1, 8, 8), 10) for spec in specs}

    (vit,), (peer,) = sizes("vit", min_steps=2_000), sizes("cnn", min_steps=2_000)
    assert max(vit, peer) <= SAME_SIZE * min(vit, peer)
    pairs = [(cnn, mlp) for cnn in sizes("cnn") for mlp in sizes("mlp")]
    assert any(max(pair) <= SAME_SIZE * min(pair) for pair in pairs)
