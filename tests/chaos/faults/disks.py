"""Disks that are full: the warehouse's and the one that workbooks are saved on."""

from tests.chaos.nemesis import Nemesis

_FULL = "No space left on device"


def fill_the_warehouses_disk(nemesis: Nemesis) -> None:
    """A server without room for its log ends itself; with room again it is started."""
    world = nemesis.world
    before = world.crew.has_said("consumer", _FULL)
    with world.warehouse_disk.filled():
        nemesis.wait_until(
            lambda: world.crew.has_said("consumer", _FULL) > before or not world.postgres.is_running,
            "the warehouse's disk is full",
        )
        nemesis.wait(2.0, 5.0)
    world.history.add("full disk", survived=world.postgres.is_running)
    world.postgres.start()


def fill_the_workbooks_disk(nemesis: Nemesis) -> None:
    """The export must fail, and leave the workbooks that are there as they are."""
    world = nemesis.world
    mrf = nemesis.rng.choice(world.mrfs)
    folder = world.workbook_disk.folder
    environment = {"MRF": mrf, "OUTPUT_DIR": str(folder)}
    exporter = (environment, "crmbot-exporter", "export", "--stream", "nature")  # the smaller one
    world.crew.run(*exporter)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with world.workbook_disk.filled():
        code, words = world.crew.try_to_run(*exporter)
    after = {file.name: file.read_bytes() for file in folder.iterdir()}
    if not before or (code, _FULL in words, after) != (1, True, before):
        world.find(f"export of {mrf} to a full disk: code {code}, {words}; other files: {after != before}")
    world.crew.run(*exporter)
