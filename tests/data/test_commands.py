"""Command pages become questions whose answers can be typed."""

import random
from pathlib import Path

from puna.data.commands import command_turns, pages, read_page
from puna.data.languages import LANGUAGES

_PAGE = """# ls

> List `directory` contents.
> More information: <https://example.org/ls>.

- List files one per line:

`ls -1`

- List {{all}} kinds with a menu:

`ls [-a|--all] {{path}}`

- Show the original page:

`tldr ls`

- Sort by size:

`ls -lS {{path/to/directory}}`
"""


def test_a_page_gives_its_program_and_what_can_be_typed() -> None:
    page = read_page("en", _PAGE)
    assert page is not None and page.program == "ls" and page.about == "List directory contents."
    assert page.examples == (("List files one per line", "ls -1"), ("Sort by size", "ls -lS path/to/directory"))


def test_a_page_without_examples_is_none() -> None:
    assert read_page("en", "# ls\n\n> Lists.\n") is None


def test_every_language_has_commands_and_answers_begin_with_a_program(data: Path) -> None:
    for language in LANGUAGES:
        programs = {page.program for page in pages()[language]}
        assert programs == {"cat", "ls", "tar", "wc"}
        for index in range(20):
            for question, answer in command_turns(random.Random(index), language):
                assert answer and any(program in question for program in programs)
