"""The command that explains one score, and the cards beside predictions."""

import json
import re
import shutil

import nibabel as nib
import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from signature_bundle_fixtures import UNSTABLE, add_signature, planted_weights

from fmnet.inference.bundle import read_bundle
from fmnet.inference.cli import main as predict
from fmnet.inference.explain_command import main

NAME = "<b>insula</b> & more"


@pytest.fixture(scope="module")
def explained(finished, tmp_path_factory):
    folder = shutil.copytree(finished.bundle_dir, tmp_path_factory.mktemp("explained") / "bundle")
    grid = read_bundle(folder).preparation.grid
    return add_signature(
        folder, planted_weights(grid, 2), names=dict.fromkeys(range(1, 300), NAME)
    ).folder


@pytest.fixture
def scan(finished):
    return ",".join(map(str, finished.listing.scans[0].files))


def check_stands_alone(page):
    """Nothing of a page is loaded from elsewhere, and nothing runs."""
    text = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"https?:|//|<script|<link|@import|url\((?!#)|srcset", text)
    assert "default-src 'none'" in text


def test_writes_map_table_and_page(explained, scan, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([str(explained), scan, "--out", str(out)]) == 0
    said = capsys.readouterr()
    names = {path.name for path in out.iterdir()}
    assert {line.rsplit("/", 1)[1] for line in said.out.splitlines()} == names
    maps = sorted(name for name in names if name.endswith("statmap.nii.gz"))
    assert maps == [
        f"contrast-{one}_space-MNI152_desc-contribution_statmap.nii.gz"
        for one in ("pressure", "visual")
    ]
    assert nib.load(out / maps[0]).shape == read_bundle(explained).preparation.grid.shape
    assert json.loads((out / maps[0].replace(".nii.gz", ".json")).read_text())["Mark"] == ""
    table = pd.read_csv(out / "regions.tsv", sep="\t")
    assert table.columns[:6].tolist() == ["label", "region", "x", "y", "z", "n_voxels"]
    assert "Research use only" in said.err
    assert "known of the signature" in said.err
    page = (out / "card.html").read_text()
    check_stands_alone(page)
    assert "SYNTHETIC data, for demonstration" in page
    assert "not a diagnosis" in page
    assert "Research use only" in page
    assert page.count("this scan") >= 1
    assert "<b>insula" not in page
    assert "&lt;b&gt;insula&lt;/b&gt; &amp; more" in page
    assert len(page) < 400_000


def test_signature_that_is_not_stable_is_refused_by_a_sentence(finished, scan, tmp_path, capsys):
    folder = shutil.copytree(finished.bundle_dir, tmp_path / "bundle")
    add_signature(folder, facts=UNSTABLE)
    out = tmp_path / "out"
    assert main([str(folder), scan, "--out", str(out)]) == 2
    assert "fmnet-explain: the score can't be explained: " in capsys.readouterr().err
    assert not out.exists()
    assert main([str(folder), scan, "--out", str(out), "--force"]) == 0
    paths = list(out.iterdir())
    assert len(paths) == 4
    assert all(path.name.startswith("forced_") for path in paths)
    mark = "Forced: this signature is not stable (no stable signature: it did not hold that"
    assert mark in capsys.readouterr().err
    for path in paths:
        if not path.name.endswith(".nii.gz"):
            assert mark in path.read_text(), path.name
    page = (out / "forced_card.html").read_text()
    assert "No stable signature: this may be chance" in page
    check_stands_alone(page)


def test_folder_of_several_people_is_no_scan(explained, finished, tmp_path, capsys):
    root = finished.listing.scans[0].files[0].parents[2]
    assert main([str(explained), str(root), "--out", str(tmp_path / "out")]) == 2
    assert re.search(r"found \d+ scans; accepted: one scan", capsys.readouterr().err)


def test_file_that_is_no_map_is_told(explained, tmp_path, capsys):
    assert main([str(explained), "nosuch.nii.gz", "--out", str(tmp_path / "out")]) == 2
    assert "nosuch.nii.gz" in capsys.readouterr().err


def test_cards_stand_beside_predictions_and_bad_scans_have_one_too(
    explained, finished, scan, tmp_path, capsys
):
    scans = [",".join(map(str, one.files)) for one in finished.listing.scans[:2]]
    cards, out = tmp_path / "cards", tmp_path / "results.tsv"
    given = [scans[0], "nosuch.nii.gz", scans[1], scans[0]]
    assert predict([str(explained), *given, "--out", str(out), "--cards", str(cards)]) == 0
    table = pd.read_csv(out, sep="\t")
    assert table["status"].value_counts().to_dict() == {"ok": 3, "error": 1}
    pages = {path.name: path.read_text() for path in cards.iterdir()}
    assert len(pages) == 5
    assert sum(name.endswith("-2.html") for name in pages) == 1
    for page in pages.values():
        check_stands_alone(page)
    told = [name for name, page in pages.items() if "What raised and what lowered" in page]
    assert len(told) == 3
    assert "No answer: this scan could not be used." in pages["nosuch.html"]
    assert set(re.findall(r'href="([^"]+)"', pages["group.html"])) == set(pages) - {"group.html"}
    without = tmp_path / "without.tsv"
    assert predict([str(explained), *given, "--out", str(without)]) == 0
    assert without.read_text() == out.read_text()


def test_card_that_can_not_be_written_costs_no_score(explained, scan, tmp_path, capsys):
    cards = tmp_path / "cards"
    cards.mkdir()
    name = scan.rsplit("/", 1)[1].removesuffix(".nii.gz")
    (cards / f"{name}.html").mkdir()  # a folder where the page would go
    out = tmp_path / "results.tsv"
    assert predict([str(explained), scan, "--out", str(out), "--cards", str(cards)]) == 0
    assert "no page on " in capsys.readouterr().err
    assert pd.read_csv(out, sep="\t")["status"].tolist() == ["ok"]


def test_cards_of_a_signature_that_is_not_stable_say_so(finished, scan, tmp_path, capsys):
    out, cards = tmp_path / "results.tsv", tmp_path / "cards"
    given = [str(finished.bundle_dir), scan, "--out", str(out), "--cards", str(cards)]
    assert predict(given) == 0
    (card,) = [path for path in cards.iterdir() if path.name != "group.html"]
    assert "no record of which regions carry it" in card.read_text()
    assert "Regions of the largest effects" not in card.read_text()
    (tmp_path / "file").write_text("")
    assert predict([*given[:-1], str(tmp_path / "file")]) == 2
    assert "found a file; accepted: a folder" in capsys.readouterr().err


def test_bundle_that_is_not_signed_is_not_explained_where_it_has_to_be(explained, scan, tmp_path):
    key = tmp_path / "lab.pub.pem"
    half = ed25519.Ed25519PrivateKey.generate().public_key()
    key.write_bytes(half.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    given = [str(explained), scan, "--out", str(tmp_path / "out"), "--require-signature", str(key)]
    assert main(given) == 2
    assert not (tmp_path / "out").exists()
