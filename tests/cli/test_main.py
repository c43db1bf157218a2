import errno
import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import pytest

from puna.cli import main
from puna.cli.error import UserError
from puna.cli.main import VERBS, user_message

# The programs started here find the package where this test found it, installed or not.
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(main.__file__).parents[2])}
PROGRAM = """
import sys
from puna.cli.main import app

try:
    app(sys.argv[1:])
except SystemExit as ended:
    assert ended.code == 0, ended.code
print(*sys.modules, file=sys.stderr)
"""


def imported(*arguments: str) -> set[str]:
    """The modules that a run of the program imports."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=60, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_help_imports_neither_torch_nor_a_verb() -> None:
    modules = imported("--help")
    heavy = {"torch", "rich", "numpy", "transformers", "fastapi", "uvicorn", "PIL", "tokenizers", "huggingface_hub"}
    assert "typer" in modules
    assert not modules & heavy
    assert not {f"puna.cli.{verb}" for verb in VERBS} & modules


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_imports_that_verb_alone_and_no_torch(verb: str) -> None:
    modules = imported(verb, "--help")
    assert modules & {f"puna.cli.{other}" for other in VERBS} == {f"puna.cli.{verb}"}
    assert not modules & {"torch", "transformers", "fastapi"}


def test_help_is_fast() -> None:
    def run() -> float:
        start = perf_counter()
        subprocess.run([sys.executable, "-m", "puna", "--help"], check=True, capture_output=True, env=ENVIRONMENT)
        return perf_counter() - start

    # About 0.1 s on an idle machine; the bound leaves room for a busy one, where torch alone takes seconds.
    assert min(run() for _ in range(3)) < 0.6


def test_help_lists_every_verb(puna) -> None:
    for arguments in (["--help"], ["-h"], []):
        outcome = puna(*arguments)
        assert outcome.code == 0
        assert all(verb in outcome.out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_the_summary_in_the_list_is_the_verbs_own_first_line(puna, verb: str) -> None:
    assert " ".join(VERBS[verb].split()[:6]) in puna(verb, "--help").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["shw"], "Did you mean 'show'?"),
        (["--colour"], "No such option: --colour"),
        (["show"], "Missing argument"),
        (["show", "scout", "--jsn"], "puna show --help"),
        (["show", "llama5"], "no model is called 'llama5'"),
        (["serve", "--port", "99999"], "--port"),
        (["serve", "--model", "no/such/dir"], "no such directory"),
        (["chat", "--temperature", "warm"], "temperature"),
        (["chat", "llama5"], "puna chat scout-nano llama5"),
        (["convert", "scout", "out"], "do not come with puna"),
        (["train", "nothing.py"], "nothing.py"),
    ],
)
def test_a_mistake_is_one_line_on_standard_error(puna, tmp_path, monkeypatch, arguments: list[str], words: str) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = puna(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert words in outcome.err


def test_puna_debug_shows_the_traceback() -> None:
    command = [sys.executable, "-m", "puna", "show", "llama5"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT | {"PUNA_DEBUG": "1"})
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "UserError" in done.stderr


def test_only_mistakes_of_the_user_lose_their_traceback() -> None:
    from puna.config import ConfigError

    assert user_message(UserError("no")) == "no"
    assert user_message(ConfigError("no")) == "no"
    assert user_message(FileNotFoundError(errno.ENOENT, "No such file or directory", "a.json")) == "a.json: No such file or directory"
    for bug in (ValueError("deep"), KeyError("x"), AssertionError("y"), OSError("without a reason")):
        assert user_message(bug) is None


def test_a_closed_pipe_ends_quietly() -> None:
    command = [sys.executable, "-m", "puna", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_the_version_is_printed(puna) -> None:
    outcome = puna("--version")
    assert outcome.code == 0
    assert outcome.out.startswith("puna")
