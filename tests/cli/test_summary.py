from biosae.cli.summary import _labels, _tests


def test_a_label_without_tests_says_why_in_words():
    label = {"n_significant": 0, "n_features": 1024, "n_tests": 0, "untested": "each batch has one protocol only"}
    assert _tests("protocol", label) == (
        "whether a feature marks a protocol could not be tested: each batch has one protocol only"
    )
    tested = label | {"n_significant": 3, "n_tests": 2048, "untested": None}
    assert _tests("protocol", tested).startswith(
        "3 of 1,024 features mark a protocol at q < 0.05, corrected over 2,048"
    )


def test_samples_without_a_label_are_told_how_to_choose_one(capsys):
    _labels({"split": {}, "summary": {"genes": {}}})
    assert "no label was scored" in (said := "".join(capsys.readouterr())) and "data.label_keys=" in said
