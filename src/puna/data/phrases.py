"""Every question and set answer of the nano's drills, in 12 languages. [ours] Pure data; who fills the gaps: `skills`, `scenes`, `samples`.

Wherever grammar would have to bend a name (articles, cases, plurals), the phrase quotes the name or leaves it out.
"""

# Tables of phrases read best one row a line.
# ruff: noqa: E501

ASK_NAME: dict[str, tuple[str, ...]] = {
    "en": ("What is this?", "What is in the picture?", "What do you see?", "Name this.", "What does the picture show?", "What is it?"),
    "es": ("¿Qué es esto?", "¿Qué hay en la imagen?", "¿Qué ves?", "¿Qué muestra la imagen?"),
    "fr": ("Qu'est-ce que c'est ?", "Que vois-tu ?", "Que montre l'image ?", "Qu'y a-t-il sur l'image ?"),
    "de": ("Was ist das?", "Was siehst du?", "Was ist auf dem Bild?", "Was zeigt das Bild?"),
    "pt": ("O que é isto?", "O que há na imagem?", "O que você vê?", "O que mostra a imagem?"),
    "ru": ("Что это?", "Что на картинке?", "Что ты видишь?", "Что изображено на картинке?"),
    "ar": ("ما هذا؟", "ماذا في الصورة؟", "ماذا ترى؟", "ماذا تُظهر الصورة؟"),
    "hi": ("यह क्या है?", "तस्वीर में क्या है?", "तुम क्या देखते हो?", "चित्र में क्या दिख रहा है?"),
    "id": ("Apa ini?", "Apa yang ada di gambar?", "Apa yang kamu lihat?", "Gambar ini menunjukkan apa?"),
    "ja": ("これは何ですか？", "絵には何がありますか？", "何が見えますか？", "これは何？"),
    "ko": ("이것은 무엇입니까?", "그림에 무엇이 있나요?", "무엇이 보이나요?", "이게 뭐예요?"),
    "zh": ("这是什么？", "图片里有什么？", "你看到了什么？", "图中是什么？"),
}

ASK_COUNTRY: dict[str, tuple[str, ...]] = {
    "en": ("Which country's flag is this?", "What country does this flag belong to?", "Whose flag is this?"),
    "es": ("¿De qué país es esta bandera?", "¿A qué país pertenece esta bandera?"),
    "fr": ("De quel pays est ce drapeau ?", "C'est le drapeau de quel pays ?"),
    "de": ("Zu welchem Land gehört diese Flagge?", "Welches Land hat diese Flagge?"),
    "pt": ("De que país é esta bandeira?", "A que país pertence esta bandeira?"),
    "ru": ("Флаг какой это страны?", "Какой стране принадлежит этот флаг?"),
    "ar": ("علم أي دولة هذا؟", "لأي دولة هذا العلم؟"),
    "hi": ("यह किस देश का झंडा है?", "यह झंडा किस देश का है?"),
    "id": ("Bendera negara apa ini?", "Ini bendera negara mana?"),
    "ja": ("これはどの国の旗ですか？", "どこの国の国旗ですか？"),
    "ko": ("이것은 어느 나라 국기입니까?", "어느 나라 국기인가요?"),
    "zh": ("这是哪个国家的国旗？", "这面国旗属于哪个国家？"),
}

# {language} as in LANGUAGE_NAMES[speaker].
ASK_IN: dict[str, tuple[str, ...]] = {
    "en": ("What is this called in {language}?", "And in {language}?", "Name it in {language}."),
    "es": ("¿Cómo se llama esto en {language}?", "¿Y en {language}?"),
    "fr": ("Comment ça s'appelle en {language} ?", "Et en {language} ?"),
    "de": ("Wie heißt das auf {language}?", "Und auf {language}?"),
    "pt": ("Como se chama isto em {language}?", "E em {language}?"),
    "ru": ("Как это называется {language}?", "А {language}?"),
    "ar": ("ما اسم هذا باللغة {language}؟", "وباللغة {language}؟"),
    "hi": ("इसे {language} में क्या कहते हैं?", "और {language} में?"),
    "id": ("Apa namanya dalam bahasa {language}?", "Dan dalam bahasa {language}?"),
    "ja": ("これは{language}で何と言いますか？", "{language}では？"),
    "ko": ("이것은 {language}로 무엇이라고 하나요?", "{language}로는요?"),
    "zh": ("这个用{language}怎么说？", "用{language}呢？"),
}

ASK_SAY: dict[str, tuple[str, ...]] = {
    "en": (
        'How do you say "{word}" in {language}?',
        "How do you say {word} in {language}?",
        "What is {word} in {language}?",
        "Translate into {language}: {word}",
    ),
    "es": ("¿Cómo se dice «{word}» en {language}?", "¿Cómo se dice {word} en {language}?"),
    "fr": ("Comment dit-on « {word} » en {language} ?", "Comment dit-on {word} en {language} ?"),
    "de": ("Wie sagt man „{word}“ auf {language}?", "Was heißt {word} auf {language}?"),
    "pt": ("Como se diz “{word}” em {language}?", "Como se diz {word} em {language}?"),
    "ru": ("Как сказать «{word}» {language}?", "Как будет {word} {language}?"),
    "ar": ("كيف تقول «{word}» باللغة {language}؟", "ما معنى {word} باللغة {language}؟"),
    "hi": ("“{word}” को {language} में क्या कहते हैं?", "{word} को {language} में क्या कहते हैं?"),
    "id": ('Apa bahasa {language} dari "{word}"?', "Apa {word} dalam bahasa {language}?"),
    "ja": ("「{word}」は{language}で何と言いますか？", "{word}を{language}で言うと？"),
    "ko": ('"{word}"은(는) {language}로 뭐라고 하나요?', "{word}, {language}로는?"),
    "zh": ("“{word}”用{language}怎么说？", "{word}的{language}是什么？"),
}

ASK_COUNT: dict[str, tuple[str, ...]] = {
    "en": ("How many are there?", "How many things are in the picture?", "Count them.", "How many do you see?"),
    "es": ("¿Cuántos hay?", "¿Cuántas cosas hay en la imagen?"),
    "fr": ("Combien y en a-t-il ?", "Combien d'objets y a-t-il sur l'image ?"),
    "de": ("Wie viele sind es?", "Wie viele Dinge sind auf dem Bild?"),
    "pt": ("Quantos há?", "Quantas coisas há na imagem?"),
    "ru": ("Сколько их?", "Сколько предметов на картинке?"),
    "ar": ("كم عددها؟", "كم شيئًا في الصورة؟"),
    "hi": ("कितने हैं?", "तस्वीर में कितनी चीज़ें हैं?"),
    "id": ("Ada berapa?", "Ada berapa benda di gambar?"),
    "ja": ("いくつありますか？", "絵の中にいくつありますか？"),
    "ko": ("몇 개입니까?", "그림에 몇 개가 있나요?"),
    "zh": ("有几个？", "图片里有几个？"),
}

ASK_COLOUR: dict[str, tuple[str, ...]] = {
    "en": ("What colour is the shape?", "What color is it?", "Which colour do you see?"),
    "es": ("¿De qué color es la figura?", "¿Qué color es?"),
    "fr": ("De quelle couleur est la forme ?", "Quelle est la couleur ?"),
    "de": ("Welche Farbe hat die Form?", "Welche Farbe ist das?"),
    "pt": ("De que cor é a figura?", "Qual é a cor?"),
    "ru": ("Какого цвета фигура?", "Какой это цвет?"),
    "ar": ("ما لون الشكل؟", "ما هذا اللون؟"),
    "hi": ("आकृति का रंग क्या है?", "यह कौन सा रंग है?"),
    "id": ("Apa warna bentuk ini?", "Warna apa ini?"),
    "ja": ("形は何色ですか？", "何色ですか？"),
    "ko": ("도형은 무슨 색인가요?", "무슨 색입니까?"),
    "zh": ("图形是什么颜色？", "这是什么颜色？"),
}

ASK_SHAPE: dict[str, tuple[str, ...]] = {
    "en": ("What shape is this?", "Which shape is it?"),
    "es": ("¿Qué forma es?", "¿Qué figura es esta?"),
    "fr": ("Quelle est cette forme ?", "Quelle forme vois-tu ?"),
    "de": ("Welche Form ist das?", "Welche Form siehst du?"),
    "pt": ("Que forma é esta?", "Qual é a forma?"),
    "ru": ("Какая это фигура?", "Какую фигуру ты видишь?"),
    "ar": ("ما هذا الشكل؟", "أي شكل هذا؟"),
    "hi": ("यह कौन सी आकृति है?", "आकृति क्या है?"),
    "id": ("Bentuk apa ini?", "Apa bentuknya?"),
    "ja": ("これは何の形ですか？", "どんな形ですか？"),
    "ko": ("이것은 무슨 도형인가요?", "무슨 모양입니까?"),
    "zh": ("这是什么形状？", "是什么图形？"),
}

# Colours in the dictionary form that answers "what colour?".
COLOURS: dict[str, tuple[str, ...]] = {
    "en": ("red", "blue", "green", "yellow", "orange", "purple", "black", "white", "brown", "pink", "grey"),
    "es": ("rojo", "azul", "verde", "amarillo", "naranja", "morado", "negro", "blanco", "marrón", "rosa", "gris"),
    "fr": ("rouge", "bleu", "vert", "jaune", "orange", "violet", "noir", "blanc", "marron", "rose", "gris"),
    "de": ("rot", "blau", "grün", "gelb", "orange", "lila", "schwarz", "weiß", "braun", "rosa", "grau"),
    "pt": ("vermelho", "azul", "verde", "amarelo", "laranja", "roxo", "preto", "branco", "marrom", "rosa", "cinza"),
    "ru": ("красный", "синий", "зелёный", "жёлтый", "оранжевый", "фиолетовый", "чёрный", "белый", "коричневый", "розовый", "серый"),
    "ar": ("أحمر", "أزرق", "أخضر", "أصفر", "برتقالي", "بنفسجي", "أسود", "أبيض", "بني", "وردي", "رمادي"),
    "hi": ("लाल", "नीला", "हरा", "पीला", "नारंगी", "बैंगनी", "काला", "सफ़ेद", "भूरा", "गुलाबी", "धूसर"),
    "id": ("merah", "biru", "hijau", "kuning", "oranye", "ungu", "hitam", "putih", "cokelat", "merah muda", "abu-abu"),
    "ja": ("赤", "青", "緑", "黄色", "オレンジ", "紫", "黒", "白", "茶色", "ピンク", "灰色"),
    "ko": ("빨간색", "파란색", "초록색", "노란색", "주황색", "보라색", "검은색", "흰색", "갈색", "분홍색", "회색"),
    "zh": ("红色", "蓝色", "绿色", "黄色", "橙色", "紫色", "黑色", "白色", "棕色", "粉色", "灰色"),
}

# circle, square, triangle, star, heart, diamond
SHAPES: dict[str, tuple[str, ...]] = {
    "en": ("circle", "square", "triangle", "star", "heart", "diamond"),
    "es": ("círculo", "cuadrado", "triángulo", "estrella", "corazón", "rombo"),
    "fr": ("cercle", "carré", "triangle", "étoile", "cœur", "losange"),
    "de": ("Kreis", "Quadrat", "Dreieck", "Stern", "Herz", "Raute"),
    "pt": ("círculo", "quadrado", "triângulo", "estrela", "coração", "losango"),
    "ru": ("круг", "квадрат", "треугольник", "звезда", "сердце", "ромб"),
    "ar": ("دائرة", "مربع", "مثلث", "نجمة", "قلب", "معين"),
    "hi": ("वृत्त", "वर्ग", "त्रिभुज", "तारा", "दिल", "समचतुर्भुज"),
    "id": ("lingkaran", "persegi", "segitiga", "bintang", "hati", "belah ketupat"),
    "ja": ("円", "四角形", "三角形", "星", "ハート", "ひし形"),
    "ko": ("원", "사각형", "삼각형", "별", "하트", "마름모"),
    "zh": ("圆形", "正方形", "三角形", "星形", "心形", "菱形"),
}

# "Left or right?" and "Top or bottom?" of one thing in the picture, and the four answers: left, right, top, bottom.
ASK_SIDE: dict[str, tuple[str, str]] = {
    "en": ("Is it on the left or on the right?", "Is it at the top or at the bottom?"),
    "es": ("¿Está a la izquierda o a la derecha?", "¿Está arriba o abajo?"),
    "fr": ("Est-ce à gauche ou à droite ?", "Est-ce en haut ou en bas ?"),
    "de": ("Ist es links oder rechts?", "Ist es oben oder unten?"),
    "pt": ("Está à esquerda ou à direita?", "Está em cima ou embaixo?"),
    "ru": ("Это слева или справа?", "Это вверху или внизу?"),
    "ar": ("هل هو على اليمين أم على اليسار؟", "هل هو في الأعلى أم في الأسفل؟"),
    "hi": ("यह बाईं ओर है या दाईं ओर?", "यह ऊपर है या नीचे?"),
    "id": ("Di kiri atau di kanan?", "Di atas atau di bawah?"),
    "ja": ("左ですか、右ですか？", "上ですか、下ですか？"),
    "ko": ("왼쪽입니까, 오른쪽입니까?", "위쪽입니까, 아래쪽입니까?"),
    "zh": ("在左边还是右边？", "在上面还是下面？"),
}
SIDES: dict[str, tuple[str, str, str, str]] = {
    "en": ("on the left", "on the right", "at the top", "at the bottom"),
    "es": ("a la izquierda", "a la derecha", "arriba", "abajo"),
    "fr": ("à gauche", "à droite", "en haut", "en bas"),
    "de": ("links", "rechts", "oben", "unten"),
    "pt": ("à esquerda", "à direita", "em cima", "embaixo"),
    "ru": ("слева", "справа", "вверху", "внизу"),
    "ar": ("على اليسار", "على اليمين", "في الأعلى", "في الأسفل"),
    "hi": ("बाईं ओर", "दाईं ओर", "ऊपर", "नीचे"),
    "id": ("di kiri", "di kanan", "di atas", "di bawah"),
    "ja": ("左", "右", "上", "下"),
    "ko": ("왼쪽", "오른쪽", "위쪽", "아래쪽"),
    "zh": ("左边", "右边", "上面", "下面"),
}

# {first} and {second} are names, quoted by the frame; the answer is one of the two ORDINALS.
ASK_WHICH: dict[str, str] = {
    "en": "Which picture shows this: {name}? The first or the second?",
    "es": "¿Qué imagen muestra esto: {name}? ¿La primera o la segunda?",
    "fr": "Quelle image montre ceci : {name} ? La première ou la deuxième ?",
    "de": "Welches Bild zeigt das: {name}? Das erste oder das zweite?",
    "pt": "Qual imagem mostra isto: {name}? A primeira ou a segunda?",
    "ru": "На какой картинке это: {name}? На первой или на второй?",
    "ar": "أي صورة تُظهر هذا: {name}؟ الأولى أم الثانية؟",
    "hi": "कौन सी तस्वीर में यह है: {name}? पहली या दूसरी?",
    "id": "Gambar mana yang menunjukkan ini: {name}? Yang pertama atau yang kedua?",
    "ja": "どちらの絵が「{name}」ですか？一番目ですか、二番目ですか？",
    "ko": "어느 그림이 '{name}'입니까? 첫 번째입니까, 두 번째입니까?",
    "zh": "哪张图片是“{name}”？第一张还是第二张？",
}
ORDINALS: dict[str, tuple[str, str]] = {
    "en": ("the first", "the second"),
    "es": ("la primera", "la segunda"),
    "fr": ("la première", "la deuxième"),
    "de": ("das erste", "das zweite"),
    "pt": ("a primeira", "a segunda"),
    "ru": ("на первой", "на второй"),
    "ar": ("الأولى", "الثانية"),
    "hi": ("पहली", "दूसरी"),
    "id": ("yang pertama", "yang kedua"),
    "ja": ("一番目", "二番目"),
    "ko": ("첫 번째", "두 번째"),
    "zh": ("第一张", "第二张"),
}

ASK_WORDS: dict[str, tuple[str, ...]] = {
    "en": ("Write {number} in words.", "How do you write {number} in words?", "Spell the number {number}."),
    "es": ("Escribe {number} con palabras.", "¿Cómo se escribe {number} en letras?"),
    "fr": ("Écris {number} en lettres.", "Comment écrit-on {number} en lettres ?"),
    "de": ("Schreibe {number} in Worten.", "Wie schreibt man {number} in Worten?"),
    "pt": ("Escreva {number} por extenso.", "Como se escreve {number} por extenso?"),
    "ru": ("Напиши число {number} словами.", "Как пишется {number} словами?"),
    "ar": ("اكتب العدد {number} بالكلمات.", "كيف يُكتب {number} بالكلمات؟"),
    "hi": ("{number} को शब्दों में लिखो।", "{number} शब्दों में कैसे लिखते हैं?"),
    "id": ("Tulis {number} dengan kata-kata.", "Bagaimana menulis {number} dengan huruf?"),
    "ja": ("{number}を言葉で書いてください。", "{number}は言葉でどう書きますか？"),
    "ko": ("{number}을(를) 말로 쓰세요.", "숫자 {number}은(는) 글로 어떻게 쓰나요?"),
    "zh": ("用文字写出{number}。", "{number}用汉字怎么写？"),
}

ASK_DIGITS: dict[str, str] = {
    "en": "Which number is {word}?",
    "es": "¿Qué número es {word}?",
    "fr": "Quel nombre est {word} ?",
    "de": "Welche Zahl ist {word}?",
    "pt": "Que número é {word}?",
    "ru": "Какое это число: {word}?",
    "ar": "ما هو العدد {word}؟",
    "hi": "{word} कौन सी संख्या है?",
    "id": "Angka berapa {word}?",
    "ja": "{word}を数字で書くと？",
    "ko": "{word}을(를) 숫자로 쓰면?",
    "zh": "{word}是多少？",
}

ASK_SUM: dict[str, tuple[str, ...]] = {
    "en": ("What is {sum}?", "{sum} = ?", "How much is {sum}?", "Calculate {sum}."),
    "es": ("¿Cuánto es {sum}?", "{sum} = ?"),
    "fr": ("Combien font {sum} ?", "{sum} = ?"),
    "de": ("Was ist {sum}?", "Wie viel ist {sum}?"),
    "pt": ("Quanto é {sum}?", "{sum} = ?"),
    "ru": ("Сколько будет {sum}?", "{sum} = ?"),
    "ar": ("كم يساوي {sum}؟", "{sum} = ؟"),
    "hi": ("{sum} कितना होता है?", "{sum} = ?"),
    "id": ("Berapa {sum}?", "{sum} = ?"),
    "ja": ("{sum}はいくつですか？", "{sum} = ?"),
    "ko": ("{sum}은(는) 얼마입니까?", "{sum} = ?"),
    "zh": ("{sum}等于多少？", "{sum} = ？"),
}

# 0..20 by index.
NUMBER_WORDS: dict[str, tuple[str, ...]] = {
    "en": tuple(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()
    ),
    "es": tuple(
        "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis diecisiete dieciocho diecinueve veinte".split()
    ),
    "fr": tuple(
        "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept dix-huit dix-neuf vingt".split()
    ),
    "de": tuple(
        "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn zwanzig".split()
    ),
    "pt": tuple(
        "zero um dois três quatro cinco seis sete oito nove dez onze doze treze quatorze quinze dezesseis dezessete dezoito dezenove vinte".split()
    ),
    "ru": tuple(
        "ноль один два три четыре пять шесть семь восемь девять десять одиннадцать двенадцать тринадцать четырнадцать пятнадцать шестнадцать семнадцать восемнадцать девятнадцать двадцать".split()
    ),
    "ar": tuple(
        "صفر|واحد|اثنان|ثلاثة|أربعة|خمسة|ستة|سبعة|ثمانية|تسعة|عشرة|أحد عشر|اثنا عشر|ثلاثة عشر|أربعة عشر|خمسة عشر|ستة عشر|سبعة عشر|ثمانية عشر|تسعة عشر|عشرون".split(
            "|"
        )
    ),
    "hi": tuple("शून्य एक दो तीन चार पाँच छह सात आठ नौ दस ग्यारह बारह तेरह चौदह पंद्रह सोलह सत्रह अठारह उन्नीस बीस".split()),
    "id": tuple(
        "nol|satu|dua|tiga|empat|lima|enam|tujuh|delapan|sembilan|sepuluh|sebelas|dua belas|tiga belas|empat belas|lima belas|enam belas|tujuh belas|delapan belas|sembilan belas|dua puluh".split(
            "|"
        )
    ),
    "ja": tuple("ゼロ 一 二 三 四 五 六 七 八 九 十 十一 十二 十三 十四 十五 十六 十七 十八 十九 二十".split()),
    "ko": tuple("영 일 이 삼 사 오 육 칠 팔 구 십 십일 십이 십삼 십사 십오 십육 십칠 십팔 십구 이십".split()),
    "zh": tuple("零 一 二 三 四 五 六 七 八 九 十 十一 十二 十三 十四 十五 十六 十七 十八 十九 二十".split()),
}

# 30, 40 .. 100.
TENS_WORDS: dict[str, tuple[str, ...]] = {
    "en": tuple("thirty forty fifty sixty seventy eighty ninety".split()) + ("one hundred",),
    "es": tuple("treinta cuarenta cincuenta sesenta setenta ochenta noventa cien".split()),
    "fr": tuple("trente quarante cinquante soixante soixante-dix quatre-vingts quatre-vingt-dix cent".split()),
    "de": tuple("dreißig vierzig fünfzig sechzig siebzig achtzig neunzig hundert".split()),
    "pt": tuple("trinta quarenta cinquenta sessenta setenta oitenta noventa cem".split()),
    "ru": tuple("тридцать сорок пятьдесят шестьдесят семьдесят восемьдесят девяносто сто".split()),
    "ar": tuple("ثلاثون أربعون خمسون ستون سبعون ثمانون تسعون مئة".split()),
    "hi": tuple("तीस चालीस पचास साठ सत्तर अस्सी नब्बे सौ".split()),
    "id": tuple("tiga puluh|empat puluh|lima puluh|enam puluh|tujuh puluh|delapan puluh|sembilan puluh|seratus".split("|")),
    "ja": tuple("三十 四十 五十 六十 七十 八十 九十 百".split()),
    "ko": tuple("삼십 사십 오십 육십 칠십 팔십 구십 백".split()),
    "zh": tuple("三十 四十 五十 六十 七十 八十 九十 一百".split()),
}


YES_NO: dict[str, tuple[str, str]] = {
    "en": ("Yes", "No"), "es": ("Sí", "No"), "fr": ("Oui", "Non"), "de": ("Ja", "Nein"), "pt": ("Sim", "Não"), "ru": ("Да", "Нет"),
    "ar": ("نعم", "لا"), "hi": ("हाँ", "नहीं"), "id": ("Ya", "Tidak"), "ja": ("はい", "いいえ"), "ko": ("네", "아니요"), "zh": ("是", "不是"),
}  # fmt: skip

ASK_IS: dict[str, tuple[str, ...]] = {
    "en": ("Is this right: {name}?", "Do you see this: {name}?"),
    "es": ("¿Se ve esto: {name}?",),
    "fr": ("Voit-on ceci : {name} ?",),
    "de": ("Sieht man das: {name}?",),
    "pt": ("Vê-se isto: {name}?",),
    "ru": ("Видно ли это: {name}?",),
    "ar": ("هل ترى هذا: {name}؟",),
    "hi": ("क्या यह दिख रहा है: {name}?",),
    "id": ("Apakah ini terlihat: {name}?",),
    "ja": ("これは「{name}」ですか？",),
    "ko": ("이것은 '{name}'입니까?",),
    "zh": ("这是“{name}”吗？",),
}

# "What is on the left?", "... on the right?", "... at the top?", "... at the bottom?"
ASK_AT: dict[str, tuple[str, str, str, str]] = {
    "en": ("What is on the left?", "What is on the right?", "What is at the top?", "What is at the bottom?"),
    "es": ("¿Qué hay a la izquierda?", "¿Qué hay a la derecha?", "¿Qué hay arriba?", "¿Qué hay abajo?"),
    "fr": ("Qu'y a-t-il à gauche ?", "Qu'y a-t-il à droite ?", "Qu'y a-t-il en haut ?", "Qu'y a-t-il en bas ?"),
    "de": ("Was ist links?", "Was ist rechts?", "Was ist oben?", "Was ist unten?"),
    "pt": ("O que há à esquerda?", "O que há à direita?", "O que há em cima?", "O que há embaixo?"),
    "ru": ("Что слева?", "Что справа?", "Что вверху?", "Что внизу?"),
    "ar": ("ماذا يوجد على اليسار؟", "ماذا يوجد على اليمين؟", "ماذا يوجد في الأعلى؟", "ماذا يوجد في الأسفل؟"),
    "hi": ("बाईं ओर क्या है?", "दाईं ओर क्या है?", "ऊपर क्या है?", "नीचे क्या है?"),
    "id": ("Apa yang ada di kiri?", "Apa yang ada di kanan?", "Apa yang ada di atas?", "Apa yang ada di bawah?"),
    "ja": ("左には何がありますか？", "右には何がありますか？", "上には何がありますか？", "下には何がありますか？"),
    "ko": ("왼쪽에 무엇이 있나요?", "오른쪽에 무엇이 있나요?", "위쪽에 무엇이 있나요?", "아래쪽에 무엇이 있나요?"),
    "zh": ("左边是什么？", "右边是什么？", "上面是什么？", "下面是什么？"),
}
