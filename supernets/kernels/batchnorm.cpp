// BatchNorm of train mode with the activation after it, of float32 maps in channels_last, on a CPU.
//
// Maps are rows of C channels in memory. Sums are taken in float over tiles of rows, of differences
// to the first row, and in double over the tiles; chunks of tiles do not depend on the number of
// threads, so the result does not either. The backward pass computes the normalised maps again, so
// that neither they nor the activation's input are kept.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/hardswish.h>
#include <ATen/ops/hardtanh.h>
#include <ATen/ops/relu.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "vectors.h"

namespace paceline {
namespace {

enum Activation : int64_t { kNone = 0, kReLU = 1, kReLU6 = 2, kHardswish = 3 };

template <int L>
inline Vector<L> clamp(Vector<L> z, float low, float high) {
  const Vector<L> a = Vector<L>{} + low, b = Vector<L>{} + high;
  z = z > a ? z : a;
  return z < b ? z : b;
}

template <int L, int A>
inline Vector<L> activated(Vector<L> z) {
  const Vector<L> zero = {};
  if constexpr (A == kReLU) return z > zero ? z : zero;
  if constexpr (A == kReLU6) return clamp<L>(z, 0.f, 6.f);
  if constexpr (A == kHardswish) return z * clamp<L>(z + 3.f, 0.f, 6.f) * (1.f / 6.f);
  return z;
}

template <int L, int A>
inline Vector<L> through_activation(Vector<L> z, Vector<L> g) {
  const Vector<L> zero = {};
  if constexpr (A == kReLU) return z > zero ? g : zero;
  if constexpr (A == kReLU6) return (z > zero) & (z < zero + 6.f) ? g : zero;
  if constexpr (A == kHardswish) {
    const Vector<L> slope = z * (1.f / 3.f) + 0.5f;
    return z < zero - 3.f ? zero : (z > zero + 3.f ? g : g * slope);
  }
  return g;
}

// At most; the sums of each are added in order, whichever thread made them.
constexpr int64_t kChunks = 32;

// What a pass over maps needs.
struct Pass {
  const float *x, *gradient, *weight, *bias, *mean, *inverse;
  float *out, *out_mean, *out_variance, *out_inverse, *of_weight, *of_bias;
  int64_t rows, channels, activation;
  double eps;
};

// The rows of so many maps in chunks of tiles, which together stay in 64 KiB.
struct Tiles {
  int64_t rows, channels, tile, chunks;

  Tiles(const Pass& p, int64_t maps)
      : rows(p.rows),
        channels(p.channels),
        tile(std::max<int64_t>(8, (16384 / maps) / channels / 4 * 4)),
        chunks(std::min<int64_t>(kChunks, std::max<int64_t>(1, rows / tile))) {}

  // Calls run(chunk, block, channel, first row, row after the last) for every block of channels of
  // every tile; the tiles of a chunk come in order.
  template <int L, class Run>
  void each(const Run& run) const {
    const int64_t blocks = (channels + L - 1) / L;
    at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t chunk = begin; chunk < end; ++chunk) {
        const int64_t from = chunk * rows / chunks, to = (chunk + 1) * rows / chunks;
        for (int64_t first = from; first < to; first += tile)
          for (int64_t block = 0; block < blocks; ++block)
            run(chunk, block, block_start(block, L, channels), first, std::min(to, first + tile));
      }
    });
  }
};

// Two sums of each channel, in double over tiles and chunks.
class Sums {
 public:
  explicit Sums(const Tiles& tiles)
      : channels_(tiles.channels), chunks_(tiles.chunks), sums_(chunks_ * channels_ * 2) {}

  // Adds what a tile has of a block, but for channels of the block before.
  template <int L>
  void add(int64_t chunk, int64_t block, int64_t channel, Vector<L> first, Vector<L> second) {
    double* own = sums_.data() + (chunk * channels_ + channel) * 2;
    for (int64_t lane = block * L - channel; lane < L; ++lane) {
      own[lane * 2] += first[lane];
      own[lane * 2 + 1] += second[lane];
    }
  }

  std::pair<double, double> of(int64_t channel) const {
    double first = 0, second = 0;
    for (int64_t chunk = 0; chunk < chunks_; ++chunk) {
      first += sums_[(chunk * channels_ + channel) * 2];
      second += sums_[(chunk * channels_ + channel) * 2 + 1];
    }
    return {first, second};
  }

 private:
  int64_t channels_, chunks_;
  std::vector<double> sums_;
};

template <int L, int A>
struct Normalise {
  static void run(const Pass& p) {
    const int64_t channels = p.channels;
    const float* x = p.x;
    const Tiles tiles(p, 1);
    Sums sums(tiles);
    tiles.each<L>([&](int64_t chunk, int64_t block, int64_t c, int64_t m, int64_t end) {
      const Vector<L> shift = load<L>(x + c);  // the first row, so that squares stay small
      Vector<L> s[4] = {}, q[4] = {};
      for (; m + 4 <= end; m += 4)
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          const Vector<L> v = load<L>(x + (m + i) * channels + c) - shift;
          s[i] += v;
          q[i] += v * v;
        }
      for (; m < end; ++m) {
        const Vector<L> v = load<L>(x + m * channels + c) - shift;
        s[0] += v;
        q[0] += v * v;
      }
      sums.add<L>(chunk, block, c, (s[0] + s[1]) + (s[2] + s[3]), (q[0] + q[1]) + (q[2] + q[3]));
    });
    std::vector<float> scale(channels), offset(channels);
    for (int64_t c = 0; c < channels; ++c) {
      const auto [sum, squares] = sums.of(c);
      const double off = sum / p.rows, variance = std::max(0.0, squares / p.rows - off * off);
      const double inverse = 1.0 / std::sqrt(variance + p.eps), w = p.weight ? p.weight[c] : 1.0;
      p.out_mean[c] = static_cast<float>(x[c] + off);
      p.out_variance[c] = static_cast<float>(variance);
      p.out_inverse[c] = static_cast<float>(inverse);
      scale[c] = static_cast<float>(w * inverse);
      offset[c] = static_cast<float>((p.bias ? p.bias[c] : 0.0) - (x[c] + off) * w * inverse);
    }
    tiles.each<L>([&](int64_t, int64_t, int64_t c, int64_t m, int64_t end) {
      const Vector<L> a = load<L>(scale.data() + c), b = load<L>(offset.data() + c);
      for (; m < end; ++m)
        store<L>(p.out + m * channels + c,
                 activated<L, A>(load<L>(x + m * channels + c) * a + b));
    });
  }
};

// What is known of a block of channels on the way back.
template <int L, int A>
struct Block {
  const float *x, *gradient;
  int64_t channels;
  Vector<L> mean, inverse, weight, bias;

  Block(const Pass& p, int64_t c)
      : x(p.x + c),
        gradient(p.gradient + c),
        channels(p.channels),
        mean(load<L>(p.mean + c)),
        inverse(load<L>(p.inverse + c)),
        weight(p.weight ? load<L>(p.weight + c) : Vector<L>{} + 1.f),
        bias(p.bias ? load<L>(p.bias + c) : Vector<L>{}) {}

  Vector<L> normalised(int64_t row) const {
    return (load<L>(x + row * channels) - mean) * inverse;
  }

  Vector<L> through(Vector<L> normalised, int64_t row) const {
    return through_activation<L, A>(normalised * weight + bias,
                                    load<L>(gradient + row * channels));
  }
};

template <int L, int A>
struct Back {
  static void run(const Pass& p) {
    const int64_t channels = p.channels;
    const Tiles tiles(p, 2);
    Sums sums(tiles);
    tiles.each<L>([&](int64_t chunk, int64_t index, int64_t c, int64_t m, int64_t end) {
      const Block<L, A> block(p, c);
      Vector<L> s[2] = {}, q[2] = {};
      for (; m + 2 <= end; m += 2)
#pragma GCC unroll 2
        for (int i = 0; i < 2; ++i) {
          const Vector<L> h = block.normalised(m + i), d = block.through(h, m + i);
          s[i] += d;
          q[i] += d * h;
        }
      for (; m < end; ++m) {
        const Vector<L> h = block.normalised(m), d = block.through(h, m);
        s[0] += d;
        q[0] += d * h;
      }
      sums.add<L>(chunk, index, c, s[0] + s[1], q[0] + q[1]);
    });
    std::vector<float> mean_g(channels), mean_gh(channels);
    for (int64_t c = 0; c < channels; ++c) {
      const auto [sum, product] = sums.of(c);
      p.of_bias[c] = static_cast<float>(sum);
      p.of_weight[c] = static_cast<float>(product);
      mean_g[c] = static_cast<float>(sum / p.rows);
      mean_gh[c] = static_cast<float>(product / p.rows);
    }
    tiles.each<L>([&](int64_t, int64_t, int64_t c, int64_t m, int64_t end) {
      const Block<L, A> block(p, c);
      const Vector<L> sg = load<L>(mean_g.data() + c), sq = load<L>(mean_gh.data() + c);
      const Vector<L> scale = block.weight * block.inverse;
      for (; m < end; ++m) {
        const Vector<L> h = block.normalised(m);
        store<L>(p.out + m * channels + c, scale * (block.through(h, m) - sg - h * sq));
      }
    });
  }
};

template <template <int, int> class Run, int L>
void by_activation(const Pass& p) {
  if (p.activation == kReLU) return Run<L, kReLU>::run(p);
  if (p.activation == kReLU6) return Run<L, kReLU6>::run(p);
  if (p.activation == kHardswish) return Run<L, kHardswish>::run(p);
  return Run<L, kNone>::run(p);
}

template <int L>
struct Forward {
  static void run(const Pass& p) { by_activation<Normalise, L>(p); }
};

template <int L>
struct Backward {
  static void run(const Pass& p) { by_activation<Back, L>(p); }
};

using Maybe = std::optional<at::Tensor>;

const float* pointer(const Maybe& tensor) {
  return tensor.has_value() && tensor->defined() ? tensor->const_data_ptr<float>() : nullptr;
}

at::Tensor activate(const at::Tensor& z, int64_t activation) {
  if (activation == kReLU) return at::relu(z);
  if (activation == kReLU6) return at::hardtanh(z, 0, 6);
  if (activation == kHardswish) return at::hardswish(z);
  return z;
}

// Moves running statistics towards those of a minibatch, whose variance is made unbiased.
void update(const Maybe& running, const at::Tensor& found, double momentum, double factor) {
  if (pointer(running) == nullptr) return;
  float* to = running->mutable_data_ptr<float>();
  const float* from = found.const_data_ptr<float>();
  for (int64_t c = 0; c < found.numel(); ++c)
    to[c] = static_cast<float>((1 - momentum) * to[c] + momentum * (factor * from[c]));
}

// The maps, and the means and inverse deviations of the minibatch.
std::tuple<at::Tensor, at::Tensor, at::Tensor> normalise(const at::Tensor& x, const Maybe& weight,
                                                         const Maybe& bias,
                                                         const Maybe& running_mean,
                                                         const Maybe& running_variance,
                                                         double momentum, double eps,
                                                         int64_t activation) {
  const auto maps = x.contiguous(at::MemoryFormat::ChannelsLast);
  auto out = at::empty_like(maps);
  const int64_t channels = x.size(1), rows = x.numel() / channels;
  auto mean = at::empty({channels}, x.options()), variance = at::empty_like(mean);
  auto inverse = at::empty_like(mean);
  Pass pass{};
  pass.x = maps.const_data_ptr<float>();
  pass.weight = pointer(weight);
  pass.bias = pointer(bias);
  pass.out = out.mutable_data_ptr<float>();
  pass.out_mean = mean.mutable_data_ptr<float>();
  pass.out_variance = variance.mutable_data_ptr<float>();
  pass.out_inverse = inverse.mutable_data_ptr<float>();
  pass.rows = rows;
  pass.channels = channels;
  pass.activation = activation;
  pass.eps = eps;
  by_lanes<Forward>(channels, pass);
  update(running_mean, mean, momentum, 1);
  update(running_variance, variance, momentum, static_cast<double>(rows) / (rows - 1));
  return {out, mean, inverse};
}

struct BatchNormAct : public torch::autograd::Function<BatchNormAct> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const Maybe& weight, const Maybe& bias, const Maybe& running_mean,
                            const Maybe& running_variance, double momentum, double eps,
                            int64_t activation) {
    auto [out, mean, inverse] = normalise(x, weight, bias, running_mean, running_variance,
                                          momentum, eps, activation);
    context->save_for_backward({x, weight.value_or(at::Tensor()), bias.value_or(at::Tensor()),
                                mean, inverse});
    context->saved_data["eps"] = eps;
    context->saved_data["activation"] = activation;
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    const double eps = context->saved_data["eps"].toDouble();
    const int64_t activation = context->saved_data["activation"].toInt();
    at::Tensor of_x, of_weight, of_bias;
    if (at::GradMode::is_enabled()) {  // to be differentiated again
      const auto out =
          activate(at::batch_norm(x, weight, bias, {}, {}, true, 0, eps, false), activation);
      torch::autograd::variable_list inputs;
      for (const auto* each : {&x, &weight, &bias})
        if (each->defined() && each->requires_grad()) inputs.push_back(*each);
      const auto found = torch::autograd::grad({out}, inputs, gradients, true, true, true);
      size_t next = 0;
      if (x.requires_grad()) of_x = found[next++];
      if (weight.defined() && weight.requires_grad()) of_weight = found[next++];
      if (bias.defined() && bias.requires_grad()) of_bias = found[next++];
    } else {
      const auto maps = x.contiguous(at::MemoryFormat::ChannelsLast);
      const auto gradient = gradients[0].contiguous(at::MemoryFormat::ChannelsLast);
      of_x = at::empty_like(maps);
      auto weights = at::empty_like(saved[3]), biases = at::empty_like(saved[3]);
      Pass pass{};
      pass.x = maps.const_data_ptr<float>();
      pass.gradient = gradient.const_data_ptr<float>();
      pass.weight = pointer(weight);
      pass.bias = pointer(bias);
      pass.mean = saved[3].const_data_ptr<float>();
      pass.inverse = saved[4].const_data_ptr<float>();
      pass.out = of_x.mutable_data_ptr<float>();
      pass.of_weight = weights.mutable_data_ptr<float>();
      pass.of_bias = biases.mutable_data_ptr<float>();
      pass.channels = x.size(1);
      pass.rows = x.numel() / x.size(1);
      pass.activation = activation;
      by_lanes<Backward>(pass.channels, pass);
      if (weight.defined()) of_weight = weights;
      if (bias.defined()) of_bias = biases;
    }
    return {of_x, of_weight, of_bias, {}, {}, {}, {}, {}};
  }
};

at::Tensor batch_norm_act(const at::Tensor& x, const Maybe& weight, const Maybe& bias,
                          const Maybe& running_mean, const Maybe& running_variance,
                          double momentum, double eps, int64_t activation) {
  return std::get<0>(normalise(x, weight, bias, running_mean, running_variance, momentum, eps,
                               activation));
}

at::Tensor batch_norm_act_with_gradient(const at::Tensor& x, const Maybe& weight,
                                        const Maybe& bias, const Maybe& running_mean,
                                        const Maybe& running_variance, double momentum,
                                        double eps, int64_t activation) {
  return BatchNormAct::apply(x, weight, bias, running_mean, running_variance, momentum, eps,
                             activation);
}

}  // namespace
}  // namespace paceline

TORCH_LIBRARY_FRAGMENT(paceline, m) {
  m.def(
      "batch_norm_act(Tensor x, Tensor? weight, Tensor? bias, Tensor(a!)? running_mean, "
      "Tensor(b!)? running_variance, float momentum, float eps, int activation) -> Tensor");
}

TORCH_LIBRARY_IMPL(paceline, CPU, m) { m.impl("batch_norm_act", &paceline::batch_norm_act); }

TORCH_LIBRARY_IMPL(paceline, AutogradCPU, m) {
  m.impl("batch_norm_act", &paceline::batch_norm_act_with_gradient);
}
