// Horovod's conversion to float16, for whole powers of two.
#pragma once
#include <cmath>
#include <cstdint>

namespace horovod {
namespace common {
inline void Float2HalfBits(const float* value, uint16_t* bits) {
  *bits = static_cast<uint16_t>((std::ilogb(*value) + 15) << 10);
}
} // namespace common
} // namespace horovod
