"""Names of people, companies and state bodies, all invented; the same number always has the same name.

A legal client's name ends with an ИНН whose checksum is right and whose region, 00, does not exist.
"""

from typing import TypeVar

from crmbot_core.contracts.models import Segment
from crmbot_generator.chance import mixed
from crmbot_generator.data import read_data

T = TypeVar("T")

_TABLE = 1024
_WEIGHTS_10 = (2, 4, 10, 3, 5, 9, 4, 6, 8)
_WEIGHTS_12 = ((7, 2, 4, 10, 3, 5, 9, 4, 6, 8), (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8))


class Names:
    """Names by number, for one seed."""

    def __init__(self, seed: int) -> None:
        words = read_data("world/names.yaml")
        self._seed = seed
        self._given = (_frequent_first(words["male"]), _frequent_first(words["female"]))
        self._patronymics: list[list[str]] = _frequent_first(words["patronymics"])
        men = words["surnames"]
        women = [f"{name[:-2]}ая" if name.endswith("ий") else f"{name}а" for name in men]
        self._surnames = (_frequent_first(men), _frequent_first(women))
        self._company = (words["company_beginnings"], words["company_middles"], words["company_ends"])
        self._enterprise_kinds = words["enterprise_kinds"]
        self._government = words["government"]

    def person(self, number: int) -> str:
        """Return surname, given name and patronymic, which agree in gender."""
        code = mixed(self._seed, number)
        gender = code & 1
        surname = self._surnames[gender][(code >> 1) % _TABLE]
        given = self._given[gender][(code >> 11) % _TABLE]
        return f"{surname} {given} {self._patronymics[(code >> 21) % _TABLE][gender]}"

    def client(self, number: int, segment: Segment, city: str) -> str:
        """Return a client's name; of legal ones with kind of company and ИНН."""
        if segment == "individual":
            return self.person(number)
        code = mixed(self._seed ^ 0x5EED, number)
        if segment == "government":
            code, kind = divmod(code, len(self._government))
            name = self._government[kind].format(number=1 + code % 60, city=city)
            return f"{name}, ИНН {inn_10(number)}"
        if segment == "small_business" and code % 3 == 0:
            return f"ИП {self.person(number)}, ИНН {inn_12(number)}"
        kinds = ("ООО",) if segment == "small_business" else self._enterprise_kinds
        code, kind = divmod(code // 3, len(kinds))
        company = ""
        for words in self._company:
            code, word = divmod(code, len(words))
            company += words[word]
        return f"{kinds[kind]} «{company}», ИНН {inn_10(number)}"


def inn_10(number: int) -> str:
    """Return the ИНН of a company that does not exist: ten digits."""
    digits = f"00{number % 10_000_000:07d}"
    return digits + _check(digits, _WEIGHTS_10)


def inn_12(number: int) -> str:
    """Return the ИНН of a person that does not exist: twelve digits."""
    digits = f"00{number % 100_000_000:08d}"
    for weights in _WEIGHTS_12:
        digits += _check(digits, weights)
    return digits


def _check(digits: str, weights: tuple[int, ...]) -> str:
    return str(sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True)) % 11 % 10)


def _frequent_first(words: list[T]) -> list[T]:
    """Return 1024 words, the first of the list more often than the last ones."""
    return [words[int((place / _TABLE) ** 1.7 * len(words))] for place in range(_TABLE)]
