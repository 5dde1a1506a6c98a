"""Russian labels of the codes in the contract and the marts."""

MRF_NAMES = {
    "mrf1": "Центр",
    "mrf2": "Северо-Запад",
    "mrf3": "Волга",
    "mrf4": "Юг",
    "mrf5": "Урал",
    "mrf6": "Сибирь",
    "mrf7": "Дальний Восток",
}

# By column name, in the contract and in the marts.
LABELS = {
    "mrf": MRF_NAMES,
    "segment": {
        "individual": "Физические лица",
        "small_business": "Малый бизнес",
        "enterprise": "Крупный бизнес",
        "government": "Госсектор",
    },
    "action": {
        "lead_created": "Новый лид",
        "call": "Звонок",
        "message": "Сообщение",
        "meeting": "Встреча",
        "presentation": "Презентация",
        "offer": "Предложение",
    },
    "channel": {
        "phone": "Телефон",
        "messenger": "Мессенджер",
        "email": "Эл. почта",
        "office": "Офис",
        "site_visit": "Выезд",
    },
    "result": {
        "new": "Новый",
        "interested": "Заинтересован",
        "callback": "Перезвонить",
        "no_answer": "Нет ответа",
        "thinking": "Думает",
        "refused": "Отказ",
        "order_placed": "Заявка оформлена",
    },
    "status": {
        "application": "Заявка",
        "feasibility": "Техпроверка",
        "contract": "Договор",
        "connected": "Подключён",
        "lost": "Потерян",
    },
    "step": {
        "lead": "Лид",
        "contact": "Контакт",
        "meeting": "Встреча, презентация",
        "offer": "Предложение",
        "order": "Заявка оформлена",
        "application": "Заявка",
        "feasibility": "Техпроверка",
        "contract": "Договор",
        "connected": "Подключение",
    },
    "hour": {str(hour): f"{hour:02}:00" for hour in range(24)},
}


def label(column: str, value: object) -> str:
    """Return the label of a code, or the value itself if it has none."""
    text = str(value)
    return LABELS.get(column, {}).get(text, text)


def mrf_title(mrf: str) -> str:
    """Return the MRF's name for titles, or its code if it has none; for an empty MRF, the country."""
    if not mrf:
        return "Вся Россия"
    return f"МРФ «{MRF_NAMES[mrf]}»" if mrf in MRF_NAMES else f"МРФ {mrf}"
