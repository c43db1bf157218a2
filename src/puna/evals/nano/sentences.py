"""Translation of held-out sentences into and out of English, scored by chrF (character n-grams; sacrebleu's)."""

from typing import Any

from puna.data import ask_text, prose
from puna.data.languages import LANGUAGE_NAMES, LANGUAGES
from puna.evals.ask import Answerer, replies
from puna.evals.score import question_rng
from puna.stream import Message, Text

_MAX_TOKENS = 80


class ChrfMissing(RuntimeError):
    """sacrebleu is not installed."""


def chrf(said: list[str], expected: list[str]) -> float:
    """Corpus chrF, 0 to 100."""
    try:
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        raise ChrfMissing("chrF needs sacrebleu: pip install 'puna[evals]'") from error
    return float(CHRF().corpus_score(said, [expected]).score)


def held_out_sentences(each: int = 10) -> list[tuple[str, str, str, str]]:
    """(source, target, text, translation): `each` from English into each language and as many back, or as many as there are."""
    found = []
    for other in LANGUAGES[1:]:
        for source, target in (("en", other), (other, "en")):
            passages = prose.pairs(source, target, "held_out")
            chosen = question_rng(f"sentences {source} {target}", 0).sample(passages, min(each, len(passages)))
            found += [(source, target, passage[source], passage[target]) for passage in chosen]
    return found


def sentences(answerer: Answerer, scale: float = 1.0) -> dict[str, Any]:
    """chrF of all, of each direction, and of a reply that only repeats the source: the score of having translated nothing."""
    asked = held_out_sentences(max(1, round(10 * scale)))
    texts = [
        ask_text.ASK_TRANSLATE[source][0].format(text=text, language=LANGUAGE_NAMES[source][target]) for source, target, text, _ in asked
    ]
    said = [reply.text for reply in replies(answerer, [[Message("user", (Text(text),))] for text in texts], _MAX_TOKENS, "sentences")]
    by_direction: dict[str, list[int]] = {}
    for place, (source, target, _, _) in enumerate(asked):
        by_direction.setdefault(f"{source}-{target}", []).append(place)

    def score(places: list[int]) -> float:
        return round(chrf([said[place] for place in places], [asked[place][3] for place in places]), 2)

    everything = list(range(len(asked)))
    return {
        "task": "sentences",
        "chrf": score(everything),
        "chrf_of_copying": round(chrf([text for _, _, text, _ in asked], [expected for *_, expected in asked]), 2),
        "total": len(asked),
        "by_direction": {direction: score(places) for direction, places in by_direction.items()},
        "misses": [(text, row[3], answer) for text, row, answer in zip(texts, asked, said, strict=True)][::6],
    }
