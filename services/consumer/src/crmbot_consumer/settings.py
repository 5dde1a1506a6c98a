"""Settings of the consumer."""

from pydantic import Field

from crmbot_core.contracts import Stream, stream_named
from crmbot_core.settings import LogSettings, MrfName, RetrySettings, StreamName, WarehouseSettings


class TopicSettings(LogSettings, WarehouseSettings):
    """Topic and table of a command."""

    mrf: MrfName = Field(description="macro-regional branch, mrf1 and so on")
    stream: StreamName = Field(description="actions or nature")

    @property
    def contract(self) -> Stream:
        """The stream's contract: model, columns, names of topic and table."""
        return stream_named(self.stream)

    @property
    def topic(self) -> str:
        """The Kafka topic, such as crm_bot_actions_mrf1."""
        return self.contract.topic(self.mrf)

    @property
    def table(self) -> str:
        """The warehouse table; it has the topic's name."""
        return self.contract.table(self.mrf)


class ConsumerSettings(TopicSettings, RetrySettings):
    """Settings of `crmbot-consumer run`."""

    batch_rows: int = Field(
        default=20_000, ge=1, le=500_000, description="maximum number of messages in a batch"
    )
    batch_bytes: int = Field(
        default=16 * 1024 * 1024,
        ge=1024,
        le=1024**3,
        description="size in bytes at which a batch is loaded; bounds the memory",
    )
    batch_seconds: float = Field(
        default=1.0,
        gt=0,
        le=600,
        description="age in seconds at which a batch is loaded even if it is not full",
    )
    drain_seconds: float = Field(
        default=20.0,
        gt=0,
        le=600,
        description="wait for a running load before partitions are given up; less than the grace period",
    )
    lock_seconds: float = Field(
        default=30.0,
        gt=0,
        le=600,
        description="wait for another session's lock before a load is retried; other consumers' transactions "
        "that are four times as old are ended",
    )
    max_rejects_in_a_row: int = Field(
        default=1_000,
        ge=1,
        description="consecutive rejects in one partition at which the consumer stops",
    )
    max_rejects_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="share of rejects in a partition's last 1,000 messages above which the consumer stops",
    )


class MigrateSettings(LogSettings, WarehouseSettings):
    """Settings of `crmbot-consumer migrate`."""

    mrf: MrfName = Field(description="macro-regional branch, mrf1 and so on")


class MaintainSettings(MigrateSettings):
    """Settings of `crmbot-consumer maintain`."""

    fold_days: int = Field(
        default=1, ge=1, le=3_650, description="age in days from which ledger batches are folded"
    )
