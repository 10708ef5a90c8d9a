from pathlib import Path

from fmnet.data.scans import FILE_SEPARATOR, Scan

FILES = (Path("a/one.nii.gz"), Path("a/two.nii.gz"))


def test_each_channel_of_maps_comes_from_its_file():
    scan = Scan("sub-1", "sub-1", FILES, "MNI152")
    assert [scan.source(channel) for channel in (0, 1)] == list(map(str, FILES))


def test_all_channels_of_runs_come_from_all_of_them():
    scan = Scan("sub-1", "sub-1", FILES, "MNI152", is_series=True)
    expected = FILE_SEPARATOR.join(map(str, FILES))
    assert [scan.source(channel) for channel in (0, 1, 2)] == [expected] * 3
