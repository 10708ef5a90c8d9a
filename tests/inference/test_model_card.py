from fmnet.inference.model_card import model_card

KNOWN = {
    "model": "small CNN", "verdict": "Small CNN: AUC 0.80 [0.70, 0.90], above chance.",
    "red": [f"Column {n} tells the groups apart." for n in range(7)],
    "amber": ["The groups differ in sex.", "x" * 300],
    "auc": 0.8, "auc_ci": [0.7, 0.9], "n_candidates": 2,
    "auc_corrected": 0.76, "auc_corrected_ci": [0.64, 0.87], "p": 0.0204,
    "p_of": "the largest AUC among the small CNN and the linear SVM",
    "n_permutations": 99, "n_subjects": 9, "n_positive": 4, "n_negative": 5, "n_scans": 10,
    "calibration": {"slope": 2.5, "sentence": "Stated for 50 %."},
}  # fmt: skip

SENTENCE = "NEGATIVE CONTROL: labels were shuffled before anything else."


def test_control_stands_in_bold_at_the_top(bundle):
    training = bundle.metadata["training"] | {"control": SENTENCE}
    lines = model_card(bundle.metadata | {"training": training}).splitlines()
    assert lines[2] == f"**{SENTENCE}**"
    assert lines[4].startswith("**Trained on synthetic data")


def test_without_control_nothing_is_said_of_one(bundle):
    training = bundle.metadata["training"] | {"control": "", "origin": ""}
    lines = model_card(bundle.metadata | {"training": training}).splitlines()
    assert lines[2] == "## What is known of it"


def test_each_model_is_said_to_have_reached_its_own_figures(bundle, chosen):
    for metadata, title, own in (
        (bundle.metadata, "small CNN", "network"),
        (chosen.bundle.metadata, "linear SVM", "linear_svm"),
    ):
        card, figures = model_card(metadata), metadata["training"]["crossvalidation"][own]
        assert f"Out of fold the {title} reaches AUC {figures['auc']:.2f} [" in card
        assert card.count("(this model)") == 1
        assert f"| {title} (this model) | {figures['auc']:.2f} [" in card


def test_models_of_runs_that_give_no_titles_are_named_as_they_are(bundle):
    training = {key: value for key, value in bundle.metadata["training"].items() if key != "titles"}
    assert "| linear_svm | " in model_card(bundle.metadata | {"training": training})


def test_what_the_choice_does_to_the_figures_is_said(bundle, chosen):
    metadata = chosen.bundle.metadata
    assert "chosen among 2 models by these same folds, its AUC is" in model_card(metadata)
    before = metadata["training"] | {"chosen": {}}
    assert "best of 2 models by these same folds" in model_card(metadata | {"training": before})
    assert "The small CNN, exported because model=network was asked for." in model_card(
        bundle.metadata
    )
    assert "optimistic" not in model_card(bundle.metadata)


def test_input_of_series_says_what_is_given_and_what_is_done_to_it(series_export):
    bundle = series_export.bundle
    card = model_card(bundle.metadata, bundle.contract)
    assert (
        "A preprocessed BOLD run of task rest in MNI152NLin2009cAsym space with fMRIPrep's "
        "confounds, repetition time 2 s; any grid. Several runs of a session make one scan." in card
    )
    assert "voxels and cleaned of drift and 6 motion parameters, band-pass filtered" in card
    assert "The model reads the cleaned series, the runs joined in time, in windows of 40" in card
    assert "coverage, scale or head motion gets no score" in card
    assert "maps that are made" not in card


def test_input_of_maps_from_runs_names_the_maps(maps_export):
    bundle = maps_export.bundle
    card = model_card(bundle.metadata, bundle.contract)
    assert (
        "The model reads maps that are made of all runs (temporal_sd, alff), not smoothed." in card
    )
    assert "series" not in card


def test_input_of_maps_says_nothing_of_runs_or_motion(bundle):
    card = model_card(bundle.metadata, bundle.contract)
    assert "One map per contrast (pressure, visual), statistic " in card
    assert "training people in scale, smoothness, positive values, " in card
    assert "head motion" not in card
    assert "run" not in card.split("## Input")[1].split("## Model")[0]


def test_names_of_groups_and_contrasts_steer_neither_terminals_nor_viewers(bundle):
    training = bundle.metadata["training"] | {"positive": "FM\x1b]0;x\x07\n# <script>"}
    wanted = bundle.metadata["input"] | {"contrasts": ["pain<rest", "\u202evisual"]}
    card = model_card(bundle.metadata | {"training": training, "input": wanted})
    assert card.startswith(r"# Signature: FM\x1b]0;x\x07\n# &lt;script> against HC" "\n")
    assert r"(pain&lt;rest, \u202evisual)" in card
    assert all(line.isprintable() for line in card.splitlines())


def known_of(bundle, evidence):
    card = model_card(bundle.metadata | {"evidence": evidence})
    return card.split("## What is known of it")[1].split("## Intended use")[0]


def test_what_is_known_stands_before_all_else_and_no_red_finding_is_dropped(bundle):
    known = known_of(bundle, KNOWN)
    assert "**Verdict of the study:** Small CNN: AUC 0.80 [0.70, 0.90], above chance." in known
    assert "**7 red findings**, which may explain the result without the brain" in known
    assert all(f"\n- {text}\n" in known for text in KNOWN["red"])
    assert "\n- The groups differ in sex.\n" in known
    assert f"\n- {'x' * 200}…\n" in known
    assert (
        "95 % interval over people: 0.80 [0.70, 0.90], corrected for its choice among 2 models "
        "0.76 [0.64, 0.87]." in known
    )
    assert (
        "p = 0.020 (the largest AUC among the small CNN and the linear SVM; 99 permutations)"
        in known
    )
    assert "9 people (4 FM, 5 HC), 10 scans" in known
    assert "\n- Stated for 50 %.\n" in known


def test_what_a_run_did_not_record_is_said(bundle):
    little = {"n_subjects": 9, "n_scans": 9, "auc": 0.8, "n_candidates": 2}
    known = known_of(bundle, little | {"p_of": "not tested by permutation"})
    assert "**Verdict of the study:** not recorded" in known
    assert "**Red findings not recorded**." in known
    assert "0.80, not corrected for its choice among 2 models." in known
    assert "Permutation test: not tested by permutation." in known
    assert "9 people (how many of each group is not recorded)" in known
    assert "For which groups probabilities are stated is not recorded." in known
    metadata = {name: value for name, value in bundle.metadata.items() if name != "evidence"}
    assert "What is known of the signature is not recorded.\n" in model_card(metadata)


def test_findings_steer_neither_terminals_nor_viewers(bundle):
    text = "\x1b[31m\n# age ![x](http://a/b.png) <img> tells"
    known = known_of(bundle, KNOWN | {"red": [text], "verdict": text, "p_of": text})
    assert known.count(r"\x1b[31m\n# age ![x]&#40;http://a/b.png) &lt;img> tells") == 3
    assert all(line.isprintable() for line in known.splitlines())


def test_pretrained_cnn_is_named_with_its_weights_and_what_it_learned_on(bundle):
    card = model_card(bundle.metadata)
    assert "pretrained" not in card
    shares = {"prior": 0.4, "focal": 0.6}
    facts = {"sha256": "ab12", "network": "UNet", "n_parameters": 285123, "record": {}}
    training = bundle.metadata["training"] | {"path_shares": shares, "pretrained": facts}
    card = model_card(bundle.metadata | {"training": training})
    assert "a pretrained CNN wrote 40 % of the score." in card
    assert (
        "The CNN is UNet of MONAI with 285,123 parameters, pretrained by gradient on simulated "
        "cohorts (SHA-256 of its weights: ab12); it read group statistics of the training" in card
    )
    assert "took no gradient step on their scans" in card
    training["pretrained"] = facts | {"adapted_steps": [50, 100]}
    card = model_card(bundle.metadata | {"training": training})
    assert "and took 50 or 100 gradient steps on their scans without the labels: on" in card
