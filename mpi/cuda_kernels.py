"""Compiles Horovod's CUDA kernels by NVRTC, the compiler in TensorFlow's own CUDA packages: no toolkit, no GPU.

    python mpi/cuda_kernels.py HOROVOD_SOURCE CUDA

CUDA is a folder with `include` (CUDA's headers), `lib64/libcudart.so` and `lib64/libnvrtc.so`. The kernels of
Horovod's cuda_kernels.cu are compiled, one image for each architecture, and cuda_kernels.cc beside this file takes the
place of its host part. Horovod's CMake files are changed so that no nvcc is looked for: one on PATH, of any version, is
left out.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import sys
from pathlib import Path

# In ascending order. Later devices compile the PTX of the last one when they first run it.
ARCHITECTURES = ("sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "compute_90")
# The types of Horovod that its kernels know, with the type of their factor.
TYPES = {
    "UINT8": ("uint8_t", "double"),
    "INT8": ("int8_t", "double"),
    "INT32": ("int32_t", "double"),
    "INT64": ("int64_t", "double"),
    "FLOAT16": ("__half", "__half"),
    "FLOAT32": ("float", "float"),
    "FLOAT64": ("double", "double"),
}
# What the kernels take from Horovod's and the system's headers, which NVRTC does not read.
PRELUDE = """
typedef unsigned char uint8_t; typedef signed char int8_t; typedef int int32_t; typedef long int64_t;
#include <cuda_fp16.h>
"""
IMAGE = """
asm(".section .rodata\\n.balign 16\\nhorovod_{name}:\\n.incbin \\"{path}\\"\\n.byte 0\\n.previous");
extern "C" const char horovod_{name}[] __attribute__((visibility("hidden")));
"""
LIBRARIES = """foreach(kernels horovod_cuda_kernels compatible_horovod_cuda_kernels)
  add_library(${kernels} cuda_kernels.cc)
  target_link_libraries(${kernels} PUBLIC CUDA::cudart)
endforeach()
target_compile_definitions(horovod_cuda_kernels PRIVATE _GLIBCXX_USE_CXX11_ABI=1)
target_compile_definitions(compatible_horovod_cuda_kernels PRIVATE _GLIBCXX_USE_CXX11_ABI=0)
"""
CUDA = """    set(CUDAToolkit_INCLUDE_DIRS "{cuda}/include")
    add_library(CUDA::cudart SHARED IMPORTED GLOBAL)
    set_target_properties(CUDA::cudart PROPERTIES IMPORTED_LOCATION "{cuda}/lib64/libcudart.so")
    include_directories(SYSTEM ${{CUDAToolkit_INCLUDE_DIRS}})
"""


def kernels() -> dict[tuple[str, str], str]:
    """The instance of a kernel for each operation of cuda_kernels.cc and each type; no type stands for all."""
    found = {("COPY", ""): "batched_memcpy_k<8>", ("SCALE_HALF2", ""): "scale_buffer_half2_k"}
    for dtype, (value, factor) in TYPES.items():
        found["SCALE", dtype] = f"scale_buffer_k<{value}, {factor}>"
        found["SCALED_COPY", dtype] = f"batched_scaled_memcpy_k<{value}, 8, {factor}>"
    return found


def device_part(kernels_cu: str, kernels_h: str) -> str:
    """What of cuda_kernels.cu runs on a device, with what it needs of its header."""
    header = [r"#define BATCHED_D2D_\w+ \d+\n", r"struct BatchedD2DParams \{.*?\};\n"]
    begin, end = kernels_cu.index("template<"), kernels_cu.rindex("} // namespace common")
    body = re.sub(r"^void \w+CudaImpl\(.*?^}\n", "", kernels_cu[begin:end], flags=re.S | re.M)
    needed = [match for each in header for match in re.findall(each, kernels_h, flags=re.S)]
    return PRELUDE + "".join(needed) + body


class Nvrtc:
    """CUDA's compiler as a library."""

    def __init__(self, cuda: Path) -> None:
        """Loads it from a folder of CUDA."""
        self.library = ctypes.CDLL(str((cuda / "lib64" / "libnvrtc.so").resolve()))
        self.include = cuda / "include"

    def compile(
        self, source: str, architecture: str, names: list[str]
    ) -> tuple[bytes, dict[str, str]]:
        """Returns the image for an architecture, and the symbols of the kernels in it by their names in C++."""
        program = ctypes.c_void_p()
        text = (source.encode(), b"cuda_kernels.cu")
        self._call("CreateProgram", ctypes.byref(program), *text, 0, None, None)
        for name in names:
            self._call("AddNameExpression", program, name.encode())
        options = [f"--gpu-architecture={architecture}", "--std=c++14", f"-I{self.include}"]
        words = (ctypes.c_char_p * len(options))(*map(str.encode, options))
        self._call("CompileProgram", program, len(options), words, log_of=program)
        symbols = {}
        for name in names:
            symbol = ctypes.c_char_p()
            self._call("GetLoweredName", program, name.encode(), ctypes.byref(symbol))
            symbols[name] = (symbol.value or b"").decode()
        kind, size = "CUBIN" if architecture.startswith("sm_") else "PTX", ctypes.c_size_t()
        self._call(f"Get{kind}Size", program, ctypes.byref(size))
        image = ctypes.create_string_buffer(size.value)
        self._call(f"Get{kind}", program, image)
        return image.raw, symbols

    def _call(
        self, function: str, *arguments: object, log_of: ctypes.c_void_p | None = None
    ) -> None:
        """Calls a function of the library; ends the program, with the compiler's log, if it fails."""
        status = getattr(self.library, f"nvrtc{function}")(*arguments)
        if status:
            log = ctypes.create_string_buffer(1 << 20)
            if log_of is not None:
                self.library.nvrtcGetProgramLog(log_of, log)
            raise SystemExit(
                f"mpi/cuda_kernels.py: nvrtc{function}: error {status}\n{log.value.decode()}"
            )


def table(architectures: list[str], folder: Path, symbols: dict[str, str]) -> str:
    """The text of cuda_images.inc."""
    images = "".join(IMAGE.format(name=name, path=folder / f"{name}.bin") for name in architectures)
    rows = [
        f"{{{name.split('_')[1]}, {str(name.startswith('sm_')).lower()}, horovod_{name}}}"
        for name in architectures
    ]
    instances = [
        f'{{{operation}, {f"HOROVOD_{dtype}" if dtype else -1}, "{symbols[name]}"}}'
        for (operation, dtype), name in kernels().items()
    ]
    return (
        f"{images}\nconst Image kImages[] = {{{', '.join(rows)}}};\n"
        f"const Kernel kKernels[] = {{{', '.join(instances)}}};\n"
    )


def without_nvcc(cmake: str, cuda: Path) -> str:
    """Horovod's CMakeLists.txt with a folder of CUDA in the place of a toolkit that CMake would look for."""
    begin = cmake.index("include(CheckLanguage)")
    macro = cmake.index("macro(ADD_CUDA)")
    sources = cmake.index("    list(APPEND SOURCES", macro)
    return cmake[:begin] + "macro(ADD_CUDA)\n" + CUDA.format(cuda=cuda) + cmake[sources:]


def main(source: Path, cuda: Path) -> None:
    """Changes Horovod's source."""
    folder = source / "horovod" / "common" / "ops" / "cuda"
    code = device_part(
        (folder / "cuda_kernels.cu").read_text(), (folder / "cuda_kernels.h").read_text()
    )
    compiler, symbols = Nvrtc(cuda), {}
    for architecture in ARCHITECTURES:
        image, symbols = compiler.compile(code, architecture, list(kernels().values()))
        (folder / f"{architecture}.bin").write_bytes(image)
        print(f"{architecture}: {len(image)} bytes")
    (folder / "cuda_images.inc").write_text(table(list(ARCHITECTURES), folder, symbols))
    shutil.copy(Path(__file__).with_name("cuda_kernels.cc"), folder)
    (folder / "CMakeLists.txt").write_text(LIBRARIES)
    cmake = source / "CMakeLists.txt"
    cmake.write_text(without_nvcc(cmake.read_text(), cuda))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
