"""Capitals and continents of the inventory's countries in 12 languages, and how a country's name stands after "capital". [ours]

Countries whose capital is disputed, divided or lately moved have none here. Country names themselves are CLDR's, in the inventory.
"""

# Tables of names read best one row a line.
# ruff: noqa: E501

from functools import cache
from typing import NamedTuple

from puna.data.emoji import codes, inventory
from puna.data.languages import LANGUAGES

# Order of every row of capitals.
_WITH_CAPITAL = "FR DE ES IT PT GB US CA MX BR AR CL CO PE CU CN JP KR IN TH VN SA IR TR EG MA NG KE GR SE NP FI DK PL UA CZ CH AT BE NL IE RU AU PK PH BD HU IQ".split()
_CAPITALS: dict[str, str] = {
    "en": "Paris|Berlin|Madrid|Rome|Lisbon|London|Washington|Ottawa|Mexico City|Brasília|Buenos Aires|Santiago|Bogotá|Lima|Havana|Beijing|Tokyo|Seoul|New Delhi|Bangkok|Hanoi|Riyadh|Tehran|Ankara|Cairo|Rabat|Abuja|Nairobi|Athens|Stockholm|Kathmandu|Helsinki|Copenhagen|Warsaw|Kyiv|Prague|Bern|Vienna|Brussels|Amsterdam|Dublin|Moscow|Canberra|Islamabad|Manila|Dhaka|Budapest|Baghdad",
    "es": "París|Berlín|Madrid|Roma|Lisboa|Londres|Washington|Ottawa|Ciudad de México|Brasilia|Buenos Aires|Santiago|Bogotá|Lima|La Habana|Pekín|Tokio|Seúl|Nueva Delhi|Bangkok|Hanói|Riad|Teherán|Ankara|El Cairo|Rabat|Abuya|Nairobi|Atenas|Estocolmo|Katmandú|Helsinki|Copenhague|Varsovia|Kiev|Praga|Berna|Viena|Bruselas|Ámsterdam|Dublín|Moscú|Canberra|Islamabad|Manila|Daca|Budapest|Bagdad",
    "fr": "Paris|Berlin|Madrid|Rome|Lisbonne|Londres|Washington|Ottawa|Mexico|Brasilia|Buenos Aires|Santiago|Bogota|Lima|La Havane|Pékin|Tokyo|Séoul|New Delhi|Bangkok|Hanoï|Riyad|Téhéran|Ankara|Le Caire|Rabat|Abuja|Nairobi|Athènes|Stockholm|Katmandou|Helsinki|Copenhague|Varsovie|Kiev|Prague|Berne|Vienne|Bruxelles|Amsterdam|Dublin|Moscou|Canberra|Islamabad|Manille|Dacca|Budapest|Bagdad",
    "de": "Paris|Berlin|Madrid|Rom|Lissabon|London|Washington|Ottawa|Mexiko-Stadt|Brasília|Buenos Aires|Santiago|Bogotá|Lima|Havanna|Peking|Tokio|Seoul|Neu-Delhi|Bangkok|Hanoi|Riad|Teheran|Ankara|Kairo|Rabat|Abuja|Nairobi|Athen|Stockholm|Kathmandu|Helsinki|Kopenhagen|Warschau|Kiew|Prag|Bern|Wien|Brüssel|Amsterdam|Dublin|Moskau|Canberra|Islamabad|Manila|Dhaka|Budapest|Bagdad",
    "pt": "Paris|Berlim|Madri|Roma|Lisboa|Londres|Washington|Ottawa|Cidade do México|Brasília|Buenos Aires|Santiago|Bogotá|Lima|Havana|Pequim|Tóquio|Seul|Nova Délhi|Bangkok|Hanói|Riade|Teerã|Ancara|Cairo|Rabat|Abuja|Nairóbi|Atenas|Estocolmo|Katmandu|Helsinque|Copenhague|Varsóvia|Kiev|Praga|Berna|Viena|Bruxelas|Amsterdã|Dublin|Moscou|Camberra|Islamabad|Manila|Daca|Budapeste|Bagdá",
    "ru": "Париж|Берлин|Мадрид|Рим|Лиссабон|Лондон|Вашингтон|Оттава|Мехико|Бразилиа|Буэнос-Айрес|Сантьяго|Богота|Лима|Гавана|Пекин|Токио|Сеул|Нью-Дели|Бангкок|Ханой|Эр-Рияд|Тегеран|Анкара|Каир|Рабат|Абуджа|Найроби|Афины|Стокгольм|Катманду|Хельсинки|Копенгаген|Варшава|Киев|Прага|Берн|Вена|Брюссель|Амстердам|Дублин|Москва|Канберра|Исламабад|Манила|Дакка|Будапешт|Багдад",
    "ar": "باريس|برلين|مدريد|روما|لشبونة|لندن|واشنطن|أوتاوا|مكسيكو سيتي|برازيليا|بوينس آيرس|سانتياغو|بوغوتا|ليما|هافانا|بكين|طوكيو|سول|نيودلهي|بانكوك|هانوي|الرياض|طهران|أنقرة|القاهرة|الرباط|أبوجا|نيروبي|أثينا|ستوكهولم|كاتماندو|هلسنكي|كوبنهاغن|وارسو|كييف|براغ|برن|فيينا|بروكسل|أمستردام|دبلن|موسكو|كانبرا|إسلام آباد|مانيلا|دكا|بودابست|بغداد",
    "hi": "पेरिस|बर्लिन|मैड्रिड|रोम|लिस्बन|लंदन|वॉशिंगटन|ओटावा|मेक्सिको सिटी|ब्रासीलिया|ब्यूनस आयर्स|सैंटियागो|बोगोटा|लीमा|हवाना|बीजिंग|टोक्यो|सियोल|नई दिल्ली|बैंकॉक|हनोई|रियाद|तेहरान|अंकारा|काहिरा|रबात|अबुजा|नैरोबी|एथेंस|स्टॉकहोम|काठमांडू|हेलसिंकी|कोपेनहेगन|वारसॉ|कीव|प्राग|बर्न|वियना|ब्रसेल्स|एम्स्टर्डम|डबलिन|मॉस्को|कैनबरा|इस्लामाबाद|मनीला|ढाका|बुडापेस्ट|बगदाद",
    "id": "Paris|Berlin|Madrid|Roma|Lisboa|London|Washington|Ottawa|Kota Meksiko|Brasília|Buenos Aires|Santiago|Bogotá|Lima|Havana|Beijing|Tokyo|Seoul|New Delhi|Bangkok|Hanoi|Riyadh|Teheran|Ankara|Kairo|Rabat|Abuja|Nairobi|Athena|Stockholm|Kathmandu|Helsinki|Kopenhagen|Warsawa|Kyiv|Praha|Bern|Wina|Brussel|Amsterdam|Dublin|Moskwa|Canberra|Islamabad|Manila|Dhaka|Budapest|Bagdad",
    "ja": "パリ|ベルリン|マドリード|ローマ|リスボン|ロンドン|ワシントン|オタワ|メキシコシティ|ブラジリア|ブエノスアイレス|サンティアゴ|ボゴタ|リマ|ハバナ|北京|東京|ソウル|ニューデリー|バンコク|ハノイ|リヤド|テヘラン|アンカラ|カイロ|ラバト|アブジャ|ナイロビ|アテネ|ストックホルム|カトマンズ|ヘルシンキ|コペンハーゲン|ワルシャワ|キーウ|プラハ|ベルン|ウィーン|ブリュッセル|アムステルダム|ダブリン|モスクワ|キャンベラ|イスラマバード|マニラ|ダッカ|ブダペスト|バグダッド",
    "ko": "파리|베를린|마드리드|로마|리스본|런던|워싱턴|오타와|멕시코시티|브라질리아|부에노스아이레스|산티아고|보고타|리마|아바나|베이징|도쿄|서울|뉴델리|방콕|하노이|리야드|테헤란|앙카라|카이로|라바트|아부자|나이로비|아테네|스톡홀름|카트만두|헬싱키|코펜하겐|바르샤바|키이우|프라하|베른|빈|브뤼셀|암스테르담|더블린|모스크바|캔버라|이슬라마바드|마닐라|다카|부다페스트|바그다드",
    "zh": "巴黎|柏林|马德里|罗马|里斯本|伦敦|华盛顿|渥太华|墨西哥城|巴西利亚|布宜诺斯艾利斯|圣地亚哥|波哥大|利马|哈瓦那|北京|东京|首尔|新德里|曼谷|河内|利雅得|德黑兰|安卡拉|开罗|拉巴特|阿布贾|内罗毕|雅典|斯德哥尔摩|加德满都|赫尔辛基|哥本哈根|华沙|基辅|布拉格|伯尔尼|维也纳|布鲁塞尔|阿姆斯特丹|都柏林|莫斯科|堪培拉|伊斯兰堡|马尼拉|达卡|布达佩斯|巴格达",
}
# "the capital of France": whole forms where the name is bent or takes an article, in the order of _WITH_CAPITAL.
_OF: dict[str, str] = {
    "fr": "de la France|de l'Allemagne|de l'Espagne|de l'Italie|du Portugal|du Royaume-Uni|des États-Unis|du Canada|du Mexique|du Brésil|de l'Argentine|du Chili|de la Colombie|du Pérou|de Cuba|de la Chine|du Japon|de la Corée du Sud|de l'Inde|de la Thaïlande|du Viêt Nam|de l'Arabie saoudite|de l'Iran|de la Turquie|de l'Égypte|du Maroc|du Nigeria|du Kenya|de la Grèce|de la Suède|du Népal|de la Finlande|du Danemark|de la Pologne|de l'Ukraine|de la Tchéquie|de la Suisse|de l'Autriche|de la Belgique|des Pays-Bas|de l'Irlande|de la Russie|de l'Australie|du Pakistan|des Philippines|du Bangladesh|de la Hongrie|de l'Irak",
    "de": "von Frankreich|von Deutschland|von Spanien|von Italien|von Portugal|des Vereinigten Königreichs|der Vereinigten Staaten|von Kanada|von Mexiko|von Brasilien|von Argentinien|von Chile|von Kolumbien|von Peru|von Kuba|von China|von Japan|von Südkorea|von Indien|von Thailand|von Vietnam|von Saudi-Arabien|des Iran|der Türkei|von Ägypten|von Marokko|von Nigeria|von Kenia|von Griechenland|von Schweden|von Nepal|von Finnland|von Dänemark|von Polen|der Ukraine|von Tschechien|der Schweiz|von Österreich|von Belgien|der Niederlande|von Irland|von Russland|von Australien|von Pakistan|der Philippinen|von Bangladesch|von Ungarn|des Irak",
    "pt": "da França|da Alemanha|da Espanha|da Itália|de Portugal|do Reino Unido|dos Estados Unidos|do Canadá|do México|do Brasil|da Argentina|do Chile|da Colômbia|do Peru|de Cuba|da China|do Japão|da Coreia do Sul|da Índia|da Tailândia|do Vietnã|da Arábia Saudita|do Irã|da Turquia|do Egito|do Marrocos|da Nigéria|do Quênia|da Grécia|da Suécia|do Nepal|da Finlândia|da Dinamarca|da Polônia|da Ucrânia|da Tchéquia|da Suíça|da Áustria|da Bélgica|dos Países Baixos|da Irlanda|da Rússia|da Austrália|do Paquistão|das Filipinas|de Bangladesh|da Hungria|do Iraque",
    "ru": "Франции|Германии|Испании|Италии|Португалии|Великобритании|Соединённых Штатов|Канады|Мексики|Бразилии|Аргентины|Чили|Колумбии|Перу|Кубы|Китая|Японии|Южной Кореи|Индии|Таиланда|Вьетнама|Саудовской Аравии|Ирана|Турции|Египта|Марокко|Нигерии|Кении|Греции|Швеции|Непала|Финляндии|Дании|Польши|Украины|Чехии|Швейцарии|Австрии|Бельгии|Нидерландов|Ирландии|России|Австралии|Пакистана|Филиппин|Бангладеш|Венгрии|Ирака",
}
_WITH_THE = frozenset("GB US NL PH".split())
_SPANISH_ARTICLE = {"GB": "del Reino Unido", "NL": "de los Países Bajos", "IN": "de la India"}

# Europe, Asia, Africa, North America, South America, Oceania.
CONTINENTS: dict[str, tuple[str, ...]] = {
    "en": ("Europe", "Asia", "Africa", "North America", "South America", "Oceania"),
    "es": ("Europa", "Asia", "África", "América del Norte", "América del Sur", "Oceanía"),
    "fr": ("Europe", "Asie", "Afrique", "Amérique du Nord", "Amérique du Sud", "Océanie"),
    "de": ("Europa", "Asien", "Afrika", "Nordamerika", "Südamerika", "Ozeanien"),
    "pt": ("Europa", "Ásia", "África", "América do Norte", "América do Sul", "Oceania"),
    "ru": ("Европа", "Азия", "Африка", "Северная Америка", "Южная Америка", "Океания"),
    "ar": ("أوروبا", "آسيا", "أفريقيا", "أمريكا الشمالية", "أمريكا الجنوبية", "أوقيانوسيا"),
    "hi": ("यूरोप", "एशिया", "अफ़्रीका", "उत्तरी अमेरिका", "दक्षिण अमेरिका", "ओशिआनिया"),
    "id": ("Eropa", "Asia", "Afrika", "Amerika Utara", "Amerika Selatan", "Oseania"),
    "ja": ("ヨーロッパ", "アジア", "アフリカ", "北アメリカ", "南アメリカ", "オセアニア"),
    "ko": ("유럽", "아시아", "아프리카", "북아메리카", "남아메리카", "오세아니아"),
    "zh": ("欧洲", "亚洲", "非洲", "北美洲", "南美洲", "大洋洲"),
}
# Countries that lie on two continents or between them are left out.
_ON: tuple[str, ...] = (
    "FR DE ES IT PT GB GR SE FI DK PL UA CZ CH AT BE NL IE IS HU RO BG HR SK EE LT LV",
    "CN JP KR IN ID TH VN SA IR IL NP PK PH BD MN IQ LB QA MY SG LK",
    "MA ZA NG KE DZ TN ET GH TZ UG MG",
    "US CA MX CU JM PA",
    "BR AR CL CO PE VE UY",
    "AU NZ",
)


class Country(NamedTuple):
    """A country of the inventory: its two letters, its flag's code, its names; "" and None where it has no capital or continent here."""

    letters: str
    code: str
    names: dict[str, str]
    capital: dict[str, str]
    of_country: dict[str, str]
    continent: int | None


@cache
def countries() -> tuple[Country, ...]:
    """Every flag of the inventory, in its order."""
    listed = {"".join(chr(ord("A") + int(point, 16) - 0x1F1E6) for point in code.split("-")): code for code in codes("flag")}
    return tuple(_country(letters, code) for letters, code in listed.items())


def _country(letters: str, code: str) -> Country:
    names = dict(inventory()[code].names)
    continent = next((place for place, row in enumerate(_ON) if letters in row.split()), None)
    if letters not in _WITH_CAPITAL:
        return Country(letters, code, names, {}, {}, continent)
    place = _WITH_CAPITAL.index(letters)
    capital = {language: _CAPITALS[language].split("|")[place] for language in LANGUAGES}
    of_country = {language: _OF[language].split("|")[place] if language in _OF else names[language] for language in LANGUAGES}
    of_country["es"] = _SPANISH_ARTICLE.get(letters, f"de {names['es']}")
    if letters in _WITH_THE:
        of_country["en"] = f"the {names['en']}"
    return Country(letters, code, names, capital, of_country, continent)


@cache
def with_capital() -> tuple[Country, ...]:
    """The countries that have a capital here."""
    return tuple(country for country in countries() if country.capital)


@cache
def with_continent() -> tuple[Country, ...]:
    """The countries that lie on one continent."""
    return tuple(country for country in countries() if country.continent is not None)
