"""mpi/cuda_kernels.py without a GPU: what it takes from Horovod's source, and what its host part would launch.

Whether NVRTC compiles Horovod's kernels is test_gpu_build.py's.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

FAKE = Path(__file__).with_name("fake_cuda")
ROOT = FAKE.parents[2]
SPEC = importlib.util.spec_from_file_location("cuda_kernels", ROOT / "mpi" / "cuda_kernels.py")
cuda_kernels = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(cuda_kernels)


def test_the_device_part_has_the_kernels_and_no_host_code():
    source, header = ((FAKE / f"cuda_kernels.{end}").read_text() for end in ("cu", "h"))
    code = cuda_kernels.device_part(source, header)
    assert "batched_memcpy_k(BatchedD2DParams params)" in code
    assert "scale_buffer_half2_k" in code
    assert code.index("#define BATCHED_D2D_CAPACITY 160") < code.index("struct BatchedD2DParams {")
    assert "CudaImpl" not in code and "<<<" not in code and "namespace" not in code


def test_no_nvcc_is_looked_for():
    changed = cuda_kernels.without_nvcc((FAKE / "CMakeLists.txt").read_text(), Path("/its/cuda"))
    assert "check_language" not in changed and "find_package" not in changed
    assert 'IMPORTED_LOCATION "/its/cuda/lib64/libcudart.so"' in changed
    assert changed.startswith("# What") and changed.rstrip().endswith("endmacro()")
    with pytest.raises(ValueError):  # another Horovod is not changed by half
        cuda_kernels.without_nvcc("project(other)\n", Path("/its/cuda"))


@pytest.fixture(scope="module")
def device(tmp_path_factory) -> Path:
    """The host part, compiled with a device that prints what it is to run."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    top = tmp_path_factory.mktemp("horovod")
    folder = top / "ops" / "cuda"
    shutil.copytree(FAKE, folder)
    for name in ("half.h", "message.h"):
        shutil.move(folder / name, top / name)
    shutil.copy(ROOT / "mpi" / "cuda_kernels.cc", folder)
    architectures = ["sm_70", "sm_80", "sm_86", "sm_90", "compute_90"]
    for name in architectures:
        (folder / f"{name}.bin").write_text(name)  # ends with the zero that follows every image
    symbols = {name: name for name in cuda_kernels.kernels().values()}
    text = cuda_kernels.table(architectures, folder, symbols)
    (folder / "cuda_images.inc").write_text(text)
    command = [compiler, "-std=c++17", "-Wall", "-Werror", "-O0", f"-I{folder}", "-o", "device"]
    subprocess.run([*command, "main.cc", "cuda_kernels.cc"], cwd=folder, check=True)
    return folder / "device"


def launches(device: Path, capability: str) -> list[str]:
    return subprocess.check_output([device, *capability.split(".")], text=True).splitlines()


@pytest.mark.parametrize(
    ("capability", "image"),
    [
        ("7.0", "sm_70"),
        ("7.5", "sm_70"),
        ("8.0", "sm_80"),
        ("8.9", "sm_86"),
        ("9.0", "sm_90"),
        ("10.0", "compute_90"),
        ("12.0", "compute_90"),
    ],
)
def test_a_device_runs_the_newest_binary_of_its_kind_or_ptx(device, capability, image):
    assert {line.split()[0] for line in launches(device, capability)[:-1]} == {image}


def test_a_device_without_kernels_is_an_error_by_name(device):
    assert launches(device, "6.1") == [
        "Horovod was built without kernels for compute capability 6.1"
    ]


def test_launches_are_those_of_the_source(device):
    """Blocks of 512 threads for each element or two, eight blocks of 1024 for each copy, the factor in its type."""
    seen = [line.removeprefix("sm_90 ") for line in launches(device, "9.0")]
    expected = ["batched_memcpy_k<8> 24 1024 size=33"]
    for value, factor in cuda_kernels.TYPES.values():
        by = {"__half": "half 3800", "float": "float 0.5", "double": "double 0.5"}[factor]
        scale = f"scale_buffer_k<{value}, {factor}> 3 512 inout n=1025 by {by}"
        if value == "__half":
            scale = f"scale_buffer_half2_k 2 512 inout n=1025 by {by}"
        expected += [
            scale,
            f"batched_scaled_memcpy_k<{value}, 8, {factor}> 16 1024 size=33 by {by}",
        ]
    expected += ["scale_buffer_k<__half, __half> 3 512 nout n=1025 by half 3800"]
    expected += ["Type 9 not supported by Horovod's CUDA kernels."]
    assert seen == expected
