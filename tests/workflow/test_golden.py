"""What the small study's signature says of four people; a change here has to be meant."""

import pytest

from fmnet.inference.predict import NewScan, predict_scan

SCORES = [4.3175, 4.0514, -4.3272, -3.9521]


def test_scores_stay_what_they_were(finished, bundle):
    scans = finished.listing.scans[:4]
    scores = [predict_scan(bundle, NewScan(scan.scan_id, scan.files)).score for scan in scans]
    assert [scan.label for scan in scans] == ["FM", "FM", "HC", "HC"]
    # Other versions and processors round otherwise while the network learns.
    assert scores == pytest.approx(SCORES, abs=0.05)
