"""The words of the synthetic bot: branches, managers, clients, products.

Faker fills pools once: called for every row it would take most of the time.
"""

import random
from dataclasses import dataclass
from datetime import timedelta, timezone

from faker import Faker


@dataclass(frozen=True)
class Region:
    """One MRF: hours ahead of UTC, and its branches with their city."""

    utc_offset: int
    branches: tuple[tuple[str, str], ...]

    @property
    def zone(self) -> timezone:
        """The region's fixed offset from UTC, without daylight saving time."""
        return timezone(timedelta(hours=self.utc_offset))


REGIONS = {
    "mrf1": Region(
        3,
        (
            ("Московский филиал", "Москва"),
            ("Тверской филиал", "Тверь"),
            ("Тульский филиал", "Тула"),
            ("Воронежский филиал", "Воронеж"),
            ("Ярославский филиал", "Ярославль"),
        ),
    ),
    "mrf2": Region(
        3,
        (
            ("Петербургский филиал", "Санкт-Петербург"),
            ("Карельский филиал", "Петрозаводск"),
            ("Мурманский филиал", "Мурманск"),
            ("Псковский филиал", "Псков"),
        ),
    ),
    "mrf3": Region(
        4,
        (
            ("Самарский филиал", "Самара"),
            ("Нижегородский филиал", "Нижний Новгород"),
            ("Саратовский филиал", "Саратов"),
            ("Ульяновский филиал", "Ульяновск"),
        ),
    ),
    "mrf4": Region(
        3,
        (
            ("Краснодарский филиал", "Краснодар"),
            ("Ростовский филиал", "Ростов-на-Дону"),
            ("Волгоградский филиал", "Волгоград"),
            ("Ставропольский филиал", "Ставрополь"),
        ),
    ),
    "mrf5": Region(
        5,
        (
            ("Екатеринбургский филиал", "Екатеринбург"),
            ("Пермский филиал", "Пермь"),
            ("Челябинский филиал", "Челябинск"),
            ("Тюменский филиал", "Тюмень"),
        ),
    ),
    "mrf6": Region(
        7,
        (
            ("Новосибирский филиал", "Новосибирск"),
            ("Красноярский филиал", "Красноярск"),
            ("Томский филиал", "Томск"),
            ("Алтайский филиал", "Барнаул"),
        ),
    ),
    "mrf7": Region(
        10,
        (
            ("Приморский филиал", "Владивосток"),
            ("Хабаровский филиал", "Хабаровск"),
            ("Сахалинский филиал", "Южно-Сахалинск"),
        ),
    ),
}


@dataclass(frozen=True)
class Manager:
    """A manager; `skill` is how much more often than others he wins an order."""

    manager_id: str
    manager_name: str
    branch: str
    city: str
    skill: float


@dataclass(frozen=True)
class Tariff:
    """A tariff of a service: roubles per month and once."""

    service: str
    tariff: str
    monthly: int
    one_off: int


TARIFFS = {
    "individual": (
        Tariff("Интернет", "Домашний 100", 550, 0),
        Tariff("Интернет", "Домашний 500", 850, 0),
        Tariff("Цифровое ТВ", "Базовый пакет", 350, 990),
        Tariff("Мобильная связь", "Семейный", 650, 0),
        Tariff("Умный дом", "Стандарт", 290, 4_500),
        Tariff("Видеонаблюдение", "Домашнее", 300, 5_900),
    ),
    "small_business": (
        Tariff("Интернет", "Бизнес 100", 2_900, 3_000),
        Tariff("Виртуальная АТС", "10 номеров", 1_990, 0),
        Tariff("Видеонаблюдение", "Офис 4 камеры", 2_400, 24_000),
        Tariff("Мобильная связь", "Корпоративный", 490, 0),
    ),
    "enterprise": (
        Tariff("Интернет", "Выделенный канал", 38_000, 60_000),
        Tariff("Виртуальный ЦОД", "Базовый", 95_000, 0),
        Tariff("Виртуальная АТС", "100 номеров", 14_900, 15_000),
        Tariff("VPN", "Сеть филиалов", 52_000, 80_000),
    ),
    "government": (
        Tariff("Интернет", "Социальный объект", 12_000, 18_000),
        Tariff("Видеонаблюдение", "Безопасный город", 46_000, 210_000),
        Tariff("VPN", "Ведомственная сеть", 41_000, 70_000),
    ),
}
SEGMENTS = ("individual", "small_business", "enterprise", "government")
SEGMENT_WEIGHTS = (70, 22, 5, 3)
UNITS = {"individual": (1, 2), "small_business": (1, 12), "enterprise": (1, 10), "government": (1, 8)}
REFUSAL_REASONS = (
    "Дорого",
    "Выбрал конкурента",
    "Нет технической возможности",
    "Не нужна услуга",
    "Нет бюджета",
)
REFUSAL_WEIGHTS = (34, 26, 12, 18, 10)
LOST_REASONS = ("Нет технической возможности", "Клиент отказался", "Истёк срок предложения", "Долг клиента")
LOST_WEIGHTS = (40, 35, 15, 10)


class Vocabulary:
    """Pools of managers and clients' names of one MRF, the same for the same seed."""

    def __init__(self, mrf: str, seed: int, managers: int) -> None:
        faker = Faker("ru_RU")
        faker.seed_instance(f"{mrf} {seed}")
        rng = random.Random(f"{mrf} {seed}")
        region = REGIONS.get(mrf, REGIONS["mrf1"])
        self.zone = region.zone
        weights = [1 / (rank + 1) for rank in range(len(region.branches))]
        self.managers = [
            Manager(
                f"{mrf}-M{number:04d}",
                faker.name(),
                *rng.choices(region.branches, weights)[0],
                skill=rng.uniform(0.6, 1.4),
            )
            for number in range(1, managers + 1)
        ]
        # Some managers do several times the work of others.
        self.manager_weights = [rng.paretovariate(2.5) for _ in self.managers]
        self._people = [faker.name() for _ in range(500)]
        self._companies = [f"«{faker.last_name().removesuffix('а')} {word}»" for word in faker.words(300)]

    def client_name(self, rng: random.Random, segment: str) -> str:
        """Return a random client of a segment: a person, a government office or a company."""
        if segment == "individual":
            return rng.choice(self._people)
        if segment == "government":
            return f"Администрация, отдел {rng.randint(1, 40)}"
        return f"{rng.choice(('ООО', 'АО', 'ИП'))} {rng.choice(self._companies)}"
