"""`puna chat`: a conversation in the terminal, or one answer when the question comes as an argument or through a pipe.

Standard output carries what the model says and nothing else; notices go to standard error. What a model says is printed with its
control characters made visible on a terminal, because an answer may contain anything.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from puna.cli.conversation import Answer, Conversation
from puna.cli.error import UserError
from puna.cli.line import Found, read_command, split_line, written_path
from puna.cli.models import is_model, refuse_unknown
from puna.cli.progress import working
from puna.stream import Image, Part, Text, Video

DEFAULT_MODEL = "scout-nano"
HELP = """\
  /image PATH   attach a picture to your next line; a path dropped into a line works too
  /video PATH   attach a video: mp4, webm, GIF or WebP
  /clear        forget the conversation
  /help         this list
  /quit         leave (Ctrl-D does the same); Ctrl-C stops an answer"""
# C0 and C1 controls but for newline and tab: an escape sequence could repaint or reprogram the terminal.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def chat(
    model: Annotated[
        str | None, typer.Argument(help=f"A model's name or directory (default: {DEFAULT_MODEL}).", show_default=False)
    ] = None,
    prompt: Annotated[list[str] | None, typer.Argument(help="A question to answer once.", show_default=False)] = None,
    image: Annotated[
        list[Path] | None, typer.Option("--image", "--video", help="A picture or a video for the first question; may be repeated.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="The system prompt.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="The most tokens of one answer.")] = 256,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 always takes the likeliest token.")] = 0.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0, help="Sample among the likeliest tokens that reach this probability.")] = 1.0,
    seed: Annotated[int | None, typer.Option(help="Makes a sampled answer repeatable.")] = None,
) -> None:
    """Talk to a model in the terminal, with pictures and videos.

    A question given as an argument or through a pipe is answered once, and the program ends.
    """
    name, question = split_words([] if model is None else [model, *(prompt or [])])
    piped = None if sys.stdin is not None and sys.stdin.isatty() else _read_pipe(required=question is None)
    for text in (question, system):
        _refuse_broken_text(text)
    with working(f"loading {name}"):
        import puna.pipeline

        pipeline = puna.pipeline.load(name)
    options = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
    conversation = Conversation(pipeline, system, options)
    for path in image or []:
        conversation.attach(path)
    if question is not None or piped is not None:
        answer_once(conversation, question, piped)
    else:
        talk(conversation, input)


def split_words(words: list[str]) -> tuple[str, str | None]:
    """(model, question). The first word names the model, unless it has spaces in it: then it is the question's beginning."""
    if not words:
        return DEFAULT_MODEL, None
    first, rest = words[0], words[1:]
    if is_model(first):
        return first, " ".join(rest) if rest else None
    if " " not in first.strip():
        raise UserError(
            f"{refuse_unknown(first)}; if {first!r} is your question, name the model before it: puna chat {DEFAULT_MODEL} {first}"
        )
    return DEFAULT_MODEL, " ".join(words)


def answer_once(conversation: Conversation, prompt: str | None, piped: str | None) -> None:
    """One question, one answer. Paths of pictures and videos are looked for in `prompt` alone: piped text may come from anyone."""
    parts = [*(read_parts(conversation, prompt) if prompt is not None else [])]
    if piped is not None:
        parts.append(Text(f"\n\n{piped}" if parts else piped))
    answer = conversation.ask(parts, writer())
    print()
    if answer.finish_reason == "length":
        _notice(_ending(answer))
    if answer.finish_reason == "stopped":
        raise KeyboardInterrupt


def talk(conversation: Conversation, read_line: Callable[[str], str]) -> None:
    """Reads lines and answers them until /quit or the end of input."""
    _enable_line_editing()
    _notice(f"{conversation.pipeline.name}: /help lists the commands, Ctrl-C stops an answer, Ctrl-D leaves")
    while True:
        try:
            line = read_line("> ")
            if not _handle(conversation, line):
                return
        except KeyboardInterrupt:
            print()
            _notice("/quit or Ctrl-D leaves")
        except EOFError:
            print()
            return
        except (ValueError, OSError) as error:
            from puna.cli.main import user_message

            message = user_message(error)
            if message is None:
                raise
            _notice(f"error: {message}")


def _handle(conversation: Conversation, line: str) -> bool:
    """False when the line says to leave."""
    command = read_command(line)
    if command is None:
        _answer(conversation, line)
        return True
    if command.name in ("quit", "exit"):
        return False
    if command.name == "help":
        _notice(HELP)
    elif command.name == "clear":
        conversation.clear()
        _notice("forgotten")
    elif command.name in ("image", "video"):
        if not command.argument:
            example = "a picture: /image llama.png" if command.name == "image" else "a video: /video llama.mp4"
            raise UserError(f"/{command.name} needs the path of {example}")
        path = written_path(command.argument)
        seen = conversation.attach(path)
        _notice(f"{path}: {_described(seen)}, goes with your next line")
    else:
        raise UserError(f"no command is called /{command.name}; /help lists them")
    return True


def _answer(conversation: Conversation, line: str) -> None:
    _refuse_broken_text(line)
    parts = read_parts(conversation, line)
    if not parts and not conversation.waiting:
        return
    answer = conversation.ask(parts, writer())
    print()
    _notice(_ending(answer))


def read_parts(conversation: Conversation, line: str) -> list[Part]:
    """The line with the pictures and videos named in it. A path that looks like one but leads nowhere stays text, and is mentioned."""
    parts: list[Part] = []
    for piece in split_line(line):
        if isinstance(piece, str):
            parts.append(Text(piece))
        elif piece.exists:
            seen = conversation.look(piece.path)
            parts.append(seen)
            _notice(f"{piece.path}: {_described(seen)}")
        else:
            _notice(_missing(piece))
    return parts


def writer() -> Callable[[str], None]:
    """Writes pieces of text to standard output at once."""
    shown: Callable[[str], str] = _harmless if sys.stdout.isatty() else str

    def write(text: str) -> None:
        sys.stdout.write(shown(text))
        sys.stdout.flush()

    return write


def _harmless(text: str) -> str:
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def _ending(answer: Answer) -> str:
    calls = "".join(f"calls {call.name}({dict(call.arguments)}), " for call in answer.tool_calls)
    speed = f"{answer.tokens} tokens, {answer.tokens / max(answer.seconds, 1e-9):.0f} a second"
    ends = {"length": "; cut at --max-tokens", "stopped": "; stopped"}
    return f"[{calls}{speed}{ends.get(answer.finish_reason or '', '')}]"


def _described(seen: Image | Video) -> str:
    if isinstance(seen, Video):
        frames, seconds = len(seen.timestamps), seen.timestamps[-1]
        return f"video, {frames} frames from 0 to {seconds:.1f} s" if frames > 1 else "video of one frame"
    return f"picture of {seen.grid[0]} x {seen.grid[1]} tiles" if len(seen.tiles) > 1 else "picture of one tile"


def _missing(found: Found) -> str:
    return f"{found.path}: no such file; taken as text"


def _read_pipe(required: bool) -> str | None:
    try:
        text = "" if sys.stdin is None else sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"the piped text is not UTF-8 (byte {error.start}: {error.reason}); convert it first") from error
    if text.strip():
        return text.strip()
    if required:
        raise UserError('standard input is empty and no question was given; type puna chat in a terminal, or puna chat "your question"')
    return None


def _refuse_broken_text(text: str | None) -> None:
    """Bytes that are not UTF-8 reach us as lone surrogates, which no tokenizer takes."""
    try:
        (text or "").encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(f"the text is not UTF-8 (character {error.start}); set a UTF-8 locale or convert it") from error


def _enable_line_editing() -> None:
    """Arrow keys and a history of lines, where Python has readline; without it, lines are typed plainly."""
    try:
        import readline  # noqa: F401
    except ImportError:
        return


def _notice(text: str) -> None:
    sys.stdout.flush()
    dim, plain = ("\x1b[2m", "\x1b[0m") if sys.stderr.isatty() else ("", "")
    print(f"{dim}{_harmless(text)}{plain}", file=sys.stderr)
