import builtins
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from puna.cli.chat import split_words
from puna.cli.conversation import Conversation
from puna.cli.error import UserError
from puna.presets import preset
from puna.stream import Image, Message, Text, ToolCall, Video
from puna.testing.pictures import encoded, noise_picture
from puna.testing.videos import gif, mp4


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "llama.png"
    path.write_bytes(encoded(noise_picture(20, 30)))
    return path


@pytest.fixture
def talk(puna, install, monkeypatch):
    """Types `lines` into `puna chat`; an exception among them happens at the prompt."""

    def run(pipeline, *lines: str | type[BaseException], arguments: tuple[str, ...] = ()):
        install("puna.pipeline", load=lambda name: pipeline)
        waiting: Iterator[str | type[BaseException]] = iter([*lines, EOFError])

        def read_line(prompt: str) -> str:
            line = next(waiting)
            if isinstance(line, str):
                return line
            raise line

        monkeypatch.setattr(builtins, "input", read_line)
        return puna("chat", *arguments, stdin=None)

    return run


@pytest.fixture
def ask(puna, install):
    """`puna chat` with a question as its argument or through a pipe."""

    def run(pipeline, *arguments: str, stdin: bytes = b""):
        install("puna.pipeline", load=lambda name: pipeline)
        return puna("chat", *arguments, stdin=stdin)

    return run


def said(messages: list[Message]) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in messages]


def test_a_question_as_an_argument_is_answered_once(ask, scripted) -> None:
    pipeline = scripted([["A lla", "ma."]])
    outcome = ask(pipeline, "What is it?")
    assert outcome == (0, "A llama.\n", "")
    assert said(pipeline.asked[0][0]) == [("user", "What is it?")]


def test_a_question_through_a_pipe_is_answered_once(ask, scripted) -> None:
    pipeline = scripted([["Yes."]])
    assert ask(pipeline, stdin="Is a llama a camélid?\n".encode()) == (0, "Yes.\n", "")
    assert said(pipeline.asked[0][0]) == [("user", "Is a llama a camélid?")]


def test_argument_and_pipe_are_put_together(ask, scripted) -> None:
    pipeline = scripted([["Done."]])
    ask(pipeline, "scout-nano", "Summarise", "this:", stdin=b"A long text.\n")
    assert said(pipeline.asked[0][0]) == [("user", "Summarise this:\n\nA long text.")]


def test_options_reach_the_pipeline(ask, scripted) -> None:
    pipeline = scripted([["Ok."]])
    options = ["--max-tokens", "7", "--temperature", "0.5", "--top-p", "0.9", "--seed", "3", "--system", "Be brief."]
    ask(pipeline, "Say something.", *options)
    messages, given = pipeline.asked[0]
    assert given == {"max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "seed": 3}
    assert said(messages) == [("system", "Be brief."), ("user", "Say something.")]


def test_the_model_named_is_the_one_loaded(puna, install, tmp_path, scripted) -> None:
    loaded = []
    install("puna.pipeline", load=lambda name: loaded.append(name) or scripted([["Hi."]]))
    for words in (["Hello there"], ["maverick-nano", "Hello"], [str(tmp_path), "Hello"]):
        assert puna("chat", *words).code == 0
    assert loaded == ["scout-nano", "maverick-nano", str(tmp_path)]


def test_one_word_that_is_no_model_is_not_taken_for_a_question() -> None:
    assert split_words([]) == ("scout-nano", None)
    assert split_words(["scout"]) == ("scout", None)
    assert split_words(["two words", "more"]) == ("scout-nano", "two words more")
    with pytest.raises(UserError, match="puna chat scout-nano hello"):
        split_words(["hello"])


def test_pictures_by_option_and_by_path_are_sent_with_the_question(ask, picture: Path, scripted) -> None:
    pipeline = scripted([["Noise."]])
    outcome = ask(pipeline, f"what is in {picture} ?", "--image", str(picture))
    assert (outcome.code, outcome.out) == (0, "Noise.\n")
    parts = pipeline.asked[0][0][0].content
    assert [type(part) for part in parts] == [Image, Text, Image, Text]
    assert np.array_equal(parts[0].tiles, parts[2].tiles)


def test_paths_in_piped_text_are_never_opened(ask, picture: Path, scripted) -> None:
    pipeline = scripted([["Ok."]])
    ask(pipeline, stdin=f"look at {picture}".encode())
    assert [type(part) for part in pipeline.asked[0][0][0].content] == [Text]


def test_an_answer_cut_by_max_tokens_says_so_on_standard_error(ask, scripted) -> None:
    outcome = ask(scripted([["A lla"]], finish_reason="length"), "What is it?")
    assert (outcome.code, outcome.out) == (0, "A lla\n")
    assert "cut at --max-tokens" in outcome.err


@pytest.mark.parametrize(
    ("stdin", "words"),
    [(b"", "standard input is empty"), (b"  \n", "standard input is empty"), (b"caf\xe9", "not UTF-8")],
)
def test_a_pipe_without_a_question_is_a_mistake(ask, stdin: bytes, words: str, scripted) -> None:
    outcome = ask(scripted([]), stdin=stdin)
    assert (outcome.code, outcome.out) == (2, "")
    assert words in outcome.err


def test_a_picture_that_cannot_be_read_is_a_mistake(ask, tmp_path: Path, scripted) -> None:
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    for path, words in [("bad.png", "not a PNG, JPEG, WebP or GIF"), ("none.png", "No such file")]:
        outcome = ask(scripted([]), "What is it?", "--image", str(tmp_path / path))
        assert (outcome.code, outcome.err.count("\n")) == (2, 1)
        assert words in outcome.err


def test_a_model_without_eyes_refuses_pictures(ask, picture: Path, scripted) -> None:
    from dataclasses import replace

    blind = scripted([], config=replace(preset("scout-nano"), vision=None))
    assert "no vision tower" in ask(blind, "What is it?", "--image", str(picture)).err


def test_a_conversation_keeps_its_history_until_cleared(talk, scripted) -> None:
    pipeline = scripted([["One."], ["Two."], ["Three."]])
    outcome = talk(pipeline, "first", "second", "/clear", "third", arguments=("--system", "Count."))
    assert outcome.code == 0
    assert "One.\n" in outcome.out and "Three.\n" in outcome.out
    assert said(pipeline.asked[1][0]) == [("system", "Count."), ("user", "first"), ("assistant", "One."), ("user", "second")]
    assert said(pipeline.asked[2][0]) == [("system", "Count."), ("user", "third")]


def test_quit_leaves_and_help_lists_every_command(talk, scripted) -> None:
    outcome = talk(scripted([]), "/help", "/quit", "never read")
    assert (outcome.code, outcome.out) == (0, "")
    assert all(command in outcome.err for command in ("/image", "/video", "/clear", "/help", "/quit", "Ctrl-C", "Ctrl-D"))


def test_control_c_stops_the_answer_and_not_the_program(talk, scripted) -> None:
    pipeline = scripted([["Once upon", KeyboardInterrupt()], ["Fine."]])
    outcome = talk(pipeline, "Tell me a story.", "Thanks.")
    assert outcome.code == 0
    assert outcome.out.splitlines()[:2] == ["Once upon", "Fine."]
    assert "stopped" in outcome.err
    assert said(pipeline.asked[1][0]) == [("user", "Tell me a story."), ("assistant", "Once upon"), ("user", "Thanks.")]
    assert pipeline.closed == 2


def test_an_answer_stopped_before_its_first_word_leaves_no_trace(talk, scripted) -> None:
    pipeline = scripted([[KeyboardInterrupt()], ["Fine."]])
    talk(pipeline, "Tell me a story.", "Hello.")
    assert said(pipeline.asked[1][0]) == [("user", "Hello.")]


def test_control_c_at_the_prompt_does_not_leave(talk, scripted) -> None:
    pipeline = scripted([["Still here."]])
    outcome = talk(pipeline, KeyboardInterrupt, "Hello.")
    assert "Still here." in outcome.out
    assert "Ctrl-D leaves" in outcome.err


def test_control_c_in_a_single_answer_ends_with_130(ask, scripted) -> None:
    outcome = ask(scripted([["Once", KeyboardInterrupt()]]), "Tell me a story.")
    assert (outcome.code, outcome.out) == (130, "Once\n")


def test_an_error_in_a_conversation_is_one_line_and_changes_nothing(talk, tmp_path: Path, scripted) -> None:
    pipeline = scripted([["half", UserError("the context is full; /clear empties it")], ["Fine."]])
    outcome = talk(pipeline, "A very long question.", "/picture", "/image", "/video", f"/image {tmp_path}/none.png", "Hello.")
    assert outcome.code == 0
    errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert [
        words in error
        for words, error in zip(["context is full", "/picture", "/image needs", "/video needs", "No such file"], errors, strict=True)
    ] == [True] * 5
    assert said(pipeline.asked[1][0]) == [("user", "Hello.")]


def test_a_bug_in_a_conversation_is_not_hidden(puna, install, monkeypatch, scripted) -> None:
    install("puna.pipeline", load=lambda name: scripted([[KeyError("lost")]]))
    monkeypatch.setattr(builtins, "input", lambda prompt: "Hello.")
    with pytest.raises(KeyError, match="lost"):
        puna("chat", stdin=None)


def test_an_attached_picture_goes_with_the_next_line_only(talk, picture: Path, scripted) -> None:
    pipeline = scripted([["Noise."], ["Yes."]])
    outcome = talk(pipeline, f"/image {picture}", "What is it?", "Really?")
    assert "picture of one tile" in outcome.err
    assert [type(part) for part in pipeline.asked[0][0][-1].content] == [Image, Text]
    assert [type(part) for part in pipeline.asked[1][0][-1].content] == [Text]
    assert pipeline.asked[1][0][0] == pipeline.asked[0][0][0]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "llama.mp4"
    path.write_bytes(mp4())
    return path


@pytest.mark.parametrize("command", ["/video", "/image"])
def test_an_attached_video_goes_with_the_next_line_only(talk, video: Path, scripted, command: str) -> None:
    pipeline = scripted([["It moves."], ["Yes."]])
    outcome = talk(pipeline, f"{command} {video}", "What is it?", "Really?")
    assert f"{video}: video, 5 frames from 0 to 2.0 s, goes with your next line" in outcome.err
    assert [type(part) for part in pipeline.asked[0][0][-1].content] == [Video, Text]
    assert [type(part) for part in pipeline.asked[1][0][-1].content] == [Text]


def test_videos_by_option_and_by_path_are_sent_with_the_question(ask, video: Path, picture: Path, tmp_path: Path, scripted) -> None:
    (tmp_path / "moves.gif").write_bytes(gif())
    pipeline = scripted([["It moves."]])
    outcome = ask(pipeline, f"what is in {tmp_path}/moves.gif ?", "--video", str(video), "--image", str(picture), "--video", str(video))
    assert (outcome.code, outcome.out) == (0, "It moves.\n")
    assert [type(part) for part in pipeline.asked[0][0][0].content] == [Video, Image, Video, Text, Video, Text]


def test_a_video_that_cannot_be_read_is_a_mistake(ask, tmp_path: Path, scripted) -> None:
    (tmp_path / "cut.mp4").write_bytes(mp4()[:-400])
    (tmp_path / "text.mp4").write_bytes(b"not a video")
    for name, words in [("cut.mp4", "damaged, cut short or no video"), ("text.mp4", "a video is an mp4, mov or webm file")]:
        outcome = ask(scripted([]), "What is it?", "--video", str(tmp_path / name))
        assert (outcome.code, outcome.err.count("\n")) == (2, 1)
        assert words in outcome.err and name in outcome.err


def test_an_empty_line_asks_nothing(talk, scripted) -> None:
    pipeline = scripted([["Hi."]])
    talk(pipeline, "", "   ", "Hello.")
    assert len(pipeline.asked) == 1


def test_a_path_that_leads_nowhere_is_mentioned_and_sent_as_text(talk, scripted) -> None:
    pipeline = scripted([["Unknown."]])
    outcome = talk(pipeline, "what is none.png ?")
    assert "none.png: no such file" in outcome.err
    assert said(pipeline.asked[0][0]) == [("user", "what is none.png ?")]


def test_tool_calls_are_shown_and_kept(talk, scripted) -> None:
    call = ToolCall("weather", {"city": "La Paz"})
    pipeline = scripted([[call], ["Sunny."]])
    outcome = talk(pipeline, "How is the weather?", "And now?")
    assert "weather" in outcome.err and "La Paz" in outcome.err
    assert pipeline.asked[1][0][1] == Message("assistant", (), (call,))


def test_control_characters_of_an_answer_do_not_reach_a_terminal(talk, monkeypatch, scripted) -> None:
    pipeline = scripted([["tab\tline\n\x1b]0;owned\x07\x9b2J end"]])
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    outcome = talk(pipeline, "Hello.")
    assert "tab\tline\n\N{REPLACEMENT CHARACTER}]0;owned" in outcome.out
    assert not set("\x1b\x07\x9b") & set(outcome.out)


def test_a_failed_answer_keeps_the_pictures_that_wait(picture: Path, scripted) -> None:
    pipeline = scripted([[UserError("too long")], ["Noise."]])
    conversation = Conversation(pipeline)
    conversation.attach(picture)
    with pytest.raises(UserError):
        conversation.ask((Text("What is it?"),), lambda text: None)
    assert len(conversation.waiting) == 1
    conversation.ask((Text("What is it?"),), lambda text: None)
    assert conversation.waiting == []


def test_a_real_model_answers_with_a_picture_and_a_video(puna, picture: Path, video: Path, tmp_path: Path) -> None:
    from puna.checkpoint import save_model
    from puna.testing.models import tiny_model
    from puna.testing.tokenizer import byte_tokenizer

    model = save_model(tiny_model(seed=0), tmp_path / "tiny", byte_tokenizer(), storage="fp32")
    outcome = puna("chat", str(model), "What is it?", "--image", str(picture), "--video", str(video), "--max-tokens", "5")
    assert outcome.code == 0, outcome.err
    assert outcome.out.endswith("\n")
    outcome = puna("chat", str(model), "What is it? " * 500)  # longer than the tiny model's context
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
