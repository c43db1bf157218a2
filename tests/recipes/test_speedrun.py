"""The whole road at toy size, in a process of its own: raw files, data, tower, training, weights, questions. The only test of it all."""

import json
import os
import subprocess
import sys
from pathlib import Path

from puna.testing.mirror import write_mirror

ROOT = Path(__file__).parents[2]


def test_the_speedrun_takes_every_step_from_raw_files_to_answers(tmp_path: Path) -> None:
    manifest = write_mirror(tmp_path / "mirror")
    environment = os.environ | {
        "PUNA_DATA_MIRROR": str(tmp_path / "mirror"),
        "PUNA_DATA_MANIFEST": str(manifest),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "puna", "train", "recipes/speedrun.py", "--out", str(tmp_path / "run"), "--set", "size=micro"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    lines = json.loads((tmp_path / "run" / "speedrun.json").read_text())
    stages = ["words", "first names", "pictures", "chat tuning"]
    assert [line["phase"] for line in lines] == ["data", "see", *stages, "train", "naming", "counting", "video-way", "sums", "stopping"]
    assert not any("expected" in line for line in done.stderr.splitlines())  # what is expected is expected of the larger size
    weights = tmp_path / "run" / "scout-nano"
    assert (weights / "config.json").is_file() and (weights / "tokenizer.json").is_file() and list(weights.glob("*.safetensors"))
    again = subprocess.run([*command, "--resume"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert again.returncode == 0 and "warming up" not in again.stderr and "tok/s" not in again.stderr  # what is done is not done again
