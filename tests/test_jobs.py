"""The SLURM scripts, with stand-ins for the programs they call: what they type, and that biosae understands it."""

import os
import subprocess
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from biosae.cli.config.schema import register

JOBS = sorted((Path(__file__).parents[1] / "jobs").glob("*.sh"))
LOGS = """#!/bin/bash
for word in "$@"; do
    case $word in -m | biosae | --* | torchrun) ;; *) printf '%s ' "$word" ;; esac
done >> log
echo >> log
"""
TRAINS = """#!/bin/bash
biosae "$@"
if [[ " $* " == *" train "* ]]; then mkdir -p "$MADE" && touch "$MADE/run.json"; fi
if [[ " $* " == *" features "* ]]; then exit "$STATUS"; fi
"""
WORDS = {"train_gpus": ["experiment.root=here", "buffer.cache=scratch"]}


def typed(job, folder, *words, task=0, status=0):
    """Exit code of a job, and each command of biosae that it types, as a list of words."""
    for name, script in {"biosae": LOGS, "srun": TRAINS}.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    (folder / "log").write_text("")
    slurm = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_JOB_ID": "7", "SLURM_GPUS_ON_NODE": "8"}
    own = {"PATH": f"{folder}:{os.environ['PATH']}", "STATUS": str(status), "MADE": str(folder / "here/gpus-7/Jan1")}
    done = subprocess.run(["bash", job, *words], cwd=folder, env=os.environ | slurm | own)
    return done.returncode, [line.split() for line in (folder / "log").read_text().splitlines()]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_what_a_job_types_composes(job, tmp_path):
    subprocess.run(["bash", "-n", job], check=True)
    code, commands = typed(job, tmp_path, *WORDS.get(job.stem, ()))
    assert code == 0
    assert commands
    register()
    with initialize_config_module("biosae.cli.config", version_base="1.3"):
        for command, *words in commands:
            compose(command, overrides=words)


@pytest.mark.parametrize("name", ["k_sweep", "layer_sweep"])
def test_tasks_of_an_array_differ_in_one_setting_and_share_an_experiment(name, tmp_path):
    (job,) = [job for job in JOBS if job.stem == name]
    tasks = [typed(job, tmp_path, task=task)[1] for task in range(4)]
    settings = [tuple(command) for ((*command,),) in tasks]
    assert len(set(settings)) == 4
    assert {words[1] for words in settings} == {f"experiment.number={name}"}
    assert len({tuple(word.partition("=")[0] for word in words) for words in settings}) == 1


def test_a_requeued_job_of_all_gpus_does_not_train_again(tmp_path):
    (job,) = [job for job in JOBS if job.stem == "train_gpus"]
    code, first = typed(job, tmp_path, *WORDS["train_gpus"], "seed=1", status=1)
    assert code != 0
    assert [words[0] for words in first] == ["train", "features"]
    code, again = typed(job, tmp_path, *WORDS["train_gpus"], "seed=1")
    assert code == 0
    assert [words[0] for words in again] == ["features", "analyze", "report"]
    assert all(set(WORDS["train_gpus"]) < set(words) and "seed=1" not in words for words in again)
