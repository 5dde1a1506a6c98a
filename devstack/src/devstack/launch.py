"""Executes a server process that is stopped with its parent and does not run as root.

Run as a script: `launch.py PARENT_PID SIGNAL UID GID COMMAND...`. It uses only the standard library, and
replaces itself with the command, so that the process id does not change.

* The kernel sends SIGNAL to the command when the thread that started it ends (Linux only).
* If root starts it with another UID, the command runs with UID and GID and keeps the capability
  CAP_DAC_OVERRIDE. PostgreSQL refuses to run as root, and needs the capability for programs and data below
  folders that others cannot enter (/root, a temporary folder).
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 28, 47, 2
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


def drop_root(libc: ctypes.CDLL, uid: int, gid: int) -> None:
    """Change to `uid` and `gid`, keeping CAP_DAC_OVERRIDE across exec if the system allows it."""
    # Keeps capabilities across the change of user, also for access(2), by which initdb checks its programs.
    libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    bit = 1 << _CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)  # effective, permitted, inheritable; twice 32 bits
    libc.capset(header, sets)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


def main(arguments: list[str]) -> None:
    """Prepare the process and replace it with the command."""
    parent, signal, uid, gid = map(int, arguments[:4])
    command = arguments[4:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if uid != os.geteuid():
            drop_root(libc, uid, gid)
        libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0)  # after the change of user, which clears it
        if os.getppid() != parent:
            sys.exit("the parent exited before the server started")
    os.execv(command[0], command)  # noqa: S606  (a shell would be another process)


if __name__ == "__main__":
    main(sys.argv[1:])
