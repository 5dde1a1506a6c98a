"""Columns of the data sheets: the contract's fields that analysts use, and the origin of each row."""

from crmbot_exporter.layout import Column, Kind

_WHEN = (
    Column("occurred_at", "Дата и время", Kind.MOMENT, 150),
    Column("recorded_at", "Записано в бот", Kind.MOMENT, 150),
)
_WHO = (
    Column("branch", "Филиал", width=150),
    Column("city", "Город", width=130),
    Column("manager_id", "Код менеджера", width=110),
    Column("manager_name", "Менеджер", width=220),
    Column("lead_id", "Лид", width=130),
    Column("client_id", "Код клиента", width=130),
)
# Enough to trace a row back to the bot's file.
_ORIGIN = (
    Column("mrf", "МРФ", width=70),
    Column("source_id", "Файл бота", width=270),
    Column("transaction_id", "№ транзакции", Kind.IDENTIFIER, 110),
    Column("loaded_at", "Загружено", Kind.MOMENT, 150),
)

ACTIONS_DATA = (
    *_WHEN,
    *_WHO,
    Column("client_name", "Клиент", width=240),
    Column("segment", "Сегмент", width=130),
    Column("action", "Действие", width=110),
    Column("channel", "Канал", width=100),
    Column("product", "Продукт", width=170),
    Column("result", "Результат", width=130),
    Column("refusal_reason", "Причина отказа", width=200),
    Column("potential_revenue", "Потенциал, в месяц", Kind.ROUBLES_KOPECKS, 130),
    *_ORIGIN,
)

NATURE_DATA = (
    *_WHEN,
    *_WHO,
    Column("segment", "Сегмент", width=130),
    Column("order_id", "Заказ", width=130),
    Column("service", "Услуга", width=170),
    Column("tariff", "Тариф", width=170),
    Column("units", "Единицы", Kind.INTEGER, 90),
    Column("status", "Статус", width=110),
    Column("lost_reason", "Причина потери", width=200),
    Column("one_off_revenue", "Разовая выручка", Kind.ROUBLES_KOPECKS, 130),
    Column("monthly_revenue", "Выручка в месяц", Kind.ROUBLES_KOPECKS, 130),
    *_ORIGIN,
)
