// Vectors of floats as wide as the CPU's registers, by the compiler's own vector types.
//
// Numbers in memory are float or bfloat16, and are computed with as floats.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/BFloat16.h>

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
struct Bits {
  typedef uint32_t type __attribute__((vector_size(Lanes * 4)));
  typedef uint16_t half __attribute__((vector_size(Lanes * 2), aligned(2)));
};

template <int Lanes>
inline Vector<Lanes> load(const float* from) {
  return *reinterpret_cast<const Vector<Lanes>*>(from);
}

// A bfloat16 is the upper half of a float.
template <int Lanes>
inline Vector<Lanes> load(const c10::BFloat16* from) {
  using Wide = typename Bits<Lanes>::type;
  using Half = typename Bits<Lanes>::half;
  const auto half = *reinterpret_cast<const Half*>(from);
  return reinterpret_cast<Vector<Lanes>>(__builtin_convertvector(half, Wide) << 16);
}

template <int Lanes>
inline void store(float* to, Vector<Lanes> value) {
  *reinterpret_cast<Vector<Lanes>*>(to) = value;
}

// Rounds to the nearest bfloat16, ties to even; what is not a number stays so.
template <int Lanes>
inline void store(c10::BFloat16* to, Vector<Lanes> value) {
  using Wide = typename Bits<Lanes>::type;
  using Half = typename Bits<Lanes>::half;
  const auto bits = reinterpret_cast<Wide>(value);
  const Wide rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const Wide not_a_number = Wide{} + 0x7fc0u;
  *reinterpret_cast<Half*>(to) =
      __builtin_convertvector(value == value ? rounded : not_a_number, Half);
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

inline bool is_half(const at::Tensor& x) { return x.scalar_type() == at::kBFloat16; }

// Calls run with a zero of the type that a tensor's numbers have in memory.
template <class Run>
void by_type(const at::Tensor& x, const Run& run) {
  if (is_half(x)) return run(c10::BFloat16(0.f));
  run(0.f);
}

}  // namespace paceline
