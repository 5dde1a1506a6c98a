"""Settings of the generator."""

from pathlib import Path

from pydantic import Field

from crmbot_core.settings import Folder, MrfName, ServiceSettings
from crmbot_generator.parameters import Profile


class GeneratorSettings(ServiceSettings):
    """What every command of `crmbot-generator` reads."""

    mrf: MrfName = Field(description="macro-regional branch, mrf1 and so on")
    data_dir: Folder = Field(default=Path("data"), description="folder of the bot's actions.db and nature.db")
    seed: int | None = Field(
        default=None, description="number that makes a backfill repeatable; without one, every bot is another"
    )
    profile: Profile = Field(
        default="typical", description="how large a new world is: small, typical, large or stress"
    )
    parameters: Folder | None = Field(
        default=None, description="YAML file that overrides the profile's parameters of a new world"
    )
    managers: int | None = Field(
        default=None, ge=1, le=100_000, description="managers of a new world; by default the profile's"
    )
