"""A CUDA driver of a few functions, compiled with the machine's C compiler: it notes what it is asked, runs nothing.

The driver's functions as `launch` declares them meet C here, so a wrong type or a shortened pointer shows.
"""

import ctypes
import shutil
import subprocess
from pathlib import Path

SOURCE = r"""
#include <stddef.h>
#include <string.h>

enum { LAUNCHES = 64, BYTES = 256 };
struct launch {
    void *function, *stream, *context;
    unsigned grid[3], block[3], shared;
    size_t size;
    char bytes[BYTES];
} launches[LAUNCHES];
int launched, loaded, depth, most_shared, status_of_launch, status_of_load;
void *contexts[16];
char entry[512];

int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (char *)0x7000000000 + device; return 0; }
int cuCtxPushCurrent_v2(void *context) { contexts[depth++] = context; return 0; }
int cuCtxPopCurrent_v2(void **context) { *context = contexts[--depth]; return 0; }
int cuModuleLoadData(void **module, const char *code)
{
    *module = (void *)0x710000000000;
    loaded++;
    return depth == 0 ? 201 : memcmp(code, "\x7f" "ELF", 4) != 0 ? 200 : status_of_load;
}
int cuModuleGetFunction(void **function, void *module, const char *name)
{
    strncpy(entry, name, sizeof entry - 1);
    *function = (char *)module + loaded;
    return 0;
}
int cuFuncSetAttribute(void *function, int attribute, int value)
{
    most_shared = value;
    return depth == 0 ? 201 : attribute == 8 ? 0 : 1;
}
int cuGetErrorString(int status, const char **text) { *text = status == 2 ? "out of memory" : "some fault"; return 0; }
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **arguments, void **extra)
{
    if (depth == 0)
        return 201;
    if (arguments || extra[0] != (void *)1 || extra[2] != (void *)2 || extra[4] != NULL)
        return 1;
    struct launch *here = &launches[launched++ % LAUNCHES];
    *here = (struct launch){function, stream, contexts[depth - 1], {gx, gy, gz}, {bx, by, bz}, shared};
    here->size = *(size_t *)extra[3];
    memcpy(here->bytes, extra[1], here->size < BYTES ? here->size : BYTES);
    return status_of_launch;
}
"""


class Launch(ctypes.Structure):
    """A launch as the driver saw it; `arguments` are the bytes of its parameters."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("function", "stream", "context")),
        *((name, ctypes.c_uint * 3) for name in ("grid", "block")),
        ("shared", ctypes.c_uint),
        ("size", ctypes.c_size_t),
        ("bytes", ctypes.c_char * 256),
    )

    @property
    def arguments(self) -> bytes:
        start = ctypes.addressof(self) + type(self).bytes.offset
        return ctypes.string_at(start, self.size)


class FakeDriver:
    """The library, and what it has noted."""

    def __init__(self, folder: Path) -> None:
        source, self.path = folder / "driver.c", folder / "libcuda.so.1"
        source.write_text(SOURCE)
        subprocess.run([compiler() or "cc", "-O1", "-shared", "-fPIC", "-o", self.path, source], check=True)
        self.library = ctypes.CDLL(str(self.path))

    def launches(self) -> list[Launch]:
        return list((Launch * 64).in_dll(self.library, "launches"))[: self.number("launched")]

    def number(self, name: str) -> int:
        return ctypes.c_int.in_dll(self.library, name).value

    def set(self, name: str, value: int) -> None:
        ctypes.c_int.in_dll(self.library, name).value = value

    def address(self, name: str) -> int:
        return ctypes.addressof(ctypes.c_char.in_dll(self.library, name))


def compiler() -> str | None:
    """Return the machine's C compiler."""
    return shutil.which("cc") or shutil.which("gcc")
