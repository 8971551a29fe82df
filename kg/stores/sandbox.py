"""Take from this process what answering a query does not need.

A query of a stranger runs in native code that may have faults. What such a fault could reach is
taken away by the kernel, for good and for every thread that starts afterwards:

- the network, other processes, and writing: a seccomp filter, or at least a network of its own
- files other than the graph's: Landlock (https://docs.kernel.org/userspace-api/landlock.html)
- memory beyond a limit: RLIMIT_DATA and RLIMIT_AS

All three are Linux's. Nothing here needs privileges, and this file imports only the standard
library: it is part of what a process that answers queries has to load.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2

RET_ALLOW = 0x7FFF0000
RET_ERRNO = 0x00050000
# Classic BPF, of which a filter consists: load a word, jump if it equals / is at least / has bits.
LOAD = 0x20
JUMP_EQUAL = 0x15
JUMP_AT_LEAST = 0x35
JUMP_ANY_BIT = 0x45
RETURN = 0x06
# Offsets in what the kernel shows to a filter; of each argument the lower half, on little endian.
OFFSET_NUMBER = 0
OFFSET_ARCHITECTURE = 4
OFFSET_ARGUMENTS = 16

CLONE_THREAD = 0x10000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
X32_BIT = 0x40000000
"""Numbers from here on are those of the x32 interface, which would be a second set of names."""

LANDLOCK_CREATE_RULESET = 444
LANDLOCK_ADD_RULE = 445
LANDLOCK_RESTRICT_SELF = 446
LANDLOCK_VERSION = 1
LANDLOCK_PATH_BENEATH = 1
READ_FILE = 1 << 2
READ_FOLDER = 1 << 3
# How many of its bits each version of Landlock knows for files, from version 1 on.
FILE_BITS = (13, 14, 15, 15, 16)
TCP_BITS = 0b11
SCOPE_BITS = 0b11

# Numbers of system calls on x86_64 and on aarch64, where None means that there is no such call.
REFUSED_CALLS: dict[str, tuple[int | None, int | None]] = {
    # the network, and io_uring, which can do all that these can
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    "recvfrom": (45, 207),
    "recvmsg": (47, 212),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # files: all but opening to read
    "creat": (85, None),
    "openat2": (437, 437),
    "open_by_handle_at": (304, 265),
    "truncate": (76, 45),
    "ftruncate": (77, 46),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    # other programs and processes
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "setpriority": (141, 140),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    # memory that no limit counts
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    # what only administrators need
    "mount": (165, 40),
    "umount2": (166, 39),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "personality": (135, 92),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
}

# What glibc falls back to clone for; a filter cannot look into its arguments.
CLONE3 = (435, 435)
CLONE = (56, 220)
OPEN = (2, None)
OPENAT = (257, 56)
TGKILL = (234, 131)
PRLIMIT = (302, 261)
PRIVILEGED_OPENING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclass(frozen=True, slots=True)
class _Machine:
    """A kind of processor: the column of its numbers above, and the kernel's name for it."""

    column: int
    audit: int


MACHINES = {"x86_64": _Machine(0, 0xC000003E), "aarch64": _Machine(1, 0xC00000B7)}


def refuse_calls() -> bool:
    """Make the system calls above fail with EPERM; return False if the system cannot.

    Only threads that start afterwards are bound, besides the one that calls this.
    """
    machine = MACHINES.get(os.uname().machine) if sys.platform == "linux" else None
    if machine is None or sys.maxsize < 2**32 or sys.byteorder != "little":
        return False
    code = _filter(machine)
    program = struct.pack("HP", len(code) // 8, _address(code))
    # Without it only an administrator may set a filter. It also keeps setuid programs from being
    # any use.
    if _prctl(PR_SET_NO_NEW_PRIVS, 1) != 0:
        return False
    # Otherwise a process of the same user could attach to this one, and this one's core be dumped.
    _prctl(PR_SET_DUMPABLE, 0)
    return _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, _address(program)) == 0


def leave_network() -> bool:
    """Move this process into a network of its own, which has nobody else in it.

    This is for machines whose system calls are not listed above. Returns False if the system cannot
    do it, or this process has threads already.
    """
    if sys.platform != "linux":
        return False
    return int(ctypes.CDLL(None).unshare(CLONE_NEWUSER | CLONE_NEWNET)) == 0


def read_nothing_but(paths: Iterable[Path]) -> bool:
    """Refuse to open any file but to read these, and those in a folder among them.

    Files that are open stay so. Only threads that start afterwards are bound, besides the one that
    calls this. Returns False if the system cannot do it.
    """
    if sys.platform != "linux":
        return False
    version = _call(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_VERSION)
    if version < 1 or _prctl(PR_SET_NO_NEW_PRIVS, 1) != 0:
        return False
    file_bits = (1 << FILE_BITS[min(version, len(FILE_BITS)) - 1]) - 1
    tcp_bits = TCP_BITS if version >= 4 else 0
    scope_bits = SCOPE_BITS if version >= 6 else 0
    ruleset = struct.pack("=QQQ", file_bits, tcp_bits, scope_bits)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = _call(LANDLOCK_CREATE_RULESET, _address(ruleset), size, 0)
    if rules < 0:
        return False
    try:
        return (
            all(_allow_reading(rules, path) for path in paths)
            and _call(LANDLOCK_RESTRICT_SELF, rules, 0) == 0
        )
    finally:
        os.close(rules)


def _allow_reading(rules: int, path: Path) -> bool:
    """Add a file, or all files in a folder, to a set of Landlock's rules."""
    file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        access = READ_FILE | READ_FOLDER if path.is_dir() else READ_FILE
        rule = struct.pack("=Qi", access, file)
        return _call(LANDLOCK_ADD_RULE, rules, LANDLOCK_PATH_BENEATH, _address(rule), 0) == 0
    finally:
        os.close(file)


def open_status() -> TextIO | None:
    """Open what the kernel says of this process, or return None where it says nothing.

    It has to be open before :func:`read_nothing_but` is called.
    """
    try:
        return Path("/proc/self/status").open(encoding="utf-8", errors="replace")
    except OSError:
        return None


def limit_memory(status: TextIO | None, more_bytes: int) -> bool:
    """Let the process have only so many bytes more than now; return False if the system cannot.

    ``status`` is that of :func:`open_status`.
    """
    if status is None:
        return False
    sizes = _sizes_in_bytes(status)
    # Writable memory that is its own is what counts. The address space is limited besides, because
    # shared memory does not count there; it also has what is only set aside, such as 64 MiB for
    # each thread's heap.
    _lower_limit(resource.RLIMIT_DATA, sizes["VmData"] + more_bytes)
    _lower_limit(resource.RLIMIT_AS, sizes["VmSize"] + 2 * more_bytes + (8 << 30))
    return True


def limit_files() -> None:
    """Let the process write no file and no core, and be the first that a full memory ends."""
    end_first()
    _lower_limit(resource.RLIMIT_FSIZE, 0)


def end_first() -> None:
    """Let the process be the first that a full memory ends, rather than the one that started it.

    It also leaves no core behind, however it ends.
    """
    _lower_limit(resource.RLIMIT_CORE, 0)
    # The highest score. Only Linux has it.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _lower_limit(kind: int, size: int) -> None:
    limits = [limit for limit in resource.getrlimit(kind) if limit != resource.RLIM_INFINITY]
    lowest = min([size, *limits])
    resource.setrlimit(kind, (lowest, lowest))


def _sizes_in_bytes(status: TextIO) -> dict[str, int]:
    """Return the lines of a process's status that are sizes, by name."""
    status.seek(0)
    words = [line.split() for line in status if line.endswith(" kB\n")]
    return {name.removesuffix(":"): int(size) << 10 for name, size, _ in words}


def _filter(machine: _Machine) -> bytes:
    """Return the filter as a program in classic BPF, of eight bytes an instruction."""
    refuse = _instruction(RETURN, RET_ERRNO | errno.EPERM)
    allow = _instruction(RETURN, RET_ALLOW)
    code = [
        _instruction(LOAD, OFFSET_ARCHITECTURE),
        _instruction(JUMP_EQUAL, machine.audit, if_true=1),
        refuse,
        _instruction(LOAD, OFFSET_NUMBER),
        _instruction(JUMP_AT_LEAST, X32_BIT, if_false=1),
        refuse,
    ]
    for numbers in REFUSED_CALLS.values():
        number = numbers[machine.column]
        if number is not None:
            code += [_instruction(JUMP_EQUAL, number, if_false=1), refuse]
    code += [
        _instruction(JUMP_EQUAL, CLONE3[machine.column], if_false=1),
        _instruction(RETURN, RET_ERRNO | errno.ENOSYS),
    ]
    # These depend on an argument: a thread, but no process; to read, but not to write; a signal to
    # itself, such as abort() sends.
    own = [_instruction(JUMP_EQUAL, os.getpid(), if_true=1)]
    zero_or_own = [_instruction(JUMP_EQUAL, 0, if_true=2), *own]
    writes = [_instruction(JUMP_ANY_BIT, PRIVILEGED_OPENING, if_false=1)]
    conditional = [
        (CLONE, 0, [_instruction(JUMP_ANY_BIT, CLONE_THREAD, if_true=1)]),
        (OPEN, 1, writes),
        (OPENAT, 2, writes),
        (TGKILL, 0, own),
        (PRLIMIT, 0, zero_or_own),
    ]
    for numbers, argument, test in conditional:
        number = numbers[machine.column]
        if number is not None:
            load = _instruction(LOAD, OFFSET_ARGUMENTS + 8 * argument)
            block = [load, *test, refuse, allow]
            code += [_instruction(JUMP_EQUAL, number, if_false=len(block)), *block]
    return b"".join([*code, allow])


def _instruction(code: int, operand: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return an instruction; the jumps are how many instructions to skip."""
    return struct.pack("=HBBI", code, if_true, if_false, operand)


def _address(data: bytes) -> int:
    """Return where the bytes of an object are; the caller keeps the object."""
    address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
    if address is None:
        raise ValueError("no bytes have no address")
    return address


def _prctl(option: int, *arguments: int) -> int:
    padded = [ctypes.c_ulong(each) for each in (*arguments, 0, 0, 0, 0)[:4]]
    return int(ctypes.CDLL(None).prctl(ctypes.c_int(option), *padded))


def _call(number: int, *arguments: int | None) -> int:
    """Make a system call by its number; return -1 if it fails."""
    function = ctypes.CDLL(None).syscall
    function.restype = ctypes.c_long
    values = [ctypes.c_void_p(each) if each is None else ctypes.c_long(each) for each in arguments]
    return int(function(ctypes.c_long(number), *values))
