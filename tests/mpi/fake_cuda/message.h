// Horovod's numbers of data types.
#pragma once
#include <cstdint>
#include <string>

namespace horovod {
namespace common {
enum DataType {
  HOROVOD_UINT8 = 0,
  HOROVOD_INT8 = 1,
  HOROVOD_INT32 = 4,
  HOROVOD_INT64 = 5,
  HOROVOD_FLOAT16 = 6,
  HOROVOD_FLOAT32 = 7,
  HOROVOD_FLOAT64 = 8,
  HOROVOD_BOOL = 9
};
inline std::string DataType_Name(DataType dtype) { return std::to_string(dtype); }
} // namespace common
} // namespace horovod
