"""Profiles and the file that overrides them: what is wrong is named with its line."""

from pathlib import Path

import pytest

from crmbot_core.errors import ConfigurationError
from crmbot_generator.parameters import read_parameters


@pytest.mark.parametrize("profile", ["small", "typical", "large", "stress"])
def test_every_profile_is_complete(profile: str) -> None:
    parameters = read_parameters(profile)  # type: ignore[arg-type]
    assert sum(shares.leads for shares in parameters.segments.values()) == pytest.approx(1)
    assert sum(shares.clients for shares in parameters.segments.values()) == pytest.approx(1)
    for of_months in parameters.calendar.months.values():
        assert sum(of_months) / 12 == pytest.approx(1, abs=0.02)


def test_a_file_overrides_only_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("lead:\n  individual: {odds: 2}\n")
    own, usual = read_parameters("small", file), read_parameters("small")
    assert own.lead["individual"].odds == 2
    assert own.lead["individual"].touches == usual.lead["individual"].touches
    assert own.size == usual.size


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("size:\n  managers: 5\n  clerks: 7\n", "line 3: size.clerks: Extra inputs"),
        (
            "lead:\n  individual:\n    odds: -1\n",
            "line 3: lead.individual.odds: Input should be greater than 0",
        ),
        ("calendar:\n  months:\n    individual: [1, 2]\n", "line 3: calendar.months.individual"),
        ("size: [1, 2\n", "line 2: expected ',' or ']'"),
        ("- 1\n", "line 1: not a mapping"),
        ("odds: {skill: high}\n", "line 1: odds.skill: Input should be a valid number"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        read_parameters("typical", file)
    assert str(error.value).startswith(f"{file}, {words}")
