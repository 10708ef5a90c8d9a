from dataclasses import asdict, replace
from pathlib import Path

import pytest

from fmnet.bold.scan_maps import KEPT, MOTION, SCRUBBED
from fmnet.bold.settings import CleaningSettings
from fmnet.data.scans import Series


@pytest.fixture
def build_bold_study(build_study):
    """Study data of thirty scans of BOLD runs; every third scan has two runs, of 90 volumes each.

    Odd rows are FM. Nobody states how much the first scan moved.
    """

    def build(maps=("alff", "seed:pcc=0,-52,26"), **cleaning):
        data = build_study()
        cohort = data.cohort
        scans, stored = [], []
        for row, (scan, one) in enumerate(zip(cohort.scans, cohort.stored, strict=True)):
            n_runs = 2 if row % 3 == 0 else 1
            runs = tuple(Path(f"run-{number}.nii.gz") for number in range(n_runs))
            moved = {MOTION: 0.1 + 0.1 * (row % 2)} if row else {}
            facts = moved | {SCRUBBED: 0.01 * (row % 5), KEPT: 90.0 * n_runs - row % 2}
            scans.append(
                replace(
                    scan, scan_id=f"{scan.participant_id}_task-rest", files=runs, is_series=True
                )
            )
            series = Series(runs, (90,) * n_runs, 2.2)
            stored.append(
                replace(one, series=series, tsnr=(10.0, 50.0 + row % 2, 90.0), facts=facts)
            )
        made_by = {"cleaning": asdict(CleaningSettings(**cleaning)), "maps": list(maps)}
        listing = replace(cohort.listing, scans=tuple(scans), made_by=made_by)
        cohort = replace(cohort, scans=tuple(scans), stored=tuple(stored), listing=listing)
        return replace(data, cohort=cohort)

    return build
