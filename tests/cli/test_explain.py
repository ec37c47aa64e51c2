import json

import pandas as pd
import pytest


@pytest.fixture
def explain(finished_run, biosae):
    """Runs `biosae explain` on the finished run."""
    run, _ = finished_run
    return lambda *words: biosae("explain", f"experiment.root={run.parents[1]}", *words)


def test_examples_go_out_and_descriptions_come_back(explain, finished_run, tmp_path):
    code, said = explain("explain.export=out.jsonl", "explain.features=[3,7]", "explain.n_examples=4")
    assert code == 0, said
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["feature"] for line in lines] == [3, 7] and len(lines[0]["top"]) == 4
    assert all(len(sample["genes"]) == 15 and sample["reads"] for sample in lines[0]["top"])
    questions = [json.loads(line) for line in (tmp_path / "out.questions.jsonl").read_text().splitlines()]
    (tmp_path / "said.csv").write_text("feature,description\n3,Fires in B cells that express CD74\n7,unclear\n")
    asked = questions[0]["samples"]
    rows = "".join(f"3,{sample['sample']},{n}\n" for n, sample in enumerate(asked))
    (tmp_path / "answers.csv").write_text("feature,sample,prediction\n" + rows)
    code, said = explain("explain.descriptions=said.csv", "explain.answers=answers.csv")
    assert code == 0, said
    scored = pd.read_csv(finished_run[0] / "descriptions.csv", index_col="feature")
    assert scored.loc[3, "understood"] == "B;CD74" and scored.loc[7, "fidelity"] == 0
    assert scored.loc[3, "n_answers"] == 4 and pd.isna(scored.loc[7, "n_answers"])
    assert {"null_fidelity", "name_of_biosae", "fidelity_of_biosae"} <= set(scored.columns)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to do: give explain.export"),
        (
            ["explain.export=x.jsonl", "explain.features=[5000]"],
            "explain.features must be between 0 and 1023",
        ),
        (["explain.descriptions=none.csv"], "none.csv cannot be read as CSV"),
        (["explain.export=x.jsonl", "explain.n_examples=0"], "explain.n_examples must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_done_is_one_line(explain, words, message):
    code, said = explain(*words)
    assert code == 1 and message in said
