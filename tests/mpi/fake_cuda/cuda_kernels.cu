// What mpi/cuda_kernels.py looks for in Horovod's own cuda_kernels.cu.
#include "cuda_kernels.h"

#include <stdexcept>
#include <cuda_fp16.h>

namespace horovod {
namespace common {

template<int blocks_per_copy>
__global__ void batched_memcpy_k(BatchedD2DParams params) {
}

#define BLOCKS_PER_COPY_D2D_KERNEL 8
void BatchedD2DMemcpyCudaImpl(BatchedD2DParams& params, int num_copies, cudaStream_t stream)
{
  batched_memcpy_k<BLOCKS_PER_COPY_D2D_KERNEL><<<num_copies, 1024, 0, stream>>>(params);
}

__global__ void scale_buffer_half2_k(const __half* input, __half* output) {
}

} // namespace common
} // namespace horovod
