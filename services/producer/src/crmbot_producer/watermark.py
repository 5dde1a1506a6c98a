"""The watermark: how far a bot's file has been sent, and whether the file is still the one that was sent."""

import json
from dataclasses import dataclass

from crmbot_core.errors import StoppedError


@dataclass(frozen=True)
class Watermark:
    """The newest row of one identity of a file that is in Kafka: its `transaction_id` and `event_id`.

    `event_id` is None where nothing was sent under this identity yet. `partitions` is the number of
    partitions that the rows are spread over; None means as many as the topic has.
    """

    source_id: str
    transaction_id: int
    event_id: str | None
    partitions: int | None = None

    def encode(self) -> bytes:
        """Return the value of the state topic's record."""
        record = {
            "transaction_id": self.transaction_id,
            "event_id": self.event_id,
            "partitions": self.partitions,
        }
        return json.dumps(record).encode()

    @staticmethod
    def decode(source_id: str, value: bytes) -> "Watermark":
        """Read a record of the state topic.

        Raises:
            StoppedError: if it is not a watermark.
        """
        try:
            record = json.loads(value)
            transaction_id, event_id = int(record["transaction_id"]), str(record["event_id"])
            partitions = record.get("partitions")
            if partitions is not None and int(partitions) < 1:
                raise ValueError(f"partitions: {partitions}")
            return Watermark(source_id, transaction_id, event_id, partitions and int(partitions))
        except (ValueError, KeyError, TypeError) as error:
            raise StoppedError(
                f"the state of source {source_id} in Kafka cannot be read: {error!r}; "
                "nothing is sent until that record is put right"
            ) from error


def state_key(source_id: str, stream: str) -> bytes:
    """Return the key of the state topic's record."""
    return f"{source_id}|{stream}".encode()


def check_file(watermark: Watermark, found_event_id: str | None, path: object) -> None:
    """Check that the row at the watermark is the one that was sent.

    Args:
        watermark: what Kafka says was sent.
        found_event_id: event_id of the file's row with the watermark's transaction_id, None if there is none.
        path: the file, for the message.

    Raises:
        StoppedError: if the file was replaced or restored.
    """
    if watermark.event_id is None or found_event_id == watermark.event_id:
        return
    found = "is missing" if found_event_id is None else "is another one"
    raise StoppedError(
        f"{path} was replaced or restored: row {watermark.transaction_id}, which was sent, {found}. "
        "Put the right file back, or, if the bot has to go on with this one, give it a new identity: "
        f"crmbot-generator new-source --database {path} --after <last row that both files share>"
    )
