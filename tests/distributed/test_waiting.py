"""Settings for waiting stand behind every one of the user's own."""

from __future__ import annotations

from tflbt.distributed.waiting import settings


def test_a_users_own_settings_come_first(tmp_path):
    nothing = {"HOME": str(tmp_path)}
    wanted = {"HOROVOD_CYCLE_TIME": "5", "OMPI_MCA_mpi_yield_when_idle": "1"}
    assert settings(nothing) == wanted
    assert settings({**nothing, "HOROVOD_CYCLE_TIME": "1"}) == {"OMPI_MCA_mpi_yield_when_idle": "1"}
    assert settings({**nothing, **dict.fromkeys(wanted, "0")}) == {}
    (tmp_path / ".openmpi").mkdir()
    own = tmp_path / ".openmpi" / "mca-params.conf"
    own.write_text("# mpi_yield_when_idle = 1\nbtl = tcp\n")
    assert settings(nothing) == wanted
    own.write_text("btl = tcp\nmpi_yield_when_idle=0\n")
    assert settings(nothing) == {"HOROVOD_CYCLE_TIME": "5"}
    other = {**nothing, "OMPI_MCA_mca_base_param_files": f"/nowhere,{tmp_path}/other"}
    assert settings(other) == wanted
    (tmp_path / "other").write_text(own.read_text())
    assert settings(other) == {"HOROVOD_CYCLE_TIME": "5"}
