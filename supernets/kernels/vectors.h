// Vectors of floats as wide as the CPU's registers, by the compiler's own vector types.
#pragma once

#include <cstdint>

namespace paceline {

#if defined(__AVX512F__)
constexpr int kWidest = 16;
#elif defined(__AVX__)
constexpr int kWidest = 8;
#else
constexpr int kWidest = 4;
#endif

template <int Lanes>
struct Floats {
  typedef float type __attribute__((vector_size(Lanes * 4), aligned(4)));
};

template <int Lanes>
using Vector = typename Floats<Lanes>::type;

template <int Lanes>
inline Vector<Lanes> load(const float* from) {
  return *reinterpret_cast<const Vector<Lanes>*>(from);
}

template <int Lanes>
inline void store(float* to, Vector<Lanes> value) {
  *reinterpret_cast<Vector<Lanes>*>(to) = value;
}

// Starts of blocks of Lanes channels; the last one overlaps the one before where Lanes do not divide.
inline int64_t block_start(int64_t block, int64_t lanes, int64_t channels) {
  const int64_t start = block * lanes;
  return start + lanes <= channels ? start : channels - lanes;
}

// Runs Run<Lanes>::run with as many lanes as the channels and the CPU's registers allow.
template <template <int> class Run, class... Arguments>
void by_lanes(int64_t channels, const Arguments&... arguments) {
  if (channels >= 16 && kWidest >= 16) return Run<16>::run(arguments...);
  if (channels >= 8 && kWidest >= 8) return Run<8>::run(arguments...);
  if (channels >= 4) return Run<4>::run(arguments...);
  return Run<1>::run(arguments...);
}

}  // namespace paceline
