"""Questions of the drills in words alone, in 12 languages. [ours] Pure data, in the manner of `phrases`: names are quoted, not bent."""

# Tables of phrases read best one row a line.
# ruff: noqa: E501

# A sum as people type it into a box, in any language.
ASK_SUM_BARE: tuple[str, ...] = ("{sum}", "{sum} =", "{sum}=?")

ASK_STEPS: dict[str, str] = {
    "en": "What is {sum}? Step by step, please.",
    "es": "¿Cuánto es {sum}? Paso a paso, por favor.",
    "fr": "Combien font {sum} ? Étape par étape, s'il te plaît.",
    "de": "Was ist {sum}? Bitte Schritt für Schritt.",
    "pt": "Quanto é {sum}? Passo a passo, por favor.",
    "ru": "Сколько будет {sum}? По шагам, пожалуйста.",
    "ar": "كم يساوي {sum}؟ خطوة بخطوة من فضلك.",
    "hi": "{sum} कितना होता है? कदम दर कदम बताइए।",
    "id": "Berapa {sum}? Langkah demi langkah, ya.",
    "ja": "{sum}はいくつですか？途中の式も書いてください。",
    "ko": "{sum}은(는) 얼마입니까? 단계별로 알려 주세요.",
    "zh": "{sum}等于多少？请写出步骤。",
}

ASK_LARGER: dict[str, str] = {
    "en": "Which is larger, {a} or {b}?",
    "es": "¿Qué número es mayor, {a} o {b}?",
    "fr": "Quel nombre est le plus grand, {a} ou {b} ?",
    "de": "Welche Zahl ist größer, {a} oder {b}?",
    "pt": "Qual número é maior, {a} ou {b}?",
    "ru": "Какое число больше: {a} или {b}?",
    "ar": "أي العددين أكبر: {a} أم {b}؟",
    "hi": "कौन सी संख्या बड़ी है, {a} या {b}?",
    "id": "Angka mana yang lebih besar, {a} atau {b}?",
    "ja": "{a}と{b}、大きいのはどちらですか？",
    "ko": "{a}와(과) {b} 중 더 큰 수는 무엇입니까?",
    "zh": "{a}和{b}哪个大？",
}
ASK_SMALLER: dict[str, str] = {
    "en": "Which is smaller, {a} or {b}?",
    "es": "¿Qué número es menor, {a} o {b}?",
    "fr": "Quel nombre est le plus petit, {a} ou {b} ?",
    "de": "Welche Zahl ist kleiner, {a} oder {b}?",
    "pt": "Qual número é menor, {a} ou {b}?",
    "ru": "Какое число меньше: {a} или {b}?",
    "ar": "أي العددين أصغر: {a} أم {b}؟",
    "hi": "कौन सी संख्या छोटी है, {a} या {b}?",
    "id": "Angka mana yang lebih kecil, {a} atau {b}?",
    "ja": "{a}と{b}、小さいのはどちらですか？",
    "ko": "{a}와(과) {b} 중 더 작은 수는 무엇입니까?",
    "zh": "{a}和{b}哪个小？",
}
# The number after, the number before.
ASK_NEIGHBOUR: dict[str, tuple[str, str]] = {
    "en": ("Which number comes after {number}?", "Which number comes before {number}?"),
    "es": ("¿Qué número viene después de {number}?", "¿Qué número viene antes de {number}?"),
    "fr": ("Quel nombre vient après {number} ?", "Quel nombre vient avant {number} ?"),
    "de": ("Welche Zahl kommt nach {number}?", "Welche Zahl kommt vor {number}?"),
    "pt": ("Que número vem depois de {number}?", "Que número vem antes de {number}?"),
    "ru": ("Какое число идёт после {number}?", "Какое число идёт перед {number}?"),
    "ar": ("ما العدد الذي يأتي بعد {number}؟", "ما العدد الذي يأتي قبل {number}؟"),
    "hi": ("{number} के बाद कौन सी संख्या आती है?", "{number} से पहले कौन सी संख्या आती है?"),
    "id": ("Angka berapa setelah {number}?", "Angka berapa sebelum {number}?"),
    "ja": ("{number}の次の数は何ですか？", "{number}の前の数は何ですか？"),
    "ko": ("{number} 다음 수는 무엇입니까?", "{number} 바로 앞의 수는 무엇입니까?"),
    "zh": ("{number}后面的数是几？", "{number}前面的数是几？"),
}

# A word of any language, said in a third one: "How do you say the Spanish word gato in French?" {source} and {language} as in LANGUAGE_NAMES.
ASK_MEANS: dict[str, tuple[str, ...]] = {
    "en": ('What does "{word}" mean?', "What does {word} mean in English?"),
    "es": ("¿Qué significa «{word}»?", "¿Qué significa {word} en español?"),
    "fr": ("Que veut dire « {word} » ?", "Que signifie {word} en français ?"),
    "de": ("Was bedeutet „{word}“?", "Was bedeutet {word} auf Deutsch?"),
    "pt": ("O que significa “{word}”?", "O que significa {word} em português?"),
    "ru": ("Что значит «{word}»?", "Что значит {word} по-русски?"),
    "ar": ("ماذا تعني كلمة «{word}»؟", "ما معنى {word} بالعربية؟"),
    "hi": ("“{word}” का मतलब क्या है?", "{word} का हिंदी में क्या मतलब है?"),
    "id": ('Apa arti "{word}"?', "Apa arti {word} dalam bahasa Indonesia?"),
    "ja": ("「{word}」はどういう意味ですか？", "{word}は日本語で何ですか？"),
    "ko": ('"{word}"은(는) 무슨 뜻입니까?', "{word}은(는) 한국어로 무엇입니까?"),
    "zh": ("“{word}”是什么意思？", "{word}用中文怎么说？"),
}

# In English alone: LANGUAGE_NAMES holds what follows "in", which in other languages is a case or an adverb and no answer.
ASK_WHICH_LANGUAGE = 'Which language is this: "{word}"?'

# {text} is a sentence or a short paragraph; {language} as in LANGUAGE_NAMES.
ASK_TRANSLATE: dict[str, tuple[str, ...]] = {
    "en": ("Translate into {language}: {text}", "Say this in {language}: {text}"),
    "es": ("Traduce al {language}: {text}", "Di esto en {language}: {text}"),
    "fr": ("Traduis en {language} : {text}", "Dis ceci en {language} : {text}"),
    "de": ("Übersetze auf {language}: {text}", "Sag das auf {language}: {text}"),
    "pt": ("Traduza para o {language}: {text}", "Diga isto em {language}: {text}"),
    "ru": ("Скажи {language}: {text}", "Как это будет {language}? {text}"),
    "ar": ("ترجم إلى {language}: {text}", "قل هذا باللغة {language}: {text}"),
    "hi": ("{language} में अनुवाद करो: {text}", "इसे {language} में कहो: {text}"),
    "id": ("Terjemahkan ke bahasa {language}: {text}", "Katakan ini dalam bahasa {language}: {text}"),
    "ja": ("{language}に訳してください：{text}", "これを{language}で言ってください：{text}"),
    "ko": ("{language}로 번역해 주세요: {text}", "이것을 {language}로 말해 주세요: {text}"),
    "zh": ("翻译成{language}：{text}", "用{language}说：{text}"),
}

# {command} is a program's name; {task} is what a command page promises, in its own words and punctuation.
ASK_COMMAND: dict[str, tuple[str, ...]] = {
    "en": ("{command}: {task}", "Which command? {command}: {task}", "How do I use {command}? {task}"),
    "es": ("{command}: {task}", "¿Qué comando? {command}: {task}"),
    "fr": ("{command} : {task}", "Quelle commande ? {command} : {task}"),
    "de": ("{command}: {task}", "Welcher Befehl? {command}: {task}"),
    "pt": ("{command}: {task}", "Qual comando? {command}: {task}"),
    "ru": ("{command}: {task}", "Какая команда? {command}: {task}"),
    "ar": ("{command}: {task}", "ما الأمر؟ {command}: {task}"),
    "hi": ("{command}: {task}", "कौन सा कमांड? {command}: {task}"),
    "id": ("{command}: {task}", "Perintah apa? {command}: {task}"),
    "ja": ("{command}：{task}", "どのコマンドですか？{command}：{task}"),
    "ko": ("{command}: {task}", "어떤 명령어인가요? {command}: {task}"),
    "zh": ("{command}：{task}", "用什么命令？{command}：{task}"),
}
ASK_PROGRAM: dict[str, str] = {
    "en": "What does the command {command} do?",
    "es": "¿Qué hace el comando {command}?",
    "fr": "Que fait la commande {command} ?",
    "de": "Was macht der Befehl {command}?",
    "pt": "O que faz o comando {command}?",
    "ru": "Что делает команда {command}?",
    "ar": "ماذا يفعل الأمر {command}؟",
    "hi": "{command} कमांड क्या करता है?",
    "id": "Apa fungsi perintah {command}?",
    "ja": "{command}コマンドは何をしますか？",
    "ko": "{command} 명령어는 무엇을 하나요?",
    "zh": "{command}命令是做什么的？",
}

# Questions about a text that stands above them, and that text's frame.
READ: dict[str, str] = {
    "en": "Read this: {text}",
    "es": "Lee esto: {text}",
    "fr": "Lis ceci : {text}",
    "de": "Lies das: {text}",
    "pt": "Leia isto: {text}",
    "ru": "Прочитай: {text}",
    "ar": "اقرأ هذا: {text}",
    "hi": "यह पढ़ो: {text}",
    "id": "Baca ini: {text}",
    "ja": "これを読んでください：{text}",
    "ko": "이것을 읽어 보세요: {text}",
    "zh": "请读：{text}",
}
ASK_NEXT_SENTENCE: dict[str, str] = {
    "en": "What happens next?",
    "es": "¿Qué pasa después?",
    "fr": "Que se passe-t-il ensuite ?",
    "de": "Was passiert dann?",
    "pt": "O que acontece depois?",
    "ru": "Что происходит дальше?",
    "ar": "ماذا يحدث بعد ذلك؟",
    "hi": "आगे क्या होता है?",
    "id": "Apa yang terjadi selanjutnya?",
    "ja": "次に何が起こりますか？",
    "ko": "다음에 무슨 일이 일어나나요?",
    "zh": "接下来发生了什么？",
}
ASK_STORY: dict[str, tuple[str, ...]] = {
    "en": ("Tell me the story “{title}”.", "Tell the story of “{title}”."),
    "es": ("Cuéntame el cuento «{title}».",),
    "fr": ("Raconte-moi l'histoire « {title} ».",),
    "de": ("Erzähl mir die Geschichte „{title}“.",),
    "pt": ("Conte-me a história “{title}”.",),
    "ru": ("Расскажи историю «{title}».",),
    "ar": ("احكِ لي قصة «{title}».",),
    "hi": ("मुझे “{title}” कहानी सुनाओ।",),
    "id": ("Ceritakan kisah “{title}”.",),
    "ja": ("「{title}」のお話をしてください。",),
    "ko": ("“{title}” 이야기를 들려주세요.",),
    "zh": ("给我讲《{title}》的故事。",),
}
# How a story is asked for without a title: any story will do.
ASK_ANY_STORY: dict[str, tuple[str, ...]] = {
    "en": ("Tell me a story.", "Tell me a short story."),
    "es": ("Cuéntame un cuento.", "Cuéntame una historia."),
    "fr": ("Raconte-moi une histoire.", "Raconte une petite histoire."),
    "de": ("Erzähl mir eine Geschichte.", "Erzähl eine kurze Geschichte."),
    "pt": ("Conte-me uma história.", "Conta uma história."),
    "ru": ("Расскажи сказку.", "Расскажи историю."),
    "ar": ("احكِ لي قصة.", "أخبرني قصة قصيرة."),
    "hi": ("मुझे एक कहानी सुनाओ।", "एक छोटी कहानी सुनाओ।"),
    "id": ("Ceritakan sebuah dongeng.", "Ceritakan sebuah cerita pendek."),
    "ja": ("お話をしてください。", "短いお話をしてください。"),
    "ko": ("이야기를 들려주세요.", "짧은 이야기를 해 주세요."),
    "zh": ("给我讲个故事。", "讲一个小故事。"),
}
# What tells which word stands where: first, last, second.
ASK_WORD_AT: dict[str, tuple[str, str, str]] = {
    "en": ("Which word is first: {words}?", "Which word is last: {words}?", "Which word is second: {words}?"),
    "es": ("¿Cuál es la primera palabra: {words}?", "¿Cuál es la última palabra: {words}?", "¿Cuál es la segunda palabra: {words}?"),
    "fr": ("Quel est le premier mot : {words} ?", "Quel est le dernier mot : {words} ?", "Quel est le deuxième mot : {words} ?"),
    "de": ("Welches Wort steht zuerst: {words}?", "Welches Wort steht zuletzt: {words}?", "Welches Wort ist das zweite: {words}?"),
    "pt": ("Qual é a primeira palavra: {words}?", "Qual é a última palavra: {words}?", "Qual é a segunda palavra: {words}?"),
    "ru": ("Какое слово первое: {words}?", "Какое слово последнее: {words}?", "Какое слово второе: {words}?"),
    "ar": ("ما الكلمة الأولى: {words}؟", "ما الكلمة الأخيرة: {words}؟", "ما الكلمة الثانية: {words}؟"),
    "hi": ("पहला शब्द कौन सा है: {words}?", "आखिरी शब्द कौन सा है: {words}?", "दूसरा शब्द कौन सा है: {words}?"),
    "id": ("Kata apa yang pertama: {words}?", "Kata apa yang terakhir: {words}?", "Kata apa yang kedua: {words}?"),
    "ja": ("最初の言葉はどれですか：{words}？", "最後の言葉はどれですか：{words}？", "二番目の言葉はどれですか：{words}？"),
    "ko": ("첫 번째 낱말은 무엇입니까: {words}?", "마지막 낱말은 무엇입니까: {words}?", "두 번째 낱말은 무엇입니까: {words}?"),
    "zh": ("第一个词是什么：{words}？", "最后一个词是什么：{words}？", "第二个词是什么：{words}？"),
}
ASK_REPEAT: dict[str, str] = {
    "en": "Repeat: {words}", "es": "Repite: {words}", "fr": "Répète : {words}", "de": "Wiederhole: {words}", "pt": "Repita: {words}",
    "ru": "Повтори: {words}", "ar": "كرّر: {words}", "hi": "दोहराओ: {words}", "id": "Ulangi: {words}", "ja": "繰り返してください：{words}",
    "ko": "따라 하세요: {words}", "zh": "重复：{words}",
}  # fmt: skip
ASK_REVERSE: dict[str, str] = {
    "en": "Say these words in reverse order: {words}",
    "es": "Di estas palabras en orden inverso: {words}",
    "fr": "Dis ces mots dans l'ordre inverse : {words}",
    "de": "Sag diese Wörter in umgekehrter Reihenfolge: {words}",
    "pt": "Diga estas palavras na ordem inversa: {words}",
    "ru": "Скажи эти слова в обратном порядке: {words}",
    "ar": "قل هذه الكلمات بترتيب معكوس: {words}",
    "hi": "इन शब्दों को उल्टे क्रम में बोलो: {words}",
    "id": "Sebutkan kata-kata ini dalam urutan terbalik: {words}",
    "ja": "これらの言葉を逆の順番で言ってください：{words}",
    "ko": "이 낱말들을 거꾸로 된 순서로 말하세요: {words}",
    "zh": "把这些词倒着顺序说：{words}",
}
# A code that stands hidden in a long text: the sentence that hides it, and the question. {name} is a noun of the inventory.
CODE_SENTENCE: dict[str, str] = {
    "en": "The secret code of the {name} is {code}.",
    "es": "El código secreto de «{name}» es {code}.",
    "fr": "Le code secret de « {name} » est {code}.",
    "de": "Der Geheimcode von „{name}“ ist {code}.",
    "pt": "O código secreto de “{name}” é {code}.",
    "ru": "Секретный код слова «{name}»: {code}.",
    "ar": "الرمز السري لكلمة «{name}» هو {code}.",
    "hi": "“{name}” का गुप्त कोड {code} है।",
    "id": 'Kode rahasia "{name}" adalah {code}.',
    "ja": "「{name}」の秘密のコードは{code}です。",
    "ko": '"{name}"의 비밀 코드는 {code}입니다.',
    "zh": "“{name}”的密码是{code}。",
}
ASK_CODE: dict[str, str] = {
    "en": "What is the secret code of the {name}?",
    "es": "¿Cuál es el código secreto de «{name}»?",
    "fr": "Quel est le code secret de « {name} » ?",
    "de": "Wie lautet der Geheimcode von „{name}“?",
    "pt": "Qual é o código secreto de “{name}”?",
    "ru": "Какой секретный код слова «{name}»?",
    "ar": "ما الرمز السري لكلمة «{name}»؟",
    "hi": "“{name}” का गुप्त कोड क्या है?",
    "id": 'Apa kode rahasia "{name}"?',
    "ja": "「{name}」の秘密のコードは何ですか？",
    "ko": '"{name}"의 비밀 코드는 무엇입니까?',
    "zh": "“{name}”的密码是什么？",
}
# "Answer in {language}." as a wish beside a question that is asked in another language.
ANSWER_IN: dict[str, str] = {
    "en": "Answer in {language}.", "es": "Responde en {language}.", "fr": "Réponds en {language}.", "de": "Antworte auf {language}.",
    "pt": "Responda em {language}.", "ru": "Ответь {language}.", "ar": "أجب باللغة {language}.", "hi": "{language} में जवाब दो।",
    "id": "Jawab dalam bahasa {language}.", "ja": "{language}で答えてください。", "ko": "{language}로 대답해 주세요.", "zh": "请用{language}回答。",
}  # fmt: skip

ASK_CONTINENT: dict[str, str] = {
    "en": "Which continent is {country} in?",
    "es": "¿En qué continente está este país: {country}?",
    "fr": "Sur quel continent se trouve ce pays : {country} ?",
    "de": "Auf welchem Kontinent liegt dieses Land: {country}?",
    "pt": "Em que continente fica este país: {country}?",
    "ru": "На каком континенте находится эта страна: {country}?",
    "ar": "في أي قارة يقع هذا البلد: {country}؟",
    "hi": "{country} किस महाद्वीप में है?",
    "id": "{country} ada di benua apa?",
    "ja": "{country}はどの大陸にありますか？",
    "ko": "{country}은(는) 어느 대륙에 있습니까?",
    "zh": "{country}在哪个洲？",
}
# {of_country} is the country's name as it stands after "capital": bent where the language bends it (`geography`).
ASK_CAPITAL: dict[str, str] = {
    "en": "What is the capital of {of_country}?",
    "es": "¿Cuál es la capital {of_country}?",
    "fr": "Quelle est la capitale {of_country} ?",
    "de": "Was ist die Hauptstadt {of_country}?",
    "pt": "Qual é a capital {of_country}?",
    "ru": "Какая столица {of_country}?",
    "ar": "ما هي عاصمة {of_country}؟",
    "hi": "{of_country} की राजधानी क्या है?",
    "id": "Apa ibu kota {of_country}?",
    "ja": "{of_country}の首都はどこですか？",
    "ko": "{of_country}의 수도는 어디입니까?",
    "zh": "{of_country}的首都是哪里？",
}
ASK_CAPITAL_OF: dict[str, str] = {
    "en": "{capital} is the capital of which country?",
    "es": "¿De qué país es capital {capital}?",
    "fr": "De quel pays {capital} est-elle la capitale ?",
    "de": "Von welchem Land ist {capital} die Hauptstadt?",
    "pt": "{capital} é a capital de que país?",
    "ru": "{capital} — столица какой страны?",
    "ar": "{capital} عاصمة أي دولة؟",
    "hi": "{capital} किस देश की राजधानी है?",
    "id": "{capital} adalah ibu kota negara apa?",
    "ja": "{capital}はどの国の首都ですか？",
    "ko": "{capital}은(는) 어느 나라의 수도입니까?",
    "zh": "{capital}是哪个国家的首都？",
}
# "What is {title}?" over an encyclopedia, in the languages that have one; the English questions need grammar (`skills.facts`).
ASK_WHAT_IS: dict[str, tuple[str, ...]] = {"ko": ("{title}은(는) 무엇인가요?", "{title}에 대해 알려 주세요.")}
