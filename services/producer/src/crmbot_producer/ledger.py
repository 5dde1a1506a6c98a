"""What the warehouse's ledger says."""

from crmbot_core.settings import WarehouseSettings
from crmbot_core.warehouse import connect, translated_errors

_ENDS = """
    SELECT kafka_partition, max(end_offset) FROM crm_bot_ledger
    WHERE topic = %s AND topic_id = %s GROUP BY kafka_partition
"""


def loaded_ends(settings: WarehouseSettings, topic: str, topic_id: str) -> dict[int, int]:
    """Return the next offset to load of each partition; one that was never loaded is left out.

    Raises what `crmbot_core.warehouse.connect` and `translated_errors` raise.
    """
    with connect(settings) as connection, translated_errors():
        return dict(connection.execute(_ENDS, (topic, topic_id)).fetchall())
