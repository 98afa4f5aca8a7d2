#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
"""python_ctypes.py - libtld from a language that reads neither C macros nor inline
functions. (Not named ctypes.py: that would hide the module.)"""

import ctypes
import errno
import os
import re
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
from tap import BUILD, SRC, finish, is_


class Key(ctypes.Structure):
    _fields_ = [("off", ctypes.c_int16)]


def load():
    lib = ctypes.CDLL(os.path.join(BUILD, "libtld.so.1"), use_errno=True)
    lib.tld_create_key.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    lib.tld_create_key.restype = Key
    lib.tld_create_key_opt.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_uint]
    lib.tld_create_key_opt.restype = Key
    lib.tld_find_key.argtypes = [ctypes.c_char_p]
    lib.tld_find_key.restype = Key
    lib.tld_key_is_err.argtypes = [Key]
    lib.tld_key_is_err.restype = ctypes.c_bool
    lib.tld_key_err_or_zero.argtypes = [Key]
    lib.tld_key_err_or_zero.restype = ctypes.c_int
    for name in "tld_get_data", "tld_get_data_slow":
        function = getattr(lib, name)
        function.argtypes = [ctypes.c_int, Key]
        function.restype = ctypes.c_void_p
    lib.tld_free.argtypes = []
    lib.tld_free.restype = None
    lib.tld_version.argtypes = []
    lib.tld_version.restype = ctypes.c_char_p
    return lib


def header_version():
    with open(os.path.join(SRC, "include", "tld.h"), encoding="utf-8") as header:
        text = header.read()
    return [int(re.search(rf"#define TLD_VERSION_{part} (\d+)", text).group(1)) for part in ("MAJOR", "MINOR")]


def get_data(lib, name, fd, key):
    ctypes.set_errno(0)
    data = getattr(lib, name)(fd, key)
    return data, errno.errorcode.get(ctypes.get_errno(), ctypes.get_errno())


lib = load()
first = lib.tld_create_key(b"first", 8)
is_(first.off, 0, "tld_create_key() gives the first key")
is_(lib.tld_create_key(b"first", 8).off, -errno.EEXIST, "and -EEXIST for its duplicate")
is_(lib.tld_create_key(None, 8).off, -errno.EINVAL, "and -EINVAL for None")
is_(lib.tld_create_key(b"x" * 62, 8).off, -errno.ENAMETOOLONG, "and -ENAMETOOLONG for 62 bytes")
is_(lib.tld_create_key(b"large", 2**64 - 1).off, -errno.E2BIG, "and -E2BIG for the largest size there is")
is_(lib.tld_create_key(b"second", 56).off, 8, "its budget is the default one, 64 bytes")
is_(lib.tld_create_key(b"third", 1).off, -errno.E2BIG, "and not more")
is_(lib.tld_create_key_opt(b"fourth", 16, 80, 0).off, 64, "tld_create_key_opt() takes a budget")
is_(lib.tld_find_key(b"second").off, 8, "tld_find_key() finds a key")
is_(lib.tld_find_key(b"none").off, -errno.ENOENT, "or not")
is_(lib.tld_key_is_err(first), False, "tld_key_is_err() says no to a key")
is_(lib.tld_key_is_err(Key(-errno.ENOENT)), True, "and yes to an error")
is_(lib.tld_key_err_or_zero(first), 0, "tld_key_err_or_zero() of a key is 0")
is_(lib.tld_key_err_or_zero(Key(-errno.ENOENT)), -errno.ENOENT, "and of an error the error")

for function in "tld_get_data", "tld_get_data_slow":
    is_(get_data(lib, function, -1, first), (None, "EBADF"), f"{function}() without a map is NULL with EBADF")
    is_(get_data(lib, function, -1, Key(-1)), (None, "EINVAL"), f"{function}() of an error key is NULL with EINVAL")
    with open(os.devnull, "rb") as null:
        is_(get_data(lib, function, null.fileno(), first), (None, "EINVAL"),
            f"{function}() of a file is NULL with EINVAL")

lib.tld_free()
found = []
thread = threading.Thread(target=lambda: (found.append(lib.tld_find_key(b"first").off), lib.tld_free()))
thread.start()
thread.join()
is_(found, [0], "Python's threads may call it too")
version = lib.tld_version().decode()
is_([int(number) for number in version.split(".")[:2]], header_version(), f"tld_version(), {version}, is the header's")
is_(bool(re.fullmatch(r"\d+\.\d+\.\d+", version)), True, "and has three numbers")
is_(ctypes.c_void_p.in_dll(lib, "tld_meta_p").value is not None, True, "tld_meta_p can be read as a symbol")

finish()
