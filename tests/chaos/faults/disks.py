"""Disks that are full: the warehouse's and the one that workbooks are saved on."""

from contextlib import suppress

from devstack.server import DevstackError
from tests.chaos.nemesis import Nemesis


def fill_the_warehouses_disk(nemesis: Nemesis) -> None:
    """A server without room for its log ends itself; with room again it is started."""
    world = nemesis.world
    with world.warehouse_disk.filled():
        nemesis.wait(4.0, 8.0)
    with suppress(DevstackError):
        world.history.add("survived", pid=world.postgres.pid)
    world.postgres.start()


def fill_the_workbooks_disk(nemesis: Nemesis) -> None:
    """The export must fail, and leave the workbooks that are there as they are."""
    world = nemesis.world
    mrf = nemesis.rng.choice(world.mrfs)
    folder = world.workbook_disk.folder
    exporter = ({"MRF": mrf, "OUTPUT_DIR": str(folder)}, "crmbot-exporter", "export")
    world.crew.run(*exporter)
    before = {file.name: file.read_bytes() for file in folder.glob("*.xlsx")}
    with world.workbook_disk.filled():
        code = world.crew.try_to_run(*exporter)
    after = {file.name: file.read_bytes() for file in folder.glob("*.xlsx")}
    world.history.add("exported", mrf=mrf, workbooks=len(before), code_with_full_disk=code)
    if code == 0 or after != before:
        world.find(f"export of {mrf} to a full disk: code {code}, other workbooks: {after != before}")
    world.crew.run(*exporter)
