from __future__ import annotations

from emc.sweeps import read_sweep
from figures.__main__ import _drives
from figures.labels import sweeps
from figures.scales import CPU, GPU


def test_each_model_is_driven_by_itself_on_a_gpu_and_no_cell_twice() -> None:
    for sweep in sweeps(GPU):
        cells = {cell.number: cell.settings["model"] for cell in read_sweep(sweep)}
        drives = _drives(sweep, GPU)
        assert all(len({cells[number] for number in numbers or ()}) == 1 for numbers in drives)
        assert sorted(number for numbers in drives for number in numbers or ()) == sorted(cells)


def test_elsewhere_all_cells_share_a_drive() -> None:
    assert [_drives(sweep, CPU) for sweep in sweeps(CPU)] == [[None]] * len(sweeps(CPU))
