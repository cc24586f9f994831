// Gradients of depthwise convolutions of float32 or bfloat16 maps in channels_last, on a CPU.
//
// Maps are (N, H, W, C) in memory, and a block of channels is kept in a vector. The weight gradient
// is summed over chunks of images that do not depend on the number of threads, so the result does
// not either; maps of bfloat16 are made floats image by image. The input gradient of a convolution
// of stride 1 is the convolution of the gradient with the flipped kernel, which oneDNN computes;
// that of other strides is computed here.
//
// PyTorch's own convolution_backward is replaced on the CPU, and calls what it was for all else and
// while the kernels are off. What is differentiated twice stays as it is.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/convolution_backward_native.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <tuple>
#include <utility>
#include <vector>

#include "vectors.h"

namespace paceline {
namespace {

struct Shape {
  int64_t num, channels, height, width, out_height, out_width;
  int64_t kernel_height, kernel_width, stride_height, stride_width;
  int64_t pad_height, pad_width, dilation_height, dilation_width;
};

int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -((-a) / b); }

// Outputs whose tap at offset falls into [0, size): from, to.
std::pair<int64_t, int64_t> valid(int64_t offset, int64_t stride, int64_t size, int64_t outputs) {
  const int64_t from = std::max<int64_t>(0, ceil_div(-offset, stride));
  const int64_t to = std::min(outputs, ceil_div(size - offset, stride));
  return {std::min(from, outputs), std::max(to, std::min(from, outputs))};
}

// Adds to sums (Rows, Columns) what outputs from..to of a row of gradients give: all taps valid.
template <int Lanes, int Rows, int Columns>
inline void add_taps(const float* const* rows, const float* gradient, int64_t from, int64_t to,
                     int64_t x_step, int64_t tap_step, int64_t channels, Vector<Lanes>* sums) {
  for (int64_t out = from; out < to; ++out) {
    const Vector<Lanes> g = load<Lanes>(gradient + out * channels);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const float* x = rows[r] + out * x_step;
#pragma GCC unroll 8
      for (int k = 0; k < Columns; ++k) sums[r * Columns + k] += g * load<Lanes>(x + k * tap_step);
    }
  }
}

// Weight gradient of Rows rows of the kernel, of one block of channels and images first..last.
template <int Lanes, int Rows, int Columns>
void weight_rows(const float* x, const float* gradient, float* sums_out, const Shape& s,
                 int64_t first, int64_t last, int64_t row0, int64_t column0, int64_t channel) {
  Vector<Lanes> sums[Rows * Columns] = {};
  const int64_t x_step = s.stride_width * s.channels, tap_step = s.dilation_width * s.channels;
  const int64_t left = column0 * s.dilation_width - s.pad_width;
  const int64_t right = left + (Columns - 1) * s.dilation_width;
  const int64_t inner_from = valid(left, s.stride_width, s.width, s.out_width).first;
  const int64_t inner_to =
      std::max(inner_from, valid(right, s.stride_width, s.width, s.out_width).second);
  for (int64_t n = first; n < last; ++n) {
    for (int64_t oh = 0; oh < s.out_height; ++oh) {
      const float* g = gradient + ((n * s.out_height + oh) * s.out_width) * s.channels + channel;
      const float* rows[Rows];
      bool inside[Rows], all = true;
      for (int r = 0; r < Rows; ++r) {
        const int64_t ih = oh * s.stride_height - s.pad_height + (row0 + r) * s.dilation_height;
        inside[r] = ih >= 0 && ih < s.height;
        all &= inside[r];
        rows[r] = x + ((n * s.height + ih) * s.width + left) * s.channels + channel;
      }
      if (all) {
        add_taps<Lanes, Rows, Columns>(rows, g, inner_from, inner_to, x_step, tap_step, s.channels,
                                       sums);
      } else {
        for (int r = 0; r < Rows; ++r)
          if (inside[r])
            add_taps<Lanes, 1, Columns>(rows + r, g, inner_from, inner_to, x_step, tap_step,
                                        s.channels, sums + r * Columns);
      }
      for (int64_t out = 0; out < s.out_width; ++out) {
        if (out == inner_from && inner_to > inner_from) out = inner_to;
        if (out >= s.out_width) break;
        const Vector<Lanes> gv = load<Lanes>(g + out * s.channels);
        for (int k = 0; k < Columns; ++k) {
          const int64_t iw = out * s.stride_width + left + k * s.dilation_width;
          if (iw < 0 || iw >= s.width) continue;
          for (int r = 0; r < Rows; ++r)
            if (inside[r])
              sums[r * Columns + k] += gv * load<Lanes>(rows[r] + out * x_step + k * tap_step);
        }
      }
    }
  }
  for (int r = 0; r < Rows; ++r)
    for (int k = 0; k < Columns; ++k)
      store<Lanes>(sums_out + ((row0 + r) * s.kernel_width + column0 + k) * Lanes,
                   sums[r * Columns + k]);
}

// Whole kernel of one block of channels, in pieces whose sums fit into the registers.
template <int Lanes>
void weight_block(const float* x, const float* g, float* sums, const Shape& s, int64_t first,
                  int64_t last, int64_t channel) {
  int64_t row = 0;
  while (row < s.kernel_height) {
    const int64_t rows = std::min<int64_t>(s.kernel_height - row, s.kernel_width == 3 ? 3 : 2);
    int64_t column = 0;
    while (column < s.kernel_width) {
      const int64_t left = s.kernel_width - column;
      const int64_t columns = left == 3 || left == 5 || left == 7 ? left : 1;
#define PACELINE_PIECE(R, K)                                                         \
  if (rows == R && columns == K)                                                     \
    weight_rows<Lanes, R, K>(x, g, sums, s, first, last, row, column, channel);
      PACELINE_PIECE(1, 1) PACELINE_PIECE(2, 1) PACELINE_PIECE(3, 1)
      PACELINE_PIECE(1, 3) PACELINE_PIECE(2, 3) PACELINE_PIECE(3, 3)
      PACELINE_PIECE(1, 5) PACELINE_PIECE(2, 5) PACELINE_PIECE(1, 7) PACELINE_PIECE(2, 7)
#undef PACELINE_PIECE
      column += columns;
    }
    row += rows;
  }
}

template <int Lanes>
void weight_chunk(const float* x, const float* g, float* sums, const Shape& s, int64_t first,
                  int64_t last, int64_t channel) {
  weight_block<Lanes>(x, g, sums, s, first, last, channel);
}

// A block of channels of an image's pixels, as floats side by side.
template <int Lanes>
void gather(const c10::BFloat16* from, std::vector<float>& to, int64_t channels) {
  const int64_t pixels = to.size() / Lanes;
  for (int64_t i = 0; i < pixels; ++i)
    store<Lanes>(to.data() + i * Lanes, load<Lanes>(from + i * channels));
}

// Every tap reads a pixel again, so that it is made a float only once.
template <int Lanes>
void weight_chunk(const c10::BFloat16* x, const c10::BFloat16* g, float* sums, const Shape& s,
                  int64_t first, int64_t last, int64_t channel) {
  Shape one = s;
  one.num = 1;
  one.channels = Lanes;
  const int64_t pixels = s.height * s.width, out_pixels = s.out_height * s.out_width;
  std::vector<float> maps(pixels * Lanes), gradients(out_pixels * Lanes);
  std::vector<float> found(s.kernel_height * s.kernel_width * Lanes);
  for (int64_t n = first; n < last; ++n) {
    gather<Lanes>(x + n * pixels * s.channels + channel, maps, s.channels);
    gather<Lanes>(g + n * out_pixels * s.channels + channel, gradients, s.channels);
    weight_block<Lanes>(maps.data(), gradients.data(), found.data(), one, 0, 1, 0);
    for (size_t i = 0; i < found.size(); ++i) sums[i] += found[i];
  }
}

template <int Lanes, class T>
void weight_gradient(const T* x, const T* g, T* out, const Shape& s) {
  const int64_t blocks = (s.channels + Lanes - 1) / Lanes, taps = s.kernel_height * s.kernel_width;
  const int64_t chunks = std::min<int64_t>(s.num, 16);
  std::vector<float> sums(blocks * chunks * taps * Lanes);
  at::parallel_for(0, blocks * chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t chunk = i / blocks, block = i % blocks;
      weight_chunk<Lanes>(x, g, sums.data() + i * taps * Lanes, s, chunk * s.num / chunks,
                          (chunk + 1) * s.num / chunks, block_start(block, Lanes, s.channels));
    }
  });
  for (int64_t block = 0; block < blocks; ++block)
    for (int64_t lane = 0; lane < Lanes; ++lane) {
      const int64_t channel = block_start(block, Lanes, s.channels) + lane;
      for (int64_t tap = 0; tap < taps; ++tap) {
        double total = 0;
        for (int64_t chunk = 0; chunk < chunks; ++chunk)
          total += sums[((chunk * blocks + block) * taps + tap) * Lanes + lane];
        out[channel * taps + tap] = static_cast<T>(static_cast<float>(total));
      }
    }
}

// Input gradient of a row of inputs, of one block of channels; weights are (taps, Lanes).
template <int Lanes, class T>
void input_row(const T* g, const float* weights, T* out, const Shape& s, int64_t n, int64_t ih,
               int64_t channel) {
  constexpr int kAtOnce = 4;
  T* to = out + ((n * s.height + ih) * s.width) * s.channels + channel;
  for (int64_t phase = 0; phase < s.stride_width && phase < s.width; ++phase) {
    const int64_t count = (s.width - phase + s.stride_width - 1) / s.stride_width;
    for (int64_t j0 = 0; j0 < count; j0 += kAtOnce) {
      const int64_t j1 = std::min<int64_t>(count, j0 + kAtOnce);
      Vector<Lanes> sums[kAtOnce] = {};
      for (int64_t kh = 0; kh < s.kernel_height; ++kh) {
        const int64_t row = ih + s.pad_height - kh * s.dilation_height;
        if (row < 0 || row % s.stride_height || row / s.stride_height >= s.out_height) continue;
        const T* from =
            g + ((n * s.out_height + row / s.stride_height) * s.out_width) * s.channels + channel;
        for (int64_t kw = 0; kw < s.kernel_width; ++kw) {
          const int64_t column = phase + s.pad_width - kw * s.dilation_width;
          if (((column % s.stride_width) + s.stride_width) % s.stride_width) continue;
          const int64_t first = column / s.stride_width;  // exact
          const Vector<Lanes> w = load<Lanes>(weights + (kh * s.kernel_width + kw) * Lanes);
          if (j1 - j0 == kAtOnce && first + j0 >= 0 && first + j1 <= s.out_width) {
#pragma GCC unroll 4
            for (int j = 0; j < kAtOnce; ++j)
              sums[j] += w * load<Lanes>(from + (first + j0 + j) * s.channels);
          } else {
            for (int64_t j = j0; j < j1; ++j)
              if (first + j >= 0 && first + j < s.out_width)
                sums[j - j0] += w * load<Lanes>(from + (first + j) * s.channels);
          }
        }
      }
      for (int64_t j = j0; j < j1; ++j)
        store<Lanes>(to + (phase + j * s.stride_width) * s.channels, sums[j - j0]);
    }
  }
}

template <int Lanes, class T>
void input_gradient(const T* g, const T* weight, T* out, const Shape& s) {
  const int64_t blocks = (s.channels + Lanes - 1) / Lanes, taps = s.kernel_height * s.kernel_width;
  std::vector<float> weights(blocks * taps * Lanes);
  for (int64_t block = 0; block < blocks; ++block)
    for (int64_t tap = 0; tap < taps; ++tap)
      for (int64_t lane = 0; lane < Lanes; ++lane)
        weights[(block * taps + tap) * Lanes + lane] =
            weight[(block_start(block, Lanes, s.channels) + lane) * taps + tap];
  at::parallel_for(0, s.num * s.height, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t block = 0; block < blocks; ++block)
        input_row<Lanes>(g, weights.data() + block * taps * Lanes, out, s, i / s.height,
                         i % s.height, block_start(block, Lanes, s.channels));
  });
}

template <int Lanes>
struct WeightGradient {
  template <class T>
  static void run(const T* x, const T* g, T* out, const Shape& s) {
    weight_gradient<Lanes>(x, g, out, s);
  }
};

template <int Lanes>
struct InputGradient {
  template <class T>
  static void run(const T* g, const T* weight, T* out, const Shape& s) {
    input_gradient<Lanes>(g, weight, out, s);
  }
};

Shape shape_of(at::IntArrayRef x, at::IntArrayRef g, at::IntArrayRef w, at::IntArrayRef stride,
               at::IntArrayRef padding, at::IntArrayRef dilation) {
  return {x[0],      x[1],      x[2],       x[3],       g[2],        g[3],       w[2],
          w[3],      stride[0], stride[1],  padding[0], padding[1],  dilation[0], dilation[1]};
}

at::Tensor depthwise_weight_gradient(const at::Tensor& x, const at::Tensor& gradient,
                                     at::IntArrayRef weight_size, at::IntArrayRef stride,
                                     at::IntArrayRef padding, at::IntArrayRef dilation) {
  const auto xs = x.contiguous(at::MemoryFormat::ChannelsLast);
  const auto gs = gradient.contiguous(at::MemoryFormat::ChannelsLast);
  auto out = at::empty(weight_size, x.options());
  const auto shape =
      shape_of(x.sizes(), gradient.sizes(), weight_size, stride, padding, dilation);
  by_type(x, [&](auto zero) {
    using T = decltype(zero);
    by_lanes<WeightGradient>(x.size(1), xs.const_data_ptr<T>(), gs.const_data_ptr<T>(),
                             out.mutable_data_ptr<T>(), shape);
  });
  return out;
}

at::Tensor depthwise_input_gradient(const at::Tensor& gradient, const at::Tensor& weight,
                                    at::IntArrayRef input_size, at::IntArrayRef stride,
                                    at::IntArrayRef padding, at::IntArrayRef dilation) {
  const auto gs = gradient.contiguous(at::MemoryFormat::ChannelsLast);
  const auto ws = weight.contiguous();
  auto out =
      at::empty(input_size, gradient.options().memory_format(at::MemoryFormat::ChannelsLast));
  const auto shape =
      shape_of(input_size, gradient.sizes(), weight.sizes(), stride, padding, dilation);
  by_type(gradient, [&](auto zero) {
    using T = decltype(zero);
    by_lanes<InputGradient>(input_size[1], gs.const_data_ptr<T>(), ws.const_data_ptr<T>(),
                            out.mutable_data_ptr<T>(), shape);
  });
  return out;
}

std::atomic<bool> enabled{false};

// Sides of the maps up to which kernels of three are left to oneDNN.
constexpr int64_t kSmallMap = 12, kSmallMapOfHalves = 32;

bool is_depthwise(const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight,
                  bool transposed, int64_t groups) {
  return !transposed && x.dim() == 4 && groups > 1 && groups == x.size(1) &&
         groups == weight.size(0) && weight.size(1) == 1 &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
         gradient.scalar_type() == x.scalar_type() && weight.scalar_type() == x.scalar_type() &&
         x.numel() > 0 && gradient.numel() > 0 && x.is_contiguous(at::MemoryFormat::ChannelsLast);
}

// Whether oneDNN's weight gradient is as fast: small kernels without dilation on small maps.
bool is_fast_in_onednn(const at::Tensor& gradient, const at::Tensor& weight,
                       at::IntArrayRef dilation) {
  return weight.size(2) <= 3 && weight.size(3) <= 3 && dilation[0] == 1 && dilation[1] == 1 &&
         gradient.size(3) <= (is_half(gradient) ? kSmallMapOfHalves : kSmallMap);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(
    const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight,
    at::OptionalIntArrayRef bias_sizes, at::IntArrayRef stride, at::IntArrayRef padding,
    at::IntArrayRef dilation, bool transposed, at::IntArrayRef output_padding, int64_t groups,
    std::array<bool, 3> mask) {
  at::Tensor of_x, of_weight, of_bias;
  auto rest = mask;  // what is left to PyTorch
  if (enabled && is_depthwise(gradient, x, weight, transposed, groups)) {
    if (mask[1] && !is_fast_in_onednn(gradient, weight, dilation)) {
      of_weight =
          depthwise_weight_gradient(x, gradient, weight.sizes(), stride, padding, dilation);
      rest[1] = false;
    }
    const int64_t high = dilation[0] * (weight.size(2) - 1) - padding[0];
    const int64_t wide = dilation[1] * (weight.size(3) - 1) - padding[1];
    if (mask[0] && stride[0] == 1 && stride[1] == 1 && high >= 0 && wide >= 0) {
      of_x = at::conv2d(gradient, weight.flip({2, 3}), {}, 1, {high, wide}, dilation, groups);
      rest[0] = false;
    } else if (mask[0] && (dilation[0] > 1 || dilation[1] > 1)) {
      of_x = depthwise_input_gradient(gradient, weight, x.sizes(), stride, padding, dilation);
      rest[0] = false;
    } else if (mask[0] && is_half(x)) {  // of stride 2, oneDNN takes 30 times as long as for floats
      const auto found = at::native::convolution_backward(
          gradient.to(at::kFloat), at::empty_like(x, x.options().dtype(at::kFloat)),
          weight.to(at::kFloat), {}, stride, padding, dilation, false, output_padding, groups,
          {true, false, false});
      of_x = std::get<0>(found).to(at::kBFloat16);
      rest[0] = false;
    }
  }
  if (rest[0] || rest[1] || rest[2]) {
    auto more = at::native::convolution_backward(gradient, x, weight, bias_sizes, stride, padding,
                                                 dilation, transposed, output_padding, groups, rest);
    if (rest[0]) of_x = std::get<0>(more);
    if (rest[1]) of_weight = std::get<1>(more);
    if (rest[2]) of_bias = std::get<2>(more);
  }
  return {of_x, of_weight, of_bias};
}

void enable(bool value) { enabled = value; }

bool is_enabled() { return enabled; }

}  // namespace
}  // namespace paceline

TORCH_LIBRARY_FRAGMENT(paceline, m) {
  m.def("enable(bool value) -> ()", &paceline::enable);
  m.def("is_enabled() -> bool", &paceline::is_enabled);
  m.def(
      "depthwise_weight_gradient(Tensor x, Tensor gradient, int[4] weight_size, int[2] stride, "
      "int[2] padding, int[2] dilation) -> Tensor");
  m.def(
      "depthwise_input_gradient(Tensor gradient, Tensor weight, int[4] input_size, int[2] stride, "
      "int[2] padding, int[2] dilation) -> Tensor");
}

TORCH_LIBRARY_IMPL(paceline, CPU, m) {
  m.impl("depthwise_weight_gradient", &paceline::depthwise_weight_gradient);
  m.impl("depthwise_input_gradient", &paceline::depthwise_input_gradient);
}

TORCH_LIBRARY_IMPL(aten, CPU, m) {
  m.impl("convolution_backward", &paceline::convolution_backward);
}
