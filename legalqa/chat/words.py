"""What the chat says to people, in Russian, Kazakh and English: a text a key."""

from typing import Any

# fmt: off
TEXTS: dict[str, dict[str, Any]] = {
    "ru": {
        "greeting": "Вопросы и ответы по законодательству Казахстана. Модель: {model}.",
        "no_adapter": "Адаптера здесь нет: отвечает исходная модель, не обученная праву. "
            "Обучить: python train_8b.py",
        "as_is": "Адаптера здесь нет: модель отвечает как есть.",
        "base_tokenizer": "В папке адаптера нет токенизатора: взят токенизатор исходной модели.",
        "how_to": "На каждый вопрос модель отвечает отдельно. /help покажет команды, Ctrl-D завершает.",
        "disclaimer": "Это не юридическая консультация: проверьте ответ по действующему тексту закона.",
        "libraries": "загружаю библиотеки", "weights": "загружаю веса модели", "adapter": "подключаю адаптер",
        "starting": "запускаюсь", "thinking": "читаю вопрос",
        "thinking_long": "читаю вопрос, токенов: {tokens}",
        "toolbar": "/help — команды · Alt+Enter — новая строка · {model} · {device}",
        "second": "с", "gigabyte": "ГБ",
        "context_mark": "[контекст: {length} зн.] ", "history_mark": "[диалог: {count}] ",
        "citations": "Ссылки на нормы (сверены с перечнем статей на начало 2026 года):",
        "exists": "статья есть", "missing": "такой статьи нет", "repealed": "статья исключена",
        "old_act": "статья есть, но акт утратил силу", "unknown_act": "акта нет в перечне, не проверено",
        "no_act": "акт не назван, не проверено", "more": "и ещё {count}",
        "cut_off": "Ответ оборван по пределу max_new_tokens {tokens}. "
            "Длиннее: /set max_new_tokens {longer}, затем /retry",
        "cut_off_plain": "Ответ оборван по пределу --max-new-tokens {tokens}; длиннее: "
            "--max-new-tokens {longer}",
        "stopped": "Остановлено.", "empty": "Модель ничего не ответила.",
        "dropped": "Диалог не поместился (предел в токенах: {limit}); "
            "самых старых вопросов, которых модель не видит: {count}.",
        "long": "В вопросе токенов: {tokens}; обучали на строках до {limit}, ответ может быть хуже.",
        "too_long": "В вопросе токенов: {tokens}, а помещается {limit}. Сократите вопрос или контекст.",
        "out_of_memory": "Не хватило памяти (токенов в вопросе: {tokens}). "
            "Сократите вопрос, контекст или диалог.",
        "bad_bytes": "Строка {line}: не UTF-8; нечитаемые байты заменены знаком \ufffd.",
        "unreadable": "Строка {line}: не UTF-8, прочитать нельзя. "
            "Перекодируйте, например: iconv -f cp1251 -t utf-8",
        "bad_bytes_typed": "Вопрос не в UTF-8; нечитаемые байты заменены знаком \ufffd.",
        "leave_hint": "Ctrl-D или /exit завершает чат.",
        "unknown_command": "Нет команды {name}. {near}Все команды: /help",
        "did_you_mean": "Может быть, {near}? ",
        "help": {
            "/help": "эта справка", "/reset": "забыть диалог и контекст",
            "/context ТЕКСТ": "текст, к которому относятся вопросы (договор, статья); "
                "/context off убирает его",
            "/system ТЕКСТ": "системное сообщение; /system off возвращает то, с которым модель обучали",
            "/history on|off": "помнить прежние вопросы и ответы или отвечать на каждый отдельно",
            "/set КЛЮЧ ЗНАЧЕНИЕ": "temperature, top_p, repetition_penalty, max_new_tokens, seed; "
                "/set показывает все",
            "/retry": "ответить на последний вопрос ещё раз", "/undo": "убрать последний вопрос с ответом",
            "/compare": "последний вопрос исходной модели и модели с адаптером; /compare ВОПРОС — новый",
            "/save ФАЙЛ": "сохранить чат в Markdown; ФАЙЛ.jsonl — дописать последний ответ строкой для "
                "обучения",
            "/status": "модель, устройство, настройки, скорость последнего ответа",
            "/exit": "закончить (или Ctrl-D)",
        },
        "help_keys": "Alt+Enter — новая строка; вставленный текст остаётся одним вопросом; "
            "Ctrl-C останавливает ответ.",
        "reset_done": "Диалог и контекст забыты.",
        "context_none": "Контекста нет. Задать: /context ТЕКСТ",
        "context_is": "Контекст, {length} зн.: {text}",
        "context_set": "Контекст задан, {length} зн. Он относится ко всем следующим вопросам; "
            "убрать: /context off",
        "context_off": "Контекст убран.",
        "system_is": "Системное сообщение: {text}", "system_none": "Системного сообщения нет.",
        "system_set": "Системное сообщение задано. Модель обучали не с ним: ответы могут стать хуже. "
            "Вернуть: /system off",
        "system_off": "Системное сообщение снова такое, как при обучении.",
        "system_differs": "Системное сообщение не то, с которым модель обучали: ответы могут стать хуже.",
        "history_on": "Диалог включён: модель видит прежние вопросы и ответы. "
            "Обучали её на отдельных вопросах.",
        "history_off": "Диалог выключен: на каждый вопрос модель отвечает отдельно.",
        "history_usage": "Нужно on или off: /history on",
        "set_usage": "Нужны ключ и значение: /set temperature 0.7",
        "set_unknown": "Нет настройки {name}. {near}Есть: {keys}",
        "set_bad": "{name}: {value} не подходит, нужно {wanted}.",
        "wants_temperature": "число от {low} до {high} (0 — без случайности)",
        "wants_top_p": "число от {low} до {high}",
        "wants_repetition_penalty": "число от {low} до {high} (1 — без штрафа)",
        "wants_max_new_tokens": "целое число от {low} до {high}",
        "wants_seed": "целое число от {low} до {high}",
        "nothing_yet": "Вопросов ещё не было.", "undo_done": "Убрано: {question}",
        "retry_same": "При temperature 0 ответ будет тем же. Иначе: /set temperature 0.7",
        "compare_none": "Адаптера нет, сравнивать не с чем.", "base_answer": "Исходная модель ({model}):",
        "tuned_answer": "С адаптером ({model}):",
        "save_usage": "Нужно имя файла: /save chat.md или /save rows.jsonl",
        "save_exists": "{path} уже есть. Заменить: /save! {path}", "saved": "Записано: {path}",
        "save_nothing": "Сохранять нечего: ответов ещё нет.",
        "save_row_unfit": "Последний ответ пуст, остановлен или оборван: строкой для обучения он не станет.",
        "save_row_there": "Такая строка в {path} уже есть.",
        "saved_row": "Строка для обучения дописана: {path}, всего строк: {count}",
        "save_bad_file": "{path}: не JSONL, дописывать не стану ({problem}).",
        "transcript": "Чат с моделью {model}", "question": "Вопрос", "answer": "Ответ", "context": "Контекст",
        "status": {
            "model": "модель", "base": "исходная модель", "run": "обучена в запуске", "device": "устройство",
            "loaded": "загружена за", "system": "системное сообщение", "context": "контекст",
            "history": "диалог",
            "settings": "настройки", "changed": "не как при обучении", "limit": "длина при обучении",
            "last": "последний ответ", "memory": "память, пик",
        },
        "none": "нет", "on": "включён", "off": "выключен", "characters": "{count} зн.",
        "tokens": "{count} ток.",
        "changed": "{setting} {value} (при обучении {trained})",
        "turns": "включён, пар «вопрос — ответ»: {count}",
        "last": "{tokens} ток. за {seconds} с: первый через {first} с, затем {rate} ток./с; "
            "в запросе {prompt} ток.",
    },
    "kk": {
        "greeting": "Қазақстан заңнамасы бойынша сұрақ-жауап. Модель: {model}.",
        "no_adapter": "Мұнда адаптер жоқ: құқық бойынша оқытылмаған бастапқы модель жауап береді. "
            "Оқыту: python train_8b.py",
        "as_is": "Мұнда адаптер жоқ: модель сол қалпында жауап береді.",
        "base_tokenizer": "Адаптер қалтасында токенизатор жоқ: бастапқы модельдің токенизаторы алынды.",
        "how_to": "Әр сұраққа жеке жауап беріледі. /help командаларды көрсетеді, Ctrl-D аяқтайды.",
        "disclaimer": "Бұл заң кеңесі емес: жауапты заңның қолданыстағы мәтіні бойынша тексеріңіз.",
        "libraries": "кітапханалар жүктелуде", "weights": "модель салмақтары жүктелуде",
        "adapter": "адаптер қосылуда",
        "starting": "іске қосылуда", "thinking": "сұрақ оқылуда",
        "thinking_long": "сұрақ оқылуда, {tokens} токен",
        "toolbar": "/help — командалар · Alt+Enter — жаңа жол · {model} · {device}",
        "second": "с", "gigabyte": "ГБ",
        "context_mark": "[контекст: {length} таңба] ", "history_mark": "[диалог: {count}] ",
        "citations": "Нормаларға сілтемелер (2026 жылдың басындағы баптар тізбесімен салыстырылды):",
        "exists": "бап бар", "missing": "мұндай бап жоқ", "repealed": "бап алып тасталған",
        "old_act": "бап бар, бірақ актінің күші жойылған", "unknown_act": "акт тізбеде жоқ, тексерілмеді",
        "no_act": "акт аталмаған, тексерілмеді", "more": "және тағы {count}",
        "cut_off": "Жауап max_new_tokens {tokens} шегінде үзілді. "
            "Ұзағырақ: /set max_new_tokens {longer}, содан кейін /retry",
        "cut_off_plain": "Жауап --max-new-tokens {tokens} шегінде үзілді; ұзағырақ: "
            "--max-new-tokens {longer}",
        "stopped": "Тоқтатылды.", "empty": "Модель жауап бермеді.",
        "dropped": "Диалог сыймады (шегі {limit} токен); модель көрмейтін ең ескі сұрақтар саны: {count}.",
        "long": "Сұрақ {tokens} токен, ал модель {limit} токенге дейінгі жолдармен оқытылған: "
            "жауап нашарлауы мүмкін.",
        "too_long": "Сұрақ {tokens} токен, ал {limit} ғана сыяды: сұрақты немесе контексті қысқартыңыз.",
        "out_of_memory": "{tokens} токендік сұраққа жад жетпеді: "
            "сұрақты, контексті немесе диалогты қысқартыңыз.",
        "bad_bytes": "{line}-жол: UTF-8 емес; оқылмаған байттар \ufffd таңбасымен ауыстырылды.",
        "unreadable": "{line}-жол: UTF-8 емес, оқу мүмкін емес. "
            "Кодтауын ауыстырыңыз, мысалы: iconv -f cp1251 -t utf-8",
        "bad_bytes_typed": "Сұрақ UTF-8 емес; оқылмаған байттар \ufffd таңбасымен ауыстырылды.",
        "leave_hint": "Ctrl-D немесе /exit чатты аяқтайды.",
        "unknown_command": "{name} деген команда жоқ. {near}Барлық команда: /help",
        "did_you_mean": "Мүмкін, {near}? ",
        "help": {
            "/help": "осы анықтама", "/reset": "диалог пен контексті ұмыту",
            "/context МӘТІН": "сұрақтар қатысты мәтін (шарт, бап); /context off оны алып тастайды",
            "/system МӘТІН": "жүйелік хабар; /system off модель оқытылған хабарды қайтарады",
            "/history on|off": "бұрынғы сұрақ-жауаптарды есте сақтау немесе әр сұраққа жеке жауап беру",
            "/set КІЛТ МӘН": "temperature, top_p, repetition_penalty, max_new_tokens, seed; "
                "/set бәрін көрсетеді",
            "/retry": "соңғы сұраққа қайта жауап беру", "/undo": "соңғы сұрақ пен жауапты алып тастау",
            "/compare": "соңғы сұрақты бастапқы модельге де, адаптері бар модельге де қою; "
                "/compare СҰРАҚ — жаңасы",
            "/save ФАЙЛ": "чатты Markdown түрінде сақтау; ФАЙЛ.jsonl — соңғы жауапты оқыту жолы етіп қосу",
            "/status": "модель, құрылғы, баптаулар, соңғы жауаптың жылдамдығы",
            "/exit": "аяқтау (немесе Ctrl-D)",
        },
        "help_keys": "Alt+Enter — жаңа жол; қойылған мәтін бір сұрақ болып қалады; Ctrl-C жауапты тоқтатады.",
        "reset_done": "Диалог пен контекст ұмытылды.",
        "context_none": "Контекст жоқ. Беру: /context МӘТІН",
        "context_is": "Контекст, {length} таңба: {text}",
        "context_set": "Контекст берілді, {length} таңба. Ол келесі сұрақтардың бәріне қатысты; "
            "алып тастау: /context off",
        "context_off": "Контекст алып тасталды.",
        "system_is": "Жүйелік хабар: {text}", "system_none": "Жүйелік хабар жоқ.",
        "system_set": "Жүйелік хабар берілді. Модель онымен оқытылмаған: жауаптар нашарлауы мүмкін. "
            "Қайтару: /system off",
        "system_off": "Жүйелік хабар қайтадан оқыту кезіндегідей.",
        "system_differs": "Жүйелік хабар модель оқытылған хабардан өзгеше: жауаптар нашарлауы мүмкін.",
        "history_on": "Диалог қосылды: модель бұрынғы сұрақ-жауаптарды көреді. "
            "Ол жеке сұрақтармен оқытылған.",
        "history_off": "Диалог өшірілді: әр сұраққа жеке жауап беріледі.",
        "history_usage": "on немесе off керек: /history on",
        "set_usage": "Кілт пен мән керек: /set temperature 0.7",
        "set_unknown": "{name} деген баптау жоқ. {near}Барлары: {keys}",
        "set_bad": "{name}: {value} жарамайды, керегі: {wanted}.",
        "wants_temperature": "{low}–{high} аралығындағы сан (0 — кездейсоқтықсыз)",
        "wants_top_p": "{low}–{high} аралығындағы сан",
        "wants_repetition_penalty": "{low}–{high} аралығындағы сан (1 — айыппұлсыз)",
        "wants_max_new_tokens": "{low}–{high} аралығындағы бүтін сан",
        "wants_seed": "{low}–{high} аралығындағы бүтін сан",
        "nothing_yet": "Әзірге сұрақ болған жоқ.", "undo_done": "Алып тасталды: {question}",
        "retry_same": "temperature 0 болғанда жауап өзгермейді. Өзгерту: /set temperature 0.7",
        "compare_none": "Адаптер жоқ, салыстыратын ештеңе жоқ.", "base_answer": "Бастапқы модель ({model}):",
        "tuned_answer": "Адаптермен ({model}):",
        "save_usage": "Файл аты керек: /save chat.md немесе /save rows.jsonl",
        "save_exists": "{path} бұрыннан бар. Ауыстыру: /save! {path}", "saved": "Жазылды: {path}",
        "save_nothing": "Сақтайтын ештеңе жоқ: әзірге жауап болған жоқ.",
        "save_row_unfit": "Соңғы жауап бос, тоқтатылған немесе үзілген: ол оқыту жолына жарамайды.",
        "save_row_there": "{path} файлында мұндай жол бар.",
        "saved_row": "Оқыту жолы қосылды: {path}, барлық жол саны: {count}",
        "save_bad_file": "{path}: JSONL емес, жол қосылмайды ({problem}).",
        "transcript": "{model} моделімен чат", "question": "Сұрақ", "answer": "Жауап", "context": "Контекст",
        "status": {
            "model": "модель", "base": "бастапқы модель", "run": "оқыту сеансы", "device": "құрылғы",
            "loaded": "жүктелу уақыты", "system": "жүйелік хабар", "context": "контекст", "history": "диалог",
            "settings": "баптаулар", "changed": "оқытудағыдай емес", "limit": "оқыту кезіндегі ұзындық",
            "last": "соңғы жауап", "memory": "жад, ең көбі",
        },
        "none": "жоқ", "on": "қосулы", "off": "өшірулі", "characters": "{count} таңба",
        "tokens": "{count} токен",
        "changed": "{setting} {value} (оқытуда {trained})",
        "turns": "қосулы, сұрақ-жауап саны: {count}",
        "last": "{seconds} секундта {tokens} токен: "
            "біріншісі {first} с кейін, одан әрі секундына {rate} токен; сұрау {prompt} токен",
    },
    "en": {
        "greeting": "Questions and answers on Kazakhstan's legislation. Model: {model}.",
        "no_adapter": "No adapter here: the base model answers, which has not been trained on law. "
            "Train: python train_8b.py",
        "as_is": "No adapter here: the model answers as it is.",
        "base_tokenizer": "No tokenizer in the adapter's folder: the base model's is used.",
        "how_to": "Each question is answered on its own. /help shows the commands, Ctrl-D leaves.",
        "disclaimer": "This is not legal advice: check the answer against the text of the law in force.",
        "libraries": "loading libraries", "weights": "loading the model's weights",
        "adapter": "attaching the adapter",
        "starting": "starting", "thinking": "reading the question",
        "thinking_long": "reading the question, {tokens} tokens",
        "toolbar": "/help: commands · Alt+Enter: new line · {model} · {device}",
        "second": "s", "gigabyte": "GB",
        "context_mark": "[context: {length} chars] ", "history_mark": "[history: {count}] ",
        "citations": "Norms cited (checked against the lists of articles as of early 2026):",
        "exists": "article exists", "missing": "no such article", "repealed": "article repealed",
        "old_act": "article exists, but the act is no longer in force",
        "unknown_act": "act not in the list, not checked",
        "no_act": "no act named, not checked", "more": "and {count} more",
        "cut_off": "Answer cut off at max_new_tokens {tokens}. "
            "Longer: /set max_new_tokens {longer}, then /retry",
        "cut_off_plain": "Answer cut off at --max-new-tokens {tokens}; longer: --max-new-tokens {longer}",
        "stopped": "Stopped.", "empty": "The model answered nothing.",
        "dropped": "Does not fit {limit} tokens: oldest turns that the model does not see: {count}.",
        "long": "The question takes {tokens} tokens; training rows had up to {limit}: "
            "the answer may be worse.",
        "too_long": "The question takes {tokens} tokens, {limit} fit: shorten the question or the context.",
        "out_of_memory": "Not enough memory for a question of {tokens} tokens: "
            "shorten question, context or history.",
        "bad_bytes": "Line {line}: not UTF-8; unreadable bytes were replaced by \ufffd.",
        "unreadable": "Line {line}: not UTF-8, cannot be read. Convert it, e.g. iconv -f cp1251 -t utf-8",
        "bad_bytes_typed": "The question is not UTF-8; unreadable bytes were replaced by \ufffd.",
        "leave_hint": "Ctrl-D or /exit leaves the chat.",
        "unknown_command": "There is no command {name}. {near}All commands: /help",
        "did_you_mean": "Did you mean {near}? ",
        "help": {
            "/help": "this help", "/reset": "forget history and context",
            "/context TEXT": "text that the questions are about (a contract, an article); "
                "/context off removes it",
            "/system TEXT": "system message; /system off restores the one of training",
            "/history on|off": "remember earlier turns, or answer each question on its own",
            "/set KEY VALUE": "temperature, top_p, repetition_penalty, max_new_tokens, seed; /set shows all",
            "/retry": "answer the last question again", "/undo": "remove the last question and answer",
            "/compare": "the last question to the base model and to the tuned one; "
                "/compare QUESTION asks another",
            "/save FILE": "save the chat as Markdown; FILE.jsonl appends the last answer as a training row",
            "/status": "model, device, settings, speed of the last answer", "/exit": "leave (or Ctrl-D)",
        },
        "help_keys": "Alt+Enter: new line; pasted text stays one question; Ctrl-C stops the answer.",
        "reset_done": "History and context are forgotten.",
        "context_none": "There is no context. Set it: /context TEXT",
        "context_is": "Context, {length} chars: {text}",
        "context_set": "Context set, {length} chars. It goes with every question from here on; "
            "remove it: /context off",
        "context_off": "Context removed.",
        "system_is": "System message: {text}", "system_none": "There is no system message.",
        "system_set": "System message set. The model was not trained with it: answers may get worse. "
            "Restore: /system off",
        "system_off": "System message as in training again.",
        "system_differs": "Another system message than in training: answers may get worse.",
        "history_on": "History on: the model sees earlier turns. It was trained on single questions.",
        "history_off": "History off: each question is answered on its own.",
        "history_usage": "Say on or off: /history on",
        "set_usage": "Give a key and a value: /set temperature 0.7",
        "set_unknown": "There is no setting {name}. {near}Known: {keys}",
        "set_bad": "{name}: {value} will not do, wanted: {wanted}.",
        "wants_temperature": "a number from {low} to {high} (0: no randomness)",
        "wants_top_p": "a number from {low} to {high}",
        "wants_repetition_penalty": "a number from {low} to {high} (1: off)",
        "wants_max_new_tokens": "a whole number from {low} to {high}",
        "wants_seed": "a whole number from {low} to {high}",
        "nothing_yet": "There was no question yet.", "undo_done": "Removed: {question}",
        "retry_same": "At temperature 0 the answer will be the same. Otherwise: /set temperature 0.7",
        "compare_none": "There is no adapter, so nothing to compare.", "base_answer": "Base model ({model}):",
        "tuned_answer": "With the adapter ({model}):",
        "save_usage": "Give a file name: /save chat.md or /save rows.jsonl",
        "save_exists": "{path} is already there. Replace it: /save! {path}", "saved": "Written: {path}",
        "save_nothing": "Nothing to save: there is no answer yet.",
        "save_row_unfit": "The last answer is empty, stopped or cut off: it will not do as a training row.",
        "save_row_there": "{path} already has this row.",
        "saved_row": "Training row appended: {path}, rows now: {count}",
        "save_bad_file": "{path}: not JSONL, nothing appended ({problem}).",
        "transcript": "Chat with {model}", "question": "Question", "answer": "Answer", "context": "Context",
        "status": {
            "model": "model", "base": "base model", "run": "trained in run", "device": "device",
            "loaded": "loaded in", "system": "system message", "context": "context", "history": "history",
            "settings": "settings", "changed": "not as trained", "limit": "length in training",
            "last": "last answer", "memory": "memory, peak",
        },
        "none": "none", "on": "on", "off": "off", "characters": "{count} chars", "tokens": "{count} tokens",
        "changed": "{setting} {value} (in training {trained})",
        "turns": "on, turns: {count}",
        "last": "{tokens} tokens in {seconds} s: the first after {first} s, then {rate} tokens/s; "
            "prompt {prompt} tokens",
    },
}
# fmt: on
LANGUAGES = tuple(TEXTS)


def say(language: str, key: str, **values: object) -> str:
    return TEXTS[language][key].format(**values)


def decimal(language: str, value: float, digits: int = 1) -> str:
    """As people write it: 12,3 in Russian and Kazakh, 12.3 in English."""
    text = f"{value:.{digits}f}"
    return text if language == "en" else text.replace(".", ",")
