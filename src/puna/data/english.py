"""The little English grammar that the drills need: articles and plurals of the inventory's names. [ours]"""

# Names that take no article and no number: "bread", "jeans".
MASS_OR_PLURAL: frozenset[str] = frozenset(
    "grapes|cherries|bread|french fries|sushi|ice cream|candy|garlic|popcorn|broccoli|fire|scissors|books|glasses|jeans|bacon|cheese|salt"
    "|ice|rice|corn|chocolate|honey|coffee|wine|beer|milk|spaghetti|peanuts|pancakes|headphones|skis|socks|gloves|sunglasses|soap"
    "|lightning|ping pong|bowling|fork and knife|bow and arrow|dice".split("|")
)
_UNIQUE = {"sun": "the sun"}
_IRREGULAR = {
    "mouse": "mice",
    "wolf": "wolves",
    "sheep": "sheep",
    "deer": "deer",
    "fish": "fish",
    "tooth": "teeth",
    "goose": "geese",
    "maple leaf": "maple leaves",
    "snowman": "snowmen",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "mango": "mangoes",
    "cactus": "cactuses",
    "volcano": "volcanoes",
    "octopus": "octopuses",
    "ostrich": "ostriches",
    "mosquito": "mosquitoes",
}


def plural(name: str) -> str:
    """More than one of `name`: "cats", "butterflies", "maple leaves"."""
    if name in MASS_OR_PLURAL:
        raise ValueError(f"{name!r} is not counted in English; choose a name outside MASS_OR_PLURAL")
    if name in _IRREGULAR:
        return _IRREGULAR[name]
    if name.endswith(("s", "x", "z", "ch", "sh")):
        return name + "es"
    if name.endswith("y") and name[-2] not in "aeiou":
        return name[:-1] + "ies"
    return name + "s"


def with_article(name: str) -> str:
    """`name` after "a" or "an", where English wants one."""
    if name in MASS_OR_PLURAL:
        return name
    if name in _UNIQUE:
        return _UNIQUE[name]
    # "unicorn" and "U" sound like "you".
    return f"an {name}" if name[0].lower() in "aeio" or name.startswith(("umbrella", "hourglass")) else f"a {name}"
