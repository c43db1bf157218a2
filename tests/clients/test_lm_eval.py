"""lm-evaluation-harness against the shipped nano, as docs/clients.md calls it: a task of our own, answered by the prompt's scores."""

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

PAGE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text(encoding="utf-8")
QUESTIONS = [
    ("A llama is", ["an animal", "a kind of stone", "the number nine"], 0),
    ("The sky is", ["made of wood", "blue", "seventeen"], 1),
    ("Two and two are", ["a fish", "yesterday", "four"], 2),
    ("Birds can", ["fly", "read the", "boil into"], 0),
    ("At night it is", ["spoon", "dark", "of the of"], 1),
]
TASK = """
task: llamas
dataset_path: json
dataset_kwargs: {data_files: {test: QUESTIONS}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata: {version: 1.0}
"""


@pytest.fixture(scope="module")
def found(server: Any, puna: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The harness's results, and its samples."""
    folder = tmp_path_factory.mktemp("lm_eval")
    lines = [json.dumps({"question": question, "choices": choices, "answer": answer}) for question, choices, answer in QUESTIONS]
    (folder / "questions.jsonl").write_text("\n".join(lines))
    (folder / "llamas.yaml").write_text(TASK.replace("QUESTIONS", str(folder / "questions.jsonl")))
    offline = dict.fromkeys(("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"), "1")
    environment = {**os.environ, **offline, "HF_HOME": str(folder / "hf"), "OPENAI_API_KEY": server.key, "OMP_NUM_THREADS": "1"}
    (block,) = re.findall(r"```\n(puna convert.*?)```", PAGE, re.DOTALL)
    convert, evaluate = [shlex.split(line) for line in block.replace("\\\n", " ").replace("http://localhost:8000", server.url).splitlines()]
    assert (convert[0], evaluate[0], evaluate[evaluate.index("--tasks") + 1]) == ("puna", "lm_eval", "arc_easy")
    evaluate[evaluate.index("--tasks") + 1] = "llamas"
    ours = ["--include_path", str(folder), "--output_path", str(folder / "out"), "--log_samples"]
    for command in ([*puna, *convert[1:]], [sys.executable, "-m", *evaluate, *ours]):
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stderr[-3000:]
    (results,) = (folder / "out").rglob("results_*.json")
    (samples,) = (folder / "out").rglob("samples_llamas_*.jsonl")
    return json.loads(results.read_text()), [json.loads(line) for line in samples.read_text().splitlines()]


def test_every_question_is_scored_and_its_likeliest_answer_is_the_one_that_counts(found: Any) -> None:
    results, samples = found
    assert sorted(sample["doc"]["question"] for sample in samples) == sorted(question for question, _, _ in QUESTIONS)
    scores = [[float(score) for ((score, _),) in sample["resps"]] for sample in samples]
    right = [each.index(max(each)) == sample["doc"]["answer"] for each, sample in zip(scores, samples, strict=True)]
    assert results["results"]["llamas"]["acc,none"] == pytest.approx(sum(right) / len(right))


def test_the_scores_are_the_models(found: Any, server: Any) -> None:
    """Each choice's likelihood, as the harness has it, is the sum over its tokens behind the question's, the beginning of a text first."""

    def ask(path: str, **body: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{server.url}{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read())

    for sample in found[1]:
        question, choices = sample["doc"]["question"], sample["doc"]["choices"]
        before = ask("/tokenize", prompt=question)["count"]
        for choice, ((score, _),) in zip(choices, sample["resps"], strict=True):
            ids = ask("/tokenize", prompt=f"{question} {choice}")["tokens"]
            told = ask("/v1/completions", prompt=ids, echo=True, logprobs=0, max_tokens=0)["choices"][0]["logprobs"]["token_logprobs"]
            assert float(score) == pytest.approx(sum(told[before:]), abs=1e-3)
