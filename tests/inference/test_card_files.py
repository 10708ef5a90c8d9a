import pytest
from target_bundle_fixtures import EARLIER

from fmnet.errors import OutputError
from fmnet.inference.bundle import read_bundle
from fmnet.inference.card_files import card_names, open_cards
from fmnet.inference.predict import failed


def test_every_card_has_a_name_of_its_own():
    scans = ["/a/sub-01.nii.gz", "/b/SUB-01.nii", "group", "../..", "a b/c?d.img", "x" * 300]
    names = card_names(scans)
    assert names[:3] == ["sub-01", "SUB-01-2", "group-2"]
    assert len({name.lower() for name in names} | {"group"}) == 7
    assert all(name and "/" not in name and len(name) <= 102 for name in names)


def test_folder_that_can_not_be_written_is_told(tmp_path):
    bundle = read_bundle(EARLIER)
    cards = open_cards(bundle, tmp_path / "cards")
    path = cards.write("a", failed("a", []), None)
    assert path.read_text().startswith("<!DOCTYPE html>")
    (tmp_path / "cards" / "group.html").mkdir()
    with pytest.raises(OutputError, match=r"accepted: a folder that can be written"):
        cards.write_group([failed("a", [])], ["a"])
    with pytest.raises(OutputError, match="found a file; accepted: a folder"):
        open_cards(bundle, path)
