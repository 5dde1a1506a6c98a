"""Full disks: the warehouse's, and that of the workbooks."""

from tests.chaos.nemesis import Nemesis

_FULL = "No space left on device"


def fill_the_warehouses_disk(nemesis: Nemesis) -> None:
    """A server without space for its WAL shuts down; it is started again when there is space."""
    world = nemesis.world
    before = world.services.count_logged("consumer", _FULL)
    with world.warehouse_disk.filled():
        nemesis.wait_until(
            lambda: world.services.count_logged("consumer", _FULL) > before or not world.postgres.is_running,
            "the warehouse's disk is full",
        )
        nemesis.wait(2.0, 5.0)
    world.history.add("full disk", survived=world.postgres.is_running)
    world.postgres.start()


def fill_the_workbooks_disk(nemesis: Nemesis) -> None:
    """The export must fail and leave the existing workbooks unchanged."""
    world = nemesis.world
    mrf = nemesis.rng.choice(world.mrfs)
    folder = world.workbook_disk.folder
    environment = {"MRF": mrf, "OUTPUT_DIR": str(folder)}
    exporter = (environment, "crmbot-exporter", "export", "--stream", "nature")  # the smaller one
    world.services.run(*exporter)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with world.workbook_disk.filled():
        code, line = world.services.run_unchecked(*exporter)
    after = {file.name: file.read_bytes() for file in folder.iterdir()}
    if not before or (code, _FULL in line, after) != (1, True, before):
        world.add_finding(
            f"export of {mrf} to a full disk: code {code}, {line}; files changed: {after != before}"
        )
    world.services.run(*exporter)
