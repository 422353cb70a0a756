// The little of CUDA's runtime and driver that mpi/cuda_kernels.cc uses; main.cc plays the device.
#pragma once
#include <cstddef>
#include <cstdint>

typedef int cudaError_t;
typedef int CUresult;
typedef struct CUmod_st* CUmodule;
typedef struct CUfunc_st* CUfunction;
typedef struct CUstream_st* CUstream;
typedef CUstream cudaStream_t;
enum { cudaSuccess = 0, CUDA_SUCCESS = 0, cudaEnableDefault = 0 };
enum { cudaDevAttrComputeCapabilityMajor = 75, cudaDevAttrComputeCapabilityMinor = 76 };
cudaError_t cudaGetDriverEntryPoint(const char* name, void** found, unsigned long long flags);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaFree(void* pointer);
cudaError_t cudaDeviceGetAttribute(int* value, int attribute, int device);
