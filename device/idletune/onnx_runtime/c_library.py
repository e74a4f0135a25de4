"""ONNX Runtime's C API by ctypes, for where its Python package is not installed: inside Android apps.

OrtApi is a table of function pointers that only grows at its end (onnxruntime_c_api.h): a function is called by its
index.
"""

import ctypes
import os
from collections.abc import Iterable
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import telemetry
from ..errors import DamagedDataError, UsageError
from ..settings import cores
from .arena import ARENA

if TYPE_CHECKING:  # it works on anything that says dtype.name, shape, ndim, nbytes and ctypes.data
    import numpy as np

API_VERSION = 22  # of ONNX Runtime 1.22: the first to run opset 20 graphs on every platform alike
LOG_ERRORS, CPU_ARENA, CPU_DEFAULT_MEMORY = 3, 1, 0
POINTERS = POINTER(c_void_p)

# name: (index in OrtApi, types of the arguments); all return a status, null for success
FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "CreateSession": (7, c_void_p, c_char_p, c_void_p, POINTERS),
    "Run": (9, c_void_p, c_void_p, POINTER(c_char_p), POINTERS, c_size_t, POINTER(c_char_p), c_size_t, POINTERS),
    "CreateSessionOptions": (10, POINTERS),
    "SetSessionLogSeverityLevel": (22, c_void_p, c_int),
    "SessionGetInputCount": (30, c_void_p, POINTER(c_size_t)),
    "SessionGetOutputCount": (31, c_void_p, POINTER(c_size_t)),
    "SessionGetInputName": (36, c_void_p, c_size_t, c_void_p, POINTERS),
    "SessionGetOutputName": (37, c_void_p, c_size_t, c_void_p, POINTERS),
    "CreateTensorWithDataAsOrtValue": (
        49,
        c_void_p,
        c_void_p,
        c_size_t,
        POINTER(c_int64),
        c_size_t,
        c_int,
        POINTERS,
    ),
    "CreateCpuMemoryInfo": (69, c_int, c_int, POINTERS),
    "AllocatorFree": (76, c_void_p, c_void_p),
    "GetAllocatorWithDefaultOptions": (78, POINTERS),
    "CreateEnvWithGlobalThreadPools": (119, c_int, c_char_p, c_void_p, POINTERS),
    "DisablePerSessionThreads": (120, c_void_p),
    "CreateThreadingOptions": (121, POINTERS),
    "AddSessionConfigEntry": (130, c_void_p, c_char_p, c_char_p),
    "CreateAndRegisterAllocator": (144, c_void_p, c_void_p, c_void_p),
    "SetGlobalIntraOpNumThreads": (147, c_void_p, c_int),
    "SetGlobalInterOpNumThreads": (148, c_void_p, c_int),
    "CreateArenaCfgV2": (164, POINTER(c_char_p), POINTER(c_size_t), c_size_t, POINTERS),
}
GET_ERROR_MESSAGE, RELEASE_STATUS, RELEASE_SESSION, RELEASE_VALUE = 2, 93, 95, 96

# ONNXTensorElementDataType
ELEMENT_TYPES = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "uint16": 4,
    "int16": 5,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
    "float64": 11,
    "uint32": 12,
    "uint64": 13,
}


_loaded_here: set[Path | None] = set()  # files of libraries that we loaded; a file may have several names


class OnnxRuntimeError(Exception):
    """An error status of ONNX Runtime, with its message."""


class Library:
    """A loaded libonnxruntime with the one environment, thread pool and arena of the process."""

    def __init__(self, path: str):
        by_host = _is_loaded(path)
        try:
            self._library = ctypes.CDLL(path)
            get_base = self._library.OrtGetApiBase
        except (OSError, AttributeError) as error:
            raise UsageError(
                f"ONNX Runtime does not load from {path} ({error}); name libonnxruntime.so in IDLETUNE_ONNXRUNTIME"
            ) from None
        get_base.restype = POINTERS
        base = get_base()  # OrtApiBase: GetApi, GetVersionString
        self.version = ctypes.CFUNCTYPE(c_char_p)(base[1])().decode()
        file = _file_of(get_base)
        by_host = by_host and file not in _loaded_here
        _loaded_here.add(file)
        telemetry.check(self.version, file, by_host)  # it starts with the first environment
        api = ctypes.CFUNCTYPE(c_void_p, c_uint32)(base[0])(API_VERSION)
        if not api:
            raise UsageError(f"ONNX Runtime {self.version} in {path} is too old; take 1.{API_VERSION} or later")
        table = ctypes.cast(api, POINTERS)
        self._message = ctypes.CFUNCTYPE(c_char_p, c_void_p)(table[GET_ERROR_MESSAGE])
        self._release_status = ctypes.CFUNCTYPE(None, c_void_p)(table[RELEASE_STATUS])
        self.release_session = ctypes.CFUNCTYPE(None, c_void_p)(table[RELEASE_SESSION])
        self.release_value = ctypes.CFUNCTYPE(None, c_void_p)(table[RELEASE_VALUE])
        self._functions = {
            name: ctypes.CFUNCTYPE(c_void_p, *types)(table[index]) for name, (index, *types) in FUNCTIONS.items()
        }
        self.threads: int | None = None  # of the environment; None before there is one

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of FUNCTIONS; OnnxRuntimeError when it fails."""
        status = self._functions[name](*arguments)
        if status:
            message = self._message(status).decode(errors="replace")
            self._release_status(status)
            raise OnnxRuntimeError(message)

    def made(self, name: str, *arguments: Any) -> c_void_p:
        """Call a function that returns an object through its last argument."""
        made = c_void_p()
        self.call(name, *arguments, byref(made))
        return made

    def share_threads_and_memory(self, threads: int) -> None:
        """Create the environment, as session.py does; the first caller decides the number of threads."""
        if self.threads is None:
            options = self.made("CreateThreadingOptions")
            self.call("SetGlobalIntraOpNumThreads", options, threads or cores())
            self.call("SetGlobalInterOpNumThreads", options, 1)
            self.environment = self.made("CreateEnvWithGlobalThreadPools", LOG_ERRORS, b"idletune", options)
            self.memory = self.made("CreateCpuMemoryInfo", CPU_ARENA, CPU_DEFAULT_MEMORY)
            keys, values = _strings(ARENA), (c_size_t * len(ARENA))(*ARENA.values())
            arena = self.made("CreateArenaCfgV2", keys, values, len(ARENA))
            self.call("CreateAndRegisterAllocator", self.environment, self.memory, arena)
            self.allocator = self.made("GetAllocatorWithDefaultOptions")
            self.threads = threads or cores()
        if threads not in (0, self.threads):
            raise UsageError(
                f"ONNX Runtime has {self.threads} threads in this process already, not {threads};"
                " set threads before the first run"
            )


@cache
def load_library(path: str) -> Library:
    """The library at `path`, loaded once a process."""
    return Library(path)


class Session:
    """A loaded graph. UsageError and DamagedDataError as from session.open_session."""

    def __init__(self, library: Library, path: Path, threads: int):
        library.share_threads_and_memory(threads)
        self._library, self._session = library, None
        options = library.made("CreateSessionOptions")
        library.call("DisablePerSessionThreads", options)
        library.call("AddSessionConfigEntry", options, b"session.use_env_allocators", b"1")
        library.call("SetSessionLogSeverityLevel", options, LOG_ERRORS)
        try:
            self._session = library.made("CreateSession", library.environment, os.fsencode(path), options)
        except OnnxRuntimeError as error:
            raise DamagedDataError(
                f"{path} does not load ({error}); export it again, or copy the bundle again"
            ) from None
        self.inputs, self.outputs = self._names("Input"), self._names("Output")

    def run(self, inputs: "dict[str, np.ndarray]", outputs: "dict[str, np.ndarray]") -> None:
        """Run on C-contiguous arrays, which ONNX Runtime reads and writes in place."""
        library = self._library
        values = (c_void_p * (len(self.inputs) + len(outputs)))()
        try:
            for i, array in enumerate([*(inputs[name] for name in self.inputs), *outputs.values()]):
                values[i] = self._value(array)
            results = ctypes.cast(byref(values, len(self.inputs) * ctypes.sizeof(c_void_p)), POINTERS)
            library.call(
                "Run",
                self._session,
                None,
                _strings(self.inputs),
                values,
                len(self.inputs),
                _strings(outputs),
                len(outputs),
                results,
            )
        finally:
            for value in filter(None, values):
                library.release_value(value)

    def _value(self, array: "np.ndarray") -> int | None:
        """The address of an OrtValue over the array's memory."""
        shape = (c_int64 * array.ndim)(*array.shape)
        return self._library.made(
            "CreateTensorWithDataAsOrtValue",
            self._library.memory,
            array.ctypes.data,
            array.nbytes,
            shape,
            array.ndim,
            ELEMENT_TYPES[array.dtype.name],
        ).value

    def _names(self, kind: str) -> list[str]:
        library, count = self._library, c_size_t()
        library.call(f"SessionGet{kind}Count", self._session, byref(count))
        names = []
        for i in range(count.value):
            text = library.made(f"SessionGet{kind}Name", self._session, i, library.allocator)
            names.append(ctypes.string_at(text).decode())
            library.call("AllocatorFree", library.allocator, text)
        return names

    def __del__(self) -> None:
        if self._session:
            self._library.release_session(self._session)


class _Place(ctypes.Structure):
    """Dl_info of <dlfcn.h>."""

    _fields_ = [("file", c_char_p), ("base", c_void_p), ("symbol", c_char_p), ("address", c_void_p)]


def _is_loaded(path: str) -> bool:
    """Whether the library is loaded in this process, by the host program or by us."""
    try:
        ctypes.CDLL(path, os.RTLD_NOW | os.RTLD_NOLOAD)
    except (OSError, AttributeError):  # AttributeError: a system without dlopen
        return False
    return True


def _file_of(function: Any) -> Path | None:
    """The file of a loaded function (dladdr); None where the system does not tell it."""
    place = _Place()
    try:
        found = ctypes.CDLL(None).dladdr(ctypes.cast(function, c_void_p), byref(place))
    except (AttributeError, TypeError):
        return None
    return Path(os.fsdecode(place.file)) if found and place.file else None


def _strings(names: Iterable[str]) -> ctypes.Array:
    encoded = [name.encode() for name in names]
    return (c_char_p * len(encoded))(*encoded)
