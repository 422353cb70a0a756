// A device without hardware: `main MAJOR MINOR` makes every call that Horovod makes and prints what would be launched.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "cuda_kernels.h"

namespace {
int capability[2];
char image[32];

CUresult Load(CUmodule* module, const void* data) {
  std::snprintf(image, sizeof image, "%s", static_cast<const char*>(data));
  *module = reinterpret_cast<CUmodule>(image);
  return CUDA_SUCCESS;
}

CUresult Get(CUfunction* function, CUmodule, const char* symbol) {
  *function = reinterpret_cast<CUfunction>(const_cast<char*>(symbol));
  return CUDA_SUCCESS;
}

CUresult Run(CUfunction function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned, unsigned,
             unsigned shared, CUstream stream, void** arguments, void** extra) {
  const char* symbol = reinterpret_cast<char*>(function);
  std::printf("%s %s %u %u", image, symbol, x, threads);
  if (y != 1 || z != 1 || shared || extra || stream != reinterpret_cast<CUstream>(7)) std::printf(" wrong");
  const bool scales = !std::strncmp(symbol, "scale", 5), copies = !std::strncmp(symbol, "batched_scaled", 14);
  if (scales)
    std::printf(" %s%s n=%ld", *static_cast<char**>(arguments[0]), *static_cast<char**>(arguments[1]),
                static_cast<long>(*static_cast<int64_t*>(arguments[2])));
  else
    std::printf(" size=%zu", static_cast<horovod::common::BatchedD2DParams*>(arguments[0])->sizes[0]);
  if (scales || copies) {
    const void* factor = arguments[scales ? 3 : 1];
    if (std::strstr(symbol, "half"))
      std::printf(" by half %04x", *static_cast<const uint16_t*>(factor));
    else if (std::strstr(symbol, "float"))
      std::printf(" by float %g", *static_cast<const float*>(factor));
    else
      std::printf(" by double %g", *static_cast<const double*>(factor));
  }
  std::printf("\n");
  return CUDA_SUCCESS;
}
} // namespace

cudaError_t cudaGetDriverEntryPoint(const char* name, void** found, unsigned long long) {
  *found = !std::strcmp(name, "cuModuleLoadData")      ? reinterpret_cast<void*>(Load)
           : !std::strcmp(name, "cuModuleGetFunction") ? reinterpret_cast<void*>(Get)
           : !std::strcmp(name, "cuLaunchKernel")      ? reinterpret_cast<void*>(Run)
                                                       : nullptr;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) { return *device = 0; }
cudaError_t cudaFree(void*) { return cudaSuccess; }
cudaError_t cudaDeviceGetAttribute(int* value, int attribute, int) {
  *value = capability[attribute - cudaDevAttrComputeCapabilityMajor];
  return cudaSuccess;
}

int main(int, char** words) {
  using namespace horovod::common;
  capability[0] = std::atoi(words[1]);
  capability[1] = std::atoi(words[2]);
  const auto stream = reinterpret_cast<cudaStream_t>(7);
  alignas(16) static char in[] = "in", out[] = "out";
  static BatchedD2DParams params;
  params.sizes[0] = 33;
  try {
    BatchedD2DMemcpyCudaImpl(params, 3, stream);
    for (int dtype : {0, 1, 4, 5, 6, 7, 8}) {
      ScaleBufferCudaImpl(in, out, 1025, 0.5, static_cast<DataType>(dtype), stream);
      BatchedScaledD2DMemcpyCudaImpl(params, 2, 0.5, static_cast<DataType>(dtype), stream);
    }
    ScaleBufferCudaImpl(in + 1, out, 1025, 0.5, HOROVOD_FLOAT16, stream); // not aligned for two at a time
    ScaleBufferCudaImpl(in, out, 0, 0.5, HOROVOD_FLOAT32, stream);
    ScaleBufferCudaImpl(in, out, 1, 0.5, HOROVOD_BOOL, stream);
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
  }
}
