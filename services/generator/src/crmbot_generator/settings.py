"""Settings of the generator."""

from pathlib import Path

from pydantic import Field

from crmbot_core.settings import Folder, MrfName, ServiceSettings


class GeneratorSettings(ServiceSettings):
    """What every command of `crmbot-generator` reads."""

    mrf: MrfName = Field(description="macro-regional branch, mrf1 and so on")
    data_dir: Folder = Field(default=Path("data"), description="folder of the bot's actions.db and nature.db")
    seed: int | None = Field(
        default=None, description="number that makes a backfill repeatable; without one, every bot is another"
    )
    managers: int = Field(default=60, ge=1, le=10_000, description="managers who work with the bot")
