// cuda_kernels.cc: the host's part of Horovod's CUDA kernels, for a build without nvcc.
//
// mpi/cuda_kernels.py compiles the kernels of Horovod's cuda_kernels.cu by NVRTC and writes cuda_images.inc: the
// compiled images, and the kernels' names in them. This file stands in for the rest of cuda_kernels.cu: it loads the
// image that suits the device and launches through the driver, which is found at run time, so that nothing here needs
// a driver where it is built or where ranks have no GPU.
#include "cuda_kernels.h"

#include <cuda.h>

#include <map>
#include <mutex>
#include <stdexcept>
#include <string>

#include "../../half.h"

namespace horovod {
namespace common {
namespace {

struct Image {
  int capability;  // 10 * major + minor
  bool binary;     // for this major version from this minor one on; otherwise PTX, for all later devices
  const char* data;
};
enum Operation { COPY, SCALE, SCALE_HALF2, SCALED_COPY };
struct Kernel {
  Operation operation;
  int dtype;  // -1: of any
  const char* symbol;
};
#include "cuda_images.inc"  // kImages and kKernels

constexpr int kCopyThreads = 1024, kScaleThreads = 512, kBlocksPerCopy = 8;

template <typename Function>
Function FromDriver(const char* name) {
  void* found = nullptr;
  if (cudaGetDriverEntryPoint(name, &found, cudaEnableDefault) != cudaSuccess || !found)
    throw std::runtime_error(std::string("Horovod's CUDA kernels: the CUDA driver has no ") + name);
  return reinterpret_cast<Function>(found);
}

void Check(CUresult result, const char* what) {
  if (result != CUDA_SUCCESS)
    throw std::runtime_error(std::string("Horovod's CUDA kernels: ") + what + " failed with CUDA driver error " +
                             std::to_string(result));
}

const char* ImageFor(int device) {
  int major = 0, minor = 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  const int capability = 10 * major + minor;
  const Image* best = nullptr;  // the images are in ascending order
  for (const Image& image : kImages)
    if (image.binary && image.capability / 10 == major && image.capability <= capability) best = &image;
  if (best) return best->data;
  for (const Image& image : kImages)
    if (!image.binary && image.capability <= capability) best = &image;
  if (best) return best->data;
  throw std::runtime_error("Horovod was built without kernels for compute capability " + std::to_string(major) + "." +
                           std::to_string(minor));
}

CUfunction Find(Operation operation, int dtype) {
  static std::mutex mutex;
  static std::map<int, CUmodule> modules;  // by device
  static std::map<std::pair<int, const char*>, CUfunction> functions;
  const char* symbol = nullptr;
  for (const Kernel& kernel : kKernels)
    if (kernel.operation == operation && (kernel.dtype == dtype || kernel.dtype == -1)) symbol = kernel.symbol;
  if (!symbol)
    throw std::logic_error("Type " + DataType_Name(static_cast<DataType>(dtype)) +
                           " not supported by Horovod's CUDA kernels.");
  int device = 0;
  // The second call makes the device's context this thread's own, if no other call has.
  if (cudaGetDevice(&device) != cudaSuccess || cudaFree(nullptr) != cudaSuccess)
    throw std::runtime_error("Horovod's CUDA kernels: no CUDA device");
  std::lock_guard<std::mutex> guard(mutex);
  CUfunction& function = functions[{device, symbol}];
  if (function) return function;
  CUmodule& module = modules[device];
  using Load = CUresult (*)(CUmodule*, const void*);
  using Get = CUresult (*)(CUfunction*, CUmodule, const char*);
  if (!module) Check(FromDriver<Load>("cuModuleLoadData")(&module, ImageFor(device)), "cuModuleLoadData");
  Check(FromDriver<Get>("cuModuleGetFunction")(&function, module, symbol), symbol);
  return function;
}

void Launch(Operation operation, int dtype, int64_t blocks, int threads, cudaStream_t stream, void** arguments) {
  using Run = CUresult (*)(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream,
                           void**, void**);
  static const Run run = FromDriver<Run>("cuLaunchKernel");
  if (blocks == 0) return;  // nothing to do; the driver refuses a launch of no blocks
  Check(run(Find(operation, dtype), static_cast<unsigned>(blocks), 1, 1, threads, 1, 1, 0, stream, arguments, nullptr),
        "cuLaunchKernel");
}

// The factor in the type in which the kernels of this dtype take it.
union Factor {
  Factor(double factor, DataType dtype) {
    const float narrow = static_cast<float>(factor);
    if (dtype == HOROVOD_FLOAT16)
      Float2HalfBits(&narrow, &float16);
    else if (dtype == HOROVOD_FLOAT32)
      float32 = narrow;
    else
      float64 = factor;
  }
  double float64;
  float float32;
  uint16_t float16;
};

} // namespace

void BatchedD2DMemcpyCudaImpl(BatchedD2DParams& params, int num_copies, cudaStream_t stream) {
  void* arguments[] = {&params};
  Launch(COPY, -1, num_copies * kBlocksPerCopy, kCopyThreads, stream, arguments);
}

void ScaleBufferCudaImpl(const void* fused_input_data, void* buffer_data, const int64_t num_elements,
                         double scale_factor, DataType dtype, cudaStream_t stream) {
  Factor factor(scale_factor, dtype);
  int64_t number = num_elements, threads = num_elements;
  Operation operation = SCALE;
  if (dtype == HOROVOD_FLOAT16 && reinterpret_cast<size_t>(fused_input_data) % 4 == 0 &&
      reinterpret_cast<size_t>(buffer_data) % 4 == 0) {
    operation = SCALE_HALF2;  // two at a time, if alignment allows
    threads = (num_elements + 1) / 2;
  }
  void* arguments[] = {&fused_input_data, &buffer_data, &number, &factor};
  Launch(operation, dtype, (threads + kScaleThreads - 1) / kScaleThreads, kScaleThreads, stream, arguments);
}

void BatchedScaledD2DMemcpyCudaImpl(BatchedD2DParams& params, int num_copies, double scale_factor, DataType dtype,
                                    cudaStream_t stream) {
  Factor factor(scale_factor, dtype);
  void* arguments[] = {&params, &factor};
  Launch(SCALED_COPY, dtype, num_copies * kBlocksPerCopy, kCopyThreads, stream, arguments);
}

} // namespace common
} // namespace horovod
