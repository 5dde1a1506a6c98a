"""Settings of the producer."""

from pathlib import Path

from pydantic import Field

from crmbot_core.contracts import Stream, stream_named
from crmbot_core.settings import Folder, LogSettings, MrfName, RetrySettings, StreamName, WarehouseSettings


class FileSettings(LogSettings):
    """The bot's file that a command works on; all settings of `crmbot-producer adopt`."""

    mrf: MrfName = Field(description="macro-regional branch, mrf1 and so on")
    stream: StreamName = Field(description="actions or nature")
    data_dir: Folder = Field(default=Path("data"), description="folder of the bot's actions.db and nature.db")

    @property
    def contract(self) -> Stream:
        """The stream's contract: model, columns, names of topic and table."""
        return stream_named(self.stream)

    @property
    def topic(self) -> str:
        """The Kafka topic, such as crm_bot_actions_mrf1."""
        return self.contract.topic(self.mrf)

    @property
    def database(self) -> Path:
        """The bot's file, `actions.db` or `nature.db` in DATA_DIR."""
        return self.data_dir / f"{self.stream}.db"


class ProducerSettings(FileSettings, RetrySettings):
    """Settings of `crmbot-producer run`."""

    page_rows: int = Field(
        default=20_000, ge=1, le=100_000, description="maximum number of rows in one Kafka transaction"
    )
    poll_seconds: float = Field(
        default=0.2, gt=0, le=60, description="seconds between polls of the file while there are no new rows"
    )


class RecoverySettings(FileSettings, WarehouseSettings):
    """Settings of `crmbot-producer repartition`, `resend` and `new-source`."""


class AuditSettings(LogSettings, WarehouseSettings):
    """Settings of `crmbot-producer audit`."""

    mrf: MrfName = Field(description="macro-regional branch, mrf1 and so on")
    data_dir: Folder = Field(default=Path("data"), description="folder of the bot's actions.db and nature.db")


class TopicSettings(LogSettings):
    """Settings of `crmbot-producer topics`."""

    mrf: MrfName = Field(description="macro-regional branch, mrf1 and so on")
    partitions: int = Field(
        default=3,
        ge=1,
        le=1000,
        description="partitions of each of the MRF's two topics; raising it adds partitions",
    )
    replication_factor: int = Field(default=3, ge=1, le=32767, description="replicas of each topic")
    retention_hours: int = Field(
        default=28 * 24,
        ge=1,
        le=100 * 365 * 24,
        description="how long Kafka keeps messages: longer than any outage of the warehouse",
    )
