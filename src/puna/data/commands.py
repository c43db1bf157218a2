"""Shell commands of the tldr pages (CC-BY-4.0) as questions and answers in 12 languages: what to type, and what a program does.

Only programs that most people at a shell know, and only commands short enough to remember. Knows no tokens.
"""

import random
import re
from functools import cache
from typing import NamedTuple

from puna.data import ask_text
from puna.data.languages import LANGUAGES
from puna.data.text import rows, split_of

_SOURCE = "tldr_12"
_PLATFORMS = ("common", "linux")
_PROGRAMS = frozenset(
    (
        "ls cd pwd cp mv rm mkdir rmdir touch cat head tail less more grep egrep find locate sed awk sort uniq wc cut tr diff cmp "
        "paste split tee xargs tar zip unzip gzip gunzip bzip2 xz chmod chown chgrp ln stat file du df free ps top htop kill "
        "killall pkill jobs bg fg nohup sleep watch time uname hostname whoami who id groups passwd sudo su useradd date cal "
        "uptime echo printf history alias which whereis type man env export exit clear ssh scp sftp rsync curl wget ping "
        "traceroute netstat ip ifconfig dig nslookup telnet nano vim emacs git-add git-branch git-checkout git-clone git-commit "
        "git-diff git-fetch git-init git-log git-merge git-pull git-push git-rebase git-remote git-reset git-stash git-status "
        "git-switch git-tag git-config git docker docker-ps docker-run npm node pip python make gcc g++ cargo go java javac apt "
        "apt-get systemctl crontab mount umount dd md5sum sha256sum base64 bc seq factor yes shuf rev tac nl fold jq ffmpeg tmux "
        "screen tree reboot shutdown lsblk fdisk cowsay figlet sl fortune "
    ).split()
)
_MAX_TASK, _MAX_COMMAND = 90, 50
_EXAMPLE = re.compile(r"^- (?P<task>.+?):?\s*\n\n`(?P<command>[^`]+)`", re.MULTILINE)
_ABOUT = re.compile(r"^> (?P<about>.+)$", re.MULTILINE)


class Page(NamedTuple):
    """One program in one language: what it does, and (task, command) pairs."""

    language: str
    program: str
    about: str
    examples: tuple[tuple[str, str], ...]


def read_page(language: str, text: str) -> Page | None:
    """A tldr page's parts; None where it says nothing that fits."""
    title = text.partition("\n")[0].removeprefix("# ").strip()
    about = next((match["about"].strip() for match in _ABOUT.finditer(text)), "")
    examples = []
    for match in _EXAMPLE.finditer(text):
        task = match["task"].strip().rstrip(":：").strip().replace("`", "")
        command = re.sub(r"\{\{(.*?)\}\}", r"\1", match["command"]).strip()
        # A placeholder in the reader's language is fine; a menu of options in brackets, or a pointer to another page, is not.
        if (
            not command.startswith("tldr ")
            and len(task) <= _MAX_TASK
            and len(command) <= _MAX_COMMAND
            and not re.search(r"[\[\]{}|<>]", command)
        ):
            examples.append((task, command))
    if not examples or not about or not title or len(title) > 20:
        return None
    about = about.replace("`", "")
    return Page(language, title, about if len(about) <= 120 and "http" not in about else "", tuple(examples))


@cache
def pages(split: str = "train") -> dict[str, tuple[Page, ...]]:
    """The chosen pages of each language."""
    found: dict[str, list[Page]] = {language: [] for language in LANGUAGES}
    for row in rows(_SOURCE):
        platform, _, name = row["key"].removesuffix(".md").partition("/")
        is_wanted = row["lang"] in found and platform in _PLATFORMS and name in _PROGRAMS
        if is_wanted and split_of(_SOURCE, row["key"]) == split and (page := read_page(row["lang"], row["text"])):
            found[row["lang"]].append(page)
    return {language: tuple(entries) for language, entries in found.items()}


def command_turns(rng: random.Random, language: str) -> list[tuple[str, str]]:
    """One or two commands of one program, or what the program does."""
    page = rng.choice(pages()[language])
    turns = [
        (rng.choice(ask_text.ASK_COMMAND[language]).format(command=page.program, task=task), command)
        for task, command in rng.sample(page.examples, min(len(page.examples), rng.choice((1, 1, 2))))
    ]
    if page.about and rng.random() < 0.25:
        turns[0] = (ask_text.ASK_PROGRAM[language].format(command=page.program), page.about)
    return turns
