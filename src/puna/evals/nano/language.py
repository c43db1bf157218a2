"""Whether a free question is answered in its own language, well formed, and whether a list is the list that was asked for.

The language of an answer is told by its script; among the six languages in Latin letters by py3langid, which knows none of our texts.
"""

# Tables of phrases read best one row a line.
# ruff: noqa: E501

import re
import unicodedata
from collections import Counter
from functools import cache
from typing import Any

from puna.data import ask_text, formats
from puna.data.languages import LANGUAGES
from puna.evals.ask import Answerer, replies
from puna.evals.nano.replies import is_well_formed
from puna.evals.score import MAX_MISSES, Score, normalised, part, question_rng, score_of
from puna.stream import Message, Text

_LATIN = ("en", "es", "fr", "de", "pt", "id")
_SCRIPTS = {"CYRILLIC": "ru", "ARABIC": "ar", "DEVANAGARI": "hi", "HANGUL": "ko", "HIRAGANA": "ja", "KATAKANA": "ja"}
# Below so many letters the identifier is not sure: "Berlin." may be anything.
_SURE_LETTERS, _POSSIBLE = 20, 0.05

# Written by somebody who had not seen the training's cards; each language has its own. [ours]
OPEN_QUESTIONS: dict[str, tuple[str, ...]] = {
    "en": (
        "How do I keep my houseplants from drying out in summer?",
        "I feel nervous about my first day at work tomorrow.",
        "Is it better to run in the morning or the evening?",
        "My cat keeps scratching the sofa, what should I do?",
        "Why does bread go stale so quickly?",
        "Do you think people should work from home more often?",
        "I finally finished painting my kitchen today!",
        "What should I pack for a weekend of camping?",
        "Explain to me how a refrigerator stays cold.",
        "My brother and I argue about everything lately.",
        "Tell me what makes a good teammate.",
        "It has been raining here all week.",
    ),
    "es": (
        "¿Qué me aconsejas para dormir mejor por la noche?",
        "Hoy me salió la tortilla demasiado salada.",
        "¿Es mejor la playa o la montaña para descansar?",
        "No sé qué regalarle a mi abuela por su cumpleaños.",
        "¿Por qué los perros mueven la cola?",
        "Explícame cómo se forma un arcoíris.",
        "Acabo de mudarme y todavía no conozco a mis vecinos.",
        "¿Cómo puedo aprender a nadar si me da miedo el agua?",
        "¿Vale la pena comprar una bicicleta para ir al trabajo?",
        "Dame algunas ideas para aprovechar el pan duro.",
        "Mi hijo no quiere hacer los deberes, ¿qué hago?",
        "¡Qué calor hace hoy, no puedo concentrarme!",
    ),
    "fr": (
        "Comment réussir une pâte à crêpes sans grumeaux ?",
        "J'ai envie de changer de métier, mais j'hésite beaucoup.",
        "Pourquoi l'eau de mer est-elle salée ?",
        "Vaut-il mieux voyager seul ou avec des amis ?",
        "Mon chien a peur de l'orage, que puis-je faire ?",
        "Donne-moi quelques conseils pour mieux gérer mon budget.",
        "Je me suis disputé avec ma sœur hier soir.",
        "À ton avis, les devoirs à la maison sont-ils utiles ?",
        "Explique-moi simplement à quoi servent les abeilles.",
        "Ce matin, j'ai couru pour la première fois depuis longtemps.",
        "Que faire à la maison un dimanche de pluie ?",
        "Je bois trop de café, comment en boire moins ?",
    ),
    "de": (
        "Wie bekomme ich einen Rotweinfleck aus dem Teppich?",
        "Ich habe heute überhaupt keine Lust zu arbeiten.",
        "Was ist gesünder, Schwimmen oder Radfahren?",
        "Warum schnurren Katzen eigentlich?",
        "Kannst du mir erklären, wie Ebbe und Flut entstehen?",
        "Meine Tochter kommt bald in die Schule.",
        "Findest du es besser, zur Miete zu wohnen?",
        "Ich möchte im Frühling einen kleinen Gemüsegarten anlegen.",
        "Was kann ich mit übrig gebliebenen Kartoffeln kochen?",
        "Wie finde ich in einer neuen Stadt schnell Freunde?",
        "Draußen liegt endlich Schnee, ich freue mich so!",
        "Nenne mir gute Gründe, öfter mit dem Zug zu fahren.",
    ),
    "pt": (
        "Como faço um arroz bem soltinho?",
        "Estou com saudade dos meus amigos da faculdade.",
        "O que você acha de viajar na baixa temporada?",
        "Por que os gatos dormem tanto?",
        "É melhor estudar de manhã ou à noite?",
        "Meu chefe não me escuta nas reuniões, o que devo fazer?",
        "Quero aprender a jogar vôlei, por onde começo?",
        "Me explica por que o mar é salgado.",
        "Hoje o céu amanheceu todo cinzento por aqui.",
        "Que lanche leve posso levar para o trabalho?",
        "Passei a tarde inteira cuidando dos meus sobrinhos.",
        "Me dê dicas para deixar de roer as unhas.",
    ),
    "ru": (
        "Как перестать откладывать дела на потом?",
        "Сегодня я впервые сам испёк яблочный пирог.",
        "Почему птицы улетают на юг осенью?",
        "Посоветуй, чем заняться с детьми на даче.",
        "Кого лучше завести: кошку или собаку?",
        "Мне трудно вставать рано зимой.",
        "Как правильно варить гречневую кашу?",
        "Объясни простыми словами, что такое инфляция.",
        "Мы с мужем собираемся летом на озеро.",
        "Нужно ли делать зарядку каждый день?",
        "Коллега постоянно опаздывает, и меня это раздражает.",
        "Какие качества важны для хорошего учителя?",
    ),
    "ar": (
        "كيف أنظم وقتي قبل الامتحانات؟",
        "أشعر بالملل كثيرًا في عطلة نهاية الأسبوع.",
        "ما رأيك في العيش بعيدًا عن المدينة؟",
        "لماذا يستطيع الجمل تحمل العطش طويلًا؟",
        "أيهما أفضل في الصباح، الشاي أم القهوة؟",
        "انصحني بطريقة سهلة لتحضير حساء العدس.",
        "سيزورنا جدي غدًا ونحن سعداء جدًا.",
        "اشرح لي كيف تتكون الكثبان الرملية.",
        "كيف أختار حذاءً مناسبًا للمشي الطويل؟",
        "أخطط لافتتاح متجر صغير مع صديقي.",
        "هل شرب الماء أثناء الأكل مضر؟",
        "هبّت عاصفة ترابية اليوم ولم أخرج من البيت.",
    ),
    "hi": (
        "चाय को ज़्यादा स्वादिष्ट कैसे बनाया जाए?",
        "आज मेरा मन पढ़ाई में बिल्कुल नहीं लग रहा।",
        "बरसात में कपड़े जल्दी कैसे सुखाएँ?",
        "क्या बच्चों को रोज़ खेलना चाहिए?",
        "मुझे नई नौकरी मिली है और मैं बहुत खुश हूँ।",
        "रेल से यात्रा करना अच्छा है या बस से?",
        "मोर अपने पंख क्यों फैलाता है?",
        "समझाइए कि पौधे अपना भोजन कैसे बनाते हैं।",
        "मेरी छोटी बहन मुझसे नाराज़ है, क्या करूँ?",
        "क्रिकेट में अच्छा गेंदबाज़ बनने के लिए क्या करूँ?",
        "अगले महीने हम पहाड़ों पर घूमने जा रहे हैं।",
        "पैसे बचाने के कुछ आसान तरीके बताइए।",
    ),
    "id": (
        "Bagaimana cara membuat sambal yang tidak terlalu pedas?",
        "Aku gugup karena besok harus presentasi di depan kelas.",
        "Kenapa nyamuk suka menggigit manusia?",
        "Menurutmu, lebih enak tinggal di desa atau di kota?",
        "Tolong jelaskan mengapa gunung bisa meletus.",
        "Motorku mogok lagi pagi ini, kesal sekali rasanya.",
        "Olahraga apa yang cocok untuk orang yang sibuk?",
        "Saya ingin berhenti begadang, ada saran?",
        "Sebutkan beberapa manfaat berkebun di rumah.",
        "Bagaimana cara merawat ikan hias di akuarium kecil?",
        "Liburan nanti keluargaku mau pergi ke pantai.",
        "Apakah bekerja sambil kuliah itu ide yang bagus?",
    ),
    "ja": (
        "お弁当のおかずは何がいいと思いますか。",
        "最近、仕事が忙しくて疲れています。",
        "桜はどうして春に咲くのですか。",
        "部屋をきれいに保つコツを教えてください。",
        "温泉に行くなら、夏と冬のどちらがいいですか。",
        "初めて一人暮らしをするので少し不安です。",
        "うちの犬が散歩を嫌がるのはなぜでしょうか。",
        "地震が起きる仕組みを簡単に説明してください。",
        "部活と勉強を両立するにはどうすればいいですか。",
        "今日は風が強くて洗濯物が飛ばされました。",
        "週末に友達とお祭りに行くのが楽しみです。",
        "寝る前にスマホを見るのはよくないですか。",
    ),
    "ko": (
        "김치찌개를 더 맛있게 끓이려면 어떻게 해야 하나요?",
        "요즘 회사에 가기 싫어서 고민이에요.",
        "혼자 영화를 보는 것에 대해 어떻게 생각하세요?",
        "등산을 처음 하는데 무엇을 준비해야 할까요?",
        "고양이가 밤마다 울어서 잠을 못 자요.",
        "천둥이 번개보다 늦게 들리는 이유를 설명해 주세요.",
        "시험을 망쳐서 너무 속상해요.",
        "계단 오르기와 걷기 중 어느 쪽이 더 좋아요?",
        "부모님 결혼기념일에 무엇을 해 드리면 좋을까요?",
        "장마철에 신발 냄새를 없애는 방법이 있을까요?",
        "내년에는 악기를 하나 배워 볼 생각이에요.",
        "친구와 여행할 때 싸우지 않는 방법을 알려 주세요.",
    ),
    "zh": (
        "怎样包饺子才不会煮破？",
        "我最近总是忘记带钥匙。",
        "你觉得养宠物麻烦吗？",
        "为什么夏天会有蝉叫？",
        "坐高铁和坐飞机哪个更方便？",
        "请解释一下月亮为什么有圆有缺。",
        "孩子不爱吃蔬菜，怎么办？",
        "我打算下个月开始学游泳。",
        "第一次去同事家做客要注意什么？",
        "今天外面雾很大，路都看不清。",
        "说说打乒乓球有什么好处。",
        "和室友作息不一样，我很烦恼。",
    ),
}  # fmt: skip


class LanguageUnknown(RuntimeError):
    """The language identifier is not installed."""


@cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise LanguageUnknown("telling languages apart needs py3langid: pip install 'puna[evals]'") from error
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(_LATIN))
    return identifier


def languages_of(text: str) -> tuple[str, ...]:
    """The languages of ours that `text` may be in: one for a sentence, several for a word or two, all for numbers and signs alone."""
    scripts = Counter(unicodedata.name(letter, "?").split()[0] for letter in text if letter.isalpha())
    if not scripts:
        return LANGUAGES
    japanese = scripts["HIRAGANA"] + scripts["KATAKANA"] + scripts["KATAKANA-HIRAGANA"]  # the last is the mark of a long vowel
    if scripts["CJK"] + japanese > scripts.total() / 2:
        # Kana is Japanese; ideographs alone are Chinese, unless they are so few that they may be one Japanese word.
        return ("ja",) if japanese else ("zh", "ja") if scripts["CJK"] <= 4 else ("zh",)
    script, count = scripts.most_common(1)[0]
    if script in _SCRIPTS and count > scripts.total() / 2:
        return (_SCRIPTS[script],)
    if scripts["LATIN"] <= scripts.total() / 2:
        return ()
    ranked = _identifier().rank(text)
    if scripts["LATIN"] >= _SURE_LETTERS:
        return (ranked[0][0],)
    return tuple(language for language, probability in ranked if probability >= _POSSIBLE)


def prompts() -> list[tuple[str, str]]:
    """(language, question): the open questions, and two that ask for a story."""
    return [(language, text) for language in LANGUAGES for text in (*OPEN_QUESTIONS[language], *ask_text.ASK_ANY_STORY[language])]


def asked_language(answerer: Answerer, scale: float = 1.0) -> Score:
    """Share of answers that end by themselves, are well formed, and are in the language of the question. Groups: the language."""
    asked = part(prompts(), scale)
    said = replies(answerer, [[Message("user", (Text(text),))] for _, text in asked], 200, "asked-language")
    results, misses = [], []
    for (language, text), reply in zip(asked, said, strict=True):
        is_right = is_well_formed(*reply) and language in languages_of(reply.text)
        results.append((language, is_right))
        if not is_right:
            misses.append((text, f"a well-formed reply in {language}", f"[{reply.finish_reason}] {reply.text[:120]}"))
    return score_of("asked-language", results, misses[:MAX_MISSES])


def is_listed(said: str, members: tuple[str, ...], number: int, form: str) -> bool:
    """Whether `said` lists `number` different members, in one line ("line"), one per line ("lines"), or numbered ("numbered")."""
    if form == "line":
        parts = re.split(r"[,،、]\s*", said.strip())
    else:
        parts = said.strip().split("\n")
    if form == "numbered":
        if [part.partition(". ")[0] for part in parts] != [str(place) for place in range(1, number + 1)]:
            return False
        parts = [part.partition(". ")[2] for part in parts]
    named = {normalised(part) for part in parts}
    return len(parts) == number == len(named) and named <= set(map(normalised, members))


def lists(answerer: Answerer, total: int = 180) -> Score:
    """Lists of three to five members of a group, in all languages. Groups: the form."""
    asked: list[tuple[str, tuple[str, ...], int, str]] = []
    for index in range(total):
        rng = question_rng("lists", index)
        language, form = LANGUAGES[index % len(LANGUAGES)], ("line", "lines", "numbered")[index // len(LANGUAGES) % 3]
        (name, members), number = rng.choice(formats.groups(language)), rng.randint(3, 5)
        asked.append((formats.list_question(rng, language, name, number, form), members, number, form))
    said = replies(answerer, [[Message("user", (Text(text),))] for text, *_ in asked], 60, "lists")
    results, misses = [], []
    for (text, members, number, form), reply in zip(asked, said, strict=True):
        is_right = reply.finish_reason == "stop" and is_listed(reply.text, members, number, form)
        results.append((form, is_right))
        if not is_right:
            misses.append((text, f"{number} of {', '.join(members[:8])}", reply.text[:120]))
    return score_of("lists", results, misses[:MAX_MISSES])
