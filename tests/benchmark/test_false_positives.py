import pandas as pd
import pytest

from fmnet.benchmark.false_positives import FalsePositives, rate_lines


def test_rate_comes_with_its_exact_interval():
    table = pd.DataFrame({"model": "network", "auc": 0.5, "p": [0.01, 0.04, 0.05, *[0.5] * 57]})
    (line,) = rate_lines(table)
    assert line.startswith("network: 2 of 60 null cohorts at p < 0.05: 0.033 [0.004, 0.115]")


@pytest.mark.slow
def test_tests_each_cohort_once_and_goes_on(tmp_path, monkeypatch):
    suite = FalsePositives(2, 2, n_subjects=12, n_splits=2, max_epochs=1, voxel_size_mm=12)
    lines = suite.run(tmp_path)
    assert [line.split(":")[0] for line in lines] == ["linear_svm", "network"]
    table = pd.read_csv(tmp_path / "p_values.tsv", sep="\t")
    assert table.groupby("model").size().to_dict() == {"network": 2, "linear_svm": 2}
    assert set((table["p"] * 3).round(6)) <= {1.0, 2.0, 3.0}
    monkeypatch.setattr(FalsePositives, "test_cohort", lambda *_: pytest.fail("done before"))
    assert suite.run(tmp_path) == lines
