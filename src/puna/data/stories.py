"""Very short stories put together from parts so that few are alike: in simple English, and in four languages that bend no names. [ours]

A story has a hero, a place, a wish or a trouble, a helper, and an end; each slot has several wordings. Knows no chat rows.
"""

# Tables of phrases read best one row a line.
# ruff: noqa: E501

import random

from puna.data.emoji import inventory
from puna.data.english import with_article

HEROES: tuple[str, ...] = (
    "cat", "dog", "mouse", "cow", "tiger", "rabbit", "dragon", "crocodile", "whale", "snail", "snake", "horse", "goat", "monkey", "rooster",
    "pig", "elephant", "ant", "bee", "ladybug", "fish", "turtle", "bird", "penguin", "koala", "camel", "dolphin", "frog", "wolf", "bear",
    "panda", "crab", "lion", "unicorn", "eagle", "duck", "bat", "shark", "owl", "fox", "butterfly", "deer", "giraffe", "zebra", "hedgehog",
    "kangaroo", "llama", "peacock", "parrot", "swan", "flamingo", "spider", "sheep", "robot", "ghost",
)  # fmt: skip
_NAMES = "Tom Lily Max Anna Ben Mia Sam Nina Leo Zoe Pip Luna Oscar Ruby Finn Bella Otto Daisy Milo Rosa".split()
_SIZES = ("little", "small", "young", "kind", "clever", "brave", "shy", "happy", "old")
_PLACES = (
    "in a green forest", "near a big river", "on a high mountain", "by the sea", "on a small farm", "in a quiet village", "under a tall tree",
    "in a warm desert", "on a small island", "in a big garden",
)  # fmt: skip
_THINGS = (
    "ball",
    "hat",
    "key",
    "red balloon",
    "book",
    "drum",
    "bell",
    "apple",
    "gift",
    "umbrella",
    "star",
    "ring",
    "guitar",
    "candle",
    "flower",
)
_FOODS = ("bread", "a banana", "an apple", "a carrot", "a big cake", "some cheese", "a pear", "a cookie", "some strawberries", "a potato")
_MORALS = (
    "It is good to help each other.", "Friends make every day better.", "A kind word is never lost.", "It is good to share.",
    "Small friends can do big things.", "Never give up.", "It is brave to ask for help.",
)  # fmt: skip
_ENDS = ("They were happy.", "And they played until the sun went down.", "That night they slept very well.", "From that day on, they were best friends.",
         "They laughed and went home.", "Everyone was happy again.")  # fmt: skip
_OPENINGS = ("Once upon a time there was {a_hero} called {name}.", "There was once {a_hero}. Its name was {name}.", "Long ago, {a_hero} called {name} lived {place}.",
             "{name} was {a_hero}.", "One day {a_hero} called {name} woke up early.")  # fmt: skip


def _lost(rng: random.Random, name: str, friend: str, friend_name: str) -> list[str]:
    thing = rng.choice(_THINGS)
    return [
        rng.choice((f"{name} had {with_article(thing)} and loved it very much.", f"{name} had a new {thing}.")),
        rng.choice((f"One morning the {thing} was gone.", f"But one day the {thing} was lost.")),
        rng.choice((f"{name} was very sad and began to cry.", f"{name} looked everywhere but could not find it.")),
        f'{friend_name} the {friend} saw this and said, "I will help you."',
        rng.choice(
            (
                f"They looked under the bed, and there was the {thing}!",
                f"They found the {thing} behind a big stone.",
                f"The {thing} was up in a tree.",
            )
        ),
    ]


def _hungry(rng: random.Random, name: str, friend: str, friend_name: str) -> list[str]:
    food = rng.choice(_FOODS)
    return [
        rng.choice((f"{name} was very hungry.", f"{name} had nothing to eat.")),
        rng.choice((f"So {name} went for a walk to find some food.", f"{name} looked for food all day.")),
        rng.choice((f"On the way {name} met {friend_name} the {friend}.", f"Then {friend_name} the {friend} came by.")),
        f"{friend_name} had {food}.",
        rng.choice((f'"Let us share it," said {friend_name}.', f'"You can have half," said {friend_name}.')),
        "They sat down and ate together.",
    ]


def _afraid(rng: random.Random, name: str, friend: str, friend_name: str) -> list[str]:
    fear = rng.choice(("the dark", "the rain", "the big river", "loud noises", "the wind", "high places"))
    return [
        f"{name} was afraid of {fear}.",
        rng.choice((f"One day {friend_name} the {friend} came to visit.", f"{name} had a friend, {friend_name} the {friend}.")),
        rng.choice((f'"Do not be afraid," said {friend_name}. "I am with you."', f'"Take my hand," said {friend_name}.')),
        rng.choice((f"{name} took one small step, and then another.", f"{name} closed both eyes and counted to three.")),
        rng.choice((f"Now {name} was not afraid any more.", f'"It is not so bad!" said {name}.')),
    ]


def _race(rng: random.Random, name: str, friend: str, friend_name: str) -> list[str]:
    return [
        f"{name} met {friend_name} the {friend}.",
        rng.choice((f'"I am faster than you," said {friend_name}.', f'"Let us have a race," said {friend_name}.')),
        rng.choice(("They ran to the big tree.", "They ran around the lake.", "They ran over the hill.")),
        rng.choice((f"{friend_name} ran so fast that {friend_name} fell.", f"{friend_name} stopped to sleep.")),
        rng.choice((f"{name} did not laugh. {name} stopped and helped.", f"{name} came first, but waited for {friend_name}.")),
    ]


def _rain(rng: random.Random, name: str, friend: str, friend_name: str) -> list[str]:
    return [
        rng.choice(("Dark clouds came and it began to rain.", "In the afternoon it rained and rained.")),
        rng.choice((f"{name} had no umbrella and was wet and cold.", f"{name} ran to find a dry place.")),
        f"{friend_name} the {friend} had a small house.",
        rng.choice((f'"Come in!" said {friend_name}. "It is warm here."', f"{friend_name} opened the door and smiled.")),
        rng.choice(("They drank tea and told stories.", "After the rain they saw a beautiful rainbow.")),
    ]


_PLOTS = (_lost, _hungry, _afraid, _race, _rain)


def story(rng: random.Random, hero: str | None = None) -> str:
    """A story of five to eight sentences about `hero`."""
    hero = hero or rng.choice(HEROES)
    name, friend_name = rng.sample(_NAMES, 2)
    friend = rng.choice([other for other in HEROES if other != hero])
    a_hero = with_article(f"{rng.choice(_SIZES)} {hero}")
    lines = [rng.choice(_OPENINGS).format(a_hero=a_hero, name=name, place=rng.choice(_PLACES))]
    lines += rng.choice(_PLOTS)(rng, name, friend, friend_name)
    lines.append(rng.choice(_ENDS))
    if rng.random() < 0.3:
        lines.append(rng.choice(_MORALS))
    return " ".join(lines)


# Languages without articles, cases and agreement of number: any animal can be put in as it stands. Korean particles follow the last sound.
_TALES: dict[str, tuple[str, ...]] = {
    "id": (
        "Dahulu kala, ada seekor {hero} yang tinggal di hutan.|Di sebuah desa kecil, ada seekor {hero} yang baik hati.",
        "Pada suatu hari, {hero} itu bertemu dengan seekor {friend}.|Suatu pagi, seekor {friend} datang berkunjung.",
        "{friend_} itu lapar, dan {hero} itu memberinya makan.|{friend_} itu tersesat, dan {hero} itu menunjukkan jalan.|Mereka bermain bersama sampai sore.",
        "Sejak hari itu, mereka menjadi sahabat.|Mereka pulang dengan gembira.",
    ),
    "ja": (
        "昔々、森に{hero}が住んでいました。|ある小さな村に、やさしい{hero}がいました。",
        "ある日、{hero}は{friend}に会いました。|ある朝、{friend}が遊びに来ました。",
        "{friend}はお腹がすいていたので、{hero}は食べ物を分けてあげました。|{friend}は道に迷っていたので、{hero}は道を教えてあげました。|ふたりは夕方まで一緒に遊びました。",
        "その日から、ふたりは友達になりました。|ふたりはにこにこして家に帰りました。",
    ),
    "ko": (
        "옛날 옛적에 숲속에 {hero} 한 마리가 살았습니다.|어느 작은 마을에 마음씨 착한 {hero} 한 마리가 있었습니다.",
        "어느 날, 그 길에서 {friend} 한 마리를 만났습니다.|어느 날 아침, {friend} 한 마리가 놀러 왔습니다.",
        "배고픈 친구에게 먹을 것을 나누어 주었습니다.|길을 잃은 친구에게 길을 가르쳐 주었습니다.|둘은 저녁까지 함께 놀았습니다.",
        "그날부터 둘은 친구가 되었습니다.|둘은 웃으며 집으로 돌아갔습니다.",
    ),
    "zh": (
        "从前，森林里住着一只{hero}。|在一个小村子里，有一只善良的{hero}。",
        "有一天，{hero}遇见了一只{friend}。|一天早上，一只{friend}来做客。",
        "{friend}饿了，{hero}就把食物分给它吃。|{friend}迷路了，{hero}就给它指路。|它们一起玩到了傍晚。",
        "从那天起，它们成了好朋友。|它们高高兴兴地回家了。",
    ),
}
# Animals that Chinese counts with 只 and Indonesian with "ekor".
_TALE_HEROES = "🐈🐕🐁🐅🐇🐌🐒🐝🐢🐦🐧🐨🐸🐻🐼🦁🦆🦉🦊🦋🦔🦜🐜🐑"


def short_story(rng: random.Random, language: str) -> str:
    """A story of four sentences in Indonesian, Japanese, Korean or Chinese about two animals."""
    by_char = {emoji.char: emoji.names[language] for emoji in inventory().values()}
    hero, friend = rng.sample([by_char[char] for char in _TALE_HEROES], 2)
    lines = [rng.choice(slot.split("|")) for slot in _TALES[language]]
    told = ("" if language in ("ja", "zh") else " ").join(lines)
    return told.format(hero=hero, friend=friend, friend_=friend[0].upper() + friend[1:])
