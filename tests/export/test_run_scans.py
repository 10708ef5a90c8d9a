import json
from pathlib import Path

import pandas as pd

from fmnet.data.tables import write_table
from fmnet.export.run_scans import read_raw, read_run_bold_scans, read_run_scans


def test_names_of_other_bytes_come_back(tmp_path):
    name = "/maps/m\udcfcller.nii"
    row = {"scan_id": "a", "used": "yes", "files": name, "space": "MNI152"}
    write_table(pd.DataFrame([row]), tmp_path / "cohort.tsv")
    assert read_run_scans(tmp_path, 1)[0].files == (Path(name),)


def test_raw_data_set_is_that_of_the_run(tmp_path, series_export):
    assert read_raw(tmp_path) is None
    for raw in ("/data/raw", None):
        (tmp_path / "bold.json").write_text(json.dumps({"maps": [], "raw": raw}))
        assert (read_raw(tmp_path) and str(read_raw(tmp_path))) == raw
    assert read_raw(series_export.run_dir) is None


def test_runs_are_read_with_the_files_beside_them(series_export):
    scans = read_run_bold_scans(series_export.run_dir, 2)
    assert [scan.name for scan in scans] == ["sub-01", "sub-04"]
    for scan in scans:
        (run,) = scan.runs
        assert None not in (run.bold.mask, run.confounds)
