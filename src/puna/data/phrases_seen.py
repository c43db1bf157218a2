"""Questions and set answers about printed text, videos, picture books and photographs, in 12 languages. [ours] Pure data, as `phrases`."""

# Tables of phrases read best one row a line.
# ruff: noqa: E501

ASK_NUMBER: dict[str, tuple[str, ...]] = {
    "en": ("What number is this?", "Which number do you see?", "Read the number."),
    "es": ("¿Qué número es este?", "¿Qué número ves?"),
    "fr": ("Quel est ce nombre ?", "Quel nombre vois-tu ?"),
    "de": ("Welche Zahl ist das?", "Welche Zahl siehst du?"),
    "pt": ("Que número é este?", "Que número você vê?"),
    "ru": ("Какое это число?", "Какое число ты видишь?"),
    "ar": ("ما هذا العدد؟", "أي عدد ترى؟"),
    "hi": ("यह कौन सी संख्या है?", "कौन सी संख्या दिख रही है?"),
    "id": ("Angka berapa ini?", "Angka apa yang kamu lihat?"),
    "ja": ("これは何の数字ですか？", "数字を読んでください。"),
    "ko": ("이것은 무슨 숫자입니까?", "어떤 숫자가 보이나요?"),
    "zh": ("这是什么数字？", "你看到了哪个数字？"),
}

ASK_READ: dict[str, tuple[str, ...]] = {
    "en": ("Read this.", "What does it say?", "What is written here?", "Which word is this?"),
    "es": ("Lee esto.", "¿Qué dice aquí?"),
    "fr": ("Lis ceci.", "Qu'est-ce qui est écrit ?"),
    "de": ("Lies das.", "Was steht da?"),
    "pt": ("Leia isto.", "O que está escrito?"),
    "ru": ("Прочитай это.", "Что здесь написано?"),
    "ar": ("اقرأ هذا.", "ماذا كُتب هنا؟"),
    "hi": ("इसे पढ़ो।", "यहाँ क्या लिखा है?"),
    "id": ("Bacalah ini.", "Apa yang tertulis di sini?"),
    "ja": ("これを読んでください。", "何と書いてありますか？"),
    "ko": ("이것을 읽어 주세요.", "뭐라고 쓰여 있나요?"),
    "zh": ("读一读。", "这里写的是什么？"),
}

ASK_WAY: dict[str, tuple[str, ...]] = {
    "en": ("Which way does it move?", "Where is it moving?", "In which direction does it go?"),
    "es": ("¿Hacia dónde se mueve?", "¿En qué dirección va?"),
    "fr": ("Dans quelle direction ça bouge ?", "Vers où cela va-t-il ?"),
    "de": ("Wohin bewegt es sich?", "In welche Richtung geht es?"),
    "pt": ("Para onde se move?", "Em que direção vai?"),
    "ru": ("Куда это движется?", "В каком направлении оно движется?"),
    "ar": ("إلى أين يتحرك؟", "في أي اتجاه يتحرك؟"),
    "hi": ("यह किस ओर जा रहा है?", "यह किस दिशा में चल रहा है?"),
    "id": ("Ke mana arah geraknya?", "Bergerak ke mana?"),
    "ja": ("どちらに動いていますか？", "どの方向に動きますか？"),
    "ko": ("어느 쪽으로 움직이나요?", "어디로 움직입니까?"),
    "zh": ("它往哪个方向移动？", "它在向哪边移动？"),
}

# to the left, to the right, up, down
WAYS: dict[str, tuple[str, str, str, str]] = {
    "en": ("to the left", "to the right", "up", "down"),
    "es": ("hacia la izquierda", "hacia la derecha", "hacia arriba", "hacia abajo"),
    "fr": ("vers la gauche", "vers la droite", "vers le haut", "vers le bas"),
    "de": ("nach links", "nach rechts", "nach oben", "nach unten"),
    "pt": ("para a esquerda", "para a direita", "para cima", "para baixo"),
    "ru": ("влево", "вправо", "вверх", "вниз"),
    "ar": ("إلى اليسار", "إلى اليمين", "إلى الأعلى", "إلى الأسفل"),
    "hi": ("बाईं ओर", "दाईं ओर", "ऊपर की ओर", "नीचे की ओर"),
    "id": ("ke kiri", "ke kanan", "ke atas", "ke bawah"),
    "ja": ("左へ", "右へ", "上へ", "下へ"),
    "ko": ("왼쪽으로", "오른쪽으로", "위로", "아래로"),
    "zh": ("向左", "向右", "向上", "向下"),
}

ASK_MOVED: dict[str, tuple[str, ...]] = {
    "en": ("What moved?", "Which one moves?"),
    "es": ("¿Qué se movió?",),
    "fr": ("Qu'est-ce qui a bougé ?",),
    "de": ("Was hat sich bewegt?",),
    "pt": ("O que se moveu?",),
    "ru": ("Что двигалось?",),
    "ar": ("ما الذي تحرك؟",),
    "hi": ("क्या हिला?",),
    "id": ("Apa yang bergerak?",),
    "ja": ("何が動きましたか？",),
    "ko": ("무엇이 움직였나요?",),
    "zh": ("什么东西动了？",),
}

ASK_APPEARED: dict[str, tuple[str, ...]] = {
    "en": ("What appeared?", "What came into the picture?"),
    "es": ("¿Qué apareció?",),
    "fr": ("Qu'est-ce qui est apparu ?",),
    "de": ("Was ist erschienen?",),
    "pt": ("O que apareceu?",),
    "ru": ("Что появилось?",),
    "ar": ("ما الذي ظهر؟",),
    "hi": ("क्या प्रकट हुआ?",),
    "id": ("Apa yang muncul?",),
    "ja": ("何が現れましたか？",),
    "ko": ("무엇이 나타났나요?",),
    "zh": ("出现了什么？",),
}

ASK_DISAPPEARED: dict[str, tuple[str, ...]] = {
    "en": ("What disappeared?", "What went away?"),
    "es": ("¿Qué desapareció?",),
    "fr": ("Qu'est-ce qui a disparu ?",),
    "de": ("Was ist verschwunden?",),
    "pt": ("O que desapareceu?",),
    "ru": ("Что исчезло?",),
    "ar": ("ما الذي اختفى؟",),
    "hi": ("क्या गायब हुआ?",),
    "id": ("Apa yang menghilang?",),
    "ja": ("何が消えましたか？",),
    "ko": ("무엇이 사라졌나요?",),
    "zh": ("什么消失了？",),
}

# What came first, what came last, and all in order.
ASK_FIRST: dict[str, str] = {
    "en": "What came first?", "es": "¿Qué apareció primero?", "fr": "Qu'est-ce qui est venu en premier ?", "de": "Was kam zuerst?",
    "pt": "O que veio primeiro?", "ru": "Что было первым?", "ar": "ما الذي جاء أولاً؟", "hi": "सबसे पहले क्या आया?", "id": "Apa yang muncul pertama?",
    "ja": "最初に何が出ましたか？", "ko": "처음에 무엇이 나왔나요?", "zh": "最先出现的是什么？",
}  # fmt: skip
ASK_LAST: dict[str, str] = {
    "en": "What came last?", "es": "¿Qué apareció al final?", "fr": "Qu'est-ce qui est venu en dernier ?", "de": "Was kam zuletzt?",
    "pt": "O que veio por último?", "ru": "Что было последним?", "ar": "ما الذي جاء أخيرًا؟", "hi": "सबसे अंत में क्या आया?", "id": "Apa yang muncul terakhir?",
    "ja": "最後に何が出ましたか？", "ko": "마지막에 무엇이 나왔나요?", "zh": "最后出现的是什么？",
}  # fmt: skip
ASK_ORDER: dict[str, str] = {
    "en": "What came, in order?", "es": "¿Qué apareció, en orden?", "fr": "Qu'est-ce qui est venu, dans l'ordre ?", "de": "Was kam der Reihe nach?",
    "pt": "O que veio, em ordem?", "ru": "Что появлялось по порядку?", "ar": "ماذا ظهر بالترتيب؟", "hi": "क्रम से क्या-क्या आया?", "id": "Apa yang muncul, secara urut?",
    "ja": "順番に何が出ましたか？", "ko": "순서대로 무엇이 나왔나요?", "zh": "按顺序出现了什么？",
}  # fmt: skip

ASK_HAPPENS: dict[str, tuple[str, ...]] = {
    "en": ("What happens to it?", "What does it do?"),
    "es": ("¿Qué le pasa?",),
    "fr": ("Que lui arrive-t-il ?",),
    "de": ("Was passiert damit?",),
    "pt": ("O que acontece com isto?",),
    "ru": ("Что с ним происходит?",),
    "ar": ("ماذا يحدث له؟",),
    "hi": ("इसके साथ क्या होता है?",),
    "id": ("Apa yang terjadi padanya?",),
    "ja": ("どうなりますか？",),
    "ko": ("어떻게 되나요?",),
    "zh": ("它怎么了？",),
}

# It grows, shrinks, turns, stays as it is.
HAPPENINGS: dict[str, tuple[str, str, str, str]] = {
    "en": ("it grows", "it shrinks", "it turns", "nothing"),
    "es": ("crece", "se encoge", "gira", "nada"),
    "fr": ("il grandit", "il rétrécit", "il tourne", "rien"),
    "de": ("es wächst", "es schrumpft", "es dreht sich", "nichts"),
    "pt": ("cresce", "encolhe", "gira", "nada"),
    "ru": ("растёт", "уменьшается", "вращается", "ничего"),
    "ar": ("يكبر", "يصغر", "يدور", "لا شيء"),
    "hi": ("बढ़ता है", "सिकुड़ता है", "घूमता है", "कुछ नहीं"),
    "id": ("membesar", "mengecil", "berputar", "tidak ada"),
    "ja": ("大きくなる", "小さくなる", "回る", "何も起きない"),
    "ko": ("커진다", "작아진다", "돈다", "아무 일도 없다"),
    "zh": ("变大", "变小", "旋转", "没有变化"),
}

ASK_PAGE: dict[str, tuple[str, ...]] = {
    "en": ("What happens on this page?", "Tell me this page.", "Read me the page."),
    "es": ("¿Qué pasa en esta página?", "Cuéntame esta página."),
    "fr": ("Que se passe-t-il sur cette page ?", "Raconte cette page."),
    "de": ("Was passiert auf dieser Seite?", "Erzähl mir diese Seite."),
    "pt": ("O que acontece nesta página?", "Conte esta página."),
    "ru": ("Что происходит на этой странице?", "Расскажи эту страницу."),
    "ar": ("ماذا يحدث في هذه الصفحة؟", "احكِ لي هذه الصفحة."),
    "hi": ("इस पन्ने पर क्या होता है?", "यह पन्ना सुनाओ।"),
    "id": ("Apa yang terjadi di halaman ini?",),
    "ja": ("このページでは何が起きますか？", "このページを話してください。"),
    "ko": ("이 페이지에서 무슨 일이 일어나나요?", "이 페이지를 들려주세요."),
    "zh": ("这一页发生了什么？", "讲讲这一页。"),
}

ASK_STORY: dict[str, tuple[str, ...]] = {
    "en": ("Tell the story of these pictures.", "What happens, picture by picture?"),
    "es": ("Cuenta la historia de estas imágenes.",),
    "fr": ("Raconte l'histoire de ces images.",),
    "de": ("Erzähle die Geschichte zu diesen Bildern.",),
    "pt": ("Conte a história destas imagens.",),
    "ru": ("Расскажи историю по этим картинкам.",),
    "ar": ("احكِ قصة هذه الصور.",),
    "hi": ("इन तस्वीरों की कहानी सुनाओ।",),
    "id": ("Ceritakan kisah gambar-gambar ini.",),
    "ja": ("これらの絵の話をしてください。",),
    "ko": ("이 그림들의 이야기를 들려주세요.",),
    "zh": ("讲讲这些图片的故事。",),
}

# The ten classes of the clothing photographs, in the order of `photos.CLOTHES`.
CLOTHES_NAMES: dict[str, tuple[str, ...]] = {
    "en": ("dress", "hat", "long-sleeved shirt", "jacket", "trousers", "shirt", "shoes", "shorts", "skirt", "T-shirt"),
    "es": (
        "vestido",
        "sombrero",
        "camiseta de manga larga",
        "chaqueta",
        "pantalones",
        "camisa",
        "zapatos",
        "pantalones cortos",
        "falda",
        "camiseta",
    ),
    "fr": ("robe", "chapeau", "haut à manches longues", "veste", "pantalon", "chemise", "chaussures", "short", "jupe", "T-shirt"),
    "de": ("Kleid", "Hut", "Langarmshirt", "Jacke", "Hose", "Hemd", "Schuhe", "kurze Hose", "Rock", "T-Shirt"),
    "pt": ("vestido", "chapéu", "camiseta de manga comprida", "jaqueta", "calças", "camisa", "sapatos", "bermuda", "saia", "camiseta"),
    "ru": ("платье", "шапка", "футболка с длинным рукавом", "куртка", "брюки", "рубашка", "обувь", "шорты", "юбка", "футболка"),
    "ar": ("فستان", "قبعة", "قميص بأكمام طويلة", "سترة", "بنطلون", "قميص", "حذاء", "شورت", "تنورة", "تي شيرت"),
    "hi": ("पोशाक", "टोपी", "लंबी बाँह की कमीज़", "जैकेट", "पतलून", "कमीज़", "जूते", "निकर", "स्कर्ट", "टी-शर्ट"),
    "id": ("gaun", "topi", "kaus lengan panjang", "jaket", "celana panjang", "kemeja", "sepatu", "celana pendek", "rok", "kaus"),
    "ja": ("ドレス", "帽子", "長袖シャツ", "ジャケット", "ズボン", "シャツ", "靴", "ショートパンツ", "スカート", "Tシャツ"),
    "ko": ("드레스", "모자", "긴팔 셔츠", "재킷", "바지", "셔츠", "신발", "반바지", "치마", "티셔츠"),
    "zh": ("连衣裙", "帽子", "长袖上衣", "外套", "裤子", "衬衫", "鞋子", "短裤", "裙子", "T恤"),
}
