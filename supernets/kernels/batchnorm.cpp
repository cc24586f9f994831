// BatchNorm of train mode with the activation after it, of maps in channels_last, on a CPU.
//
// Maps are rows of C channels in memory. Sums are taken in float over tiles of rows, of differences
// to the first row, and in double over the tiles; chunks of tiles do not depend on the number of
// threads, so the result does not either. The backward pass computes the normalised maps again, so
// that neither they nor the activation's input are kept. Maps are float32 or bfloat16, and all else
// is float32.
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

// What a pass over maps of T needs.
template <class T>
struct Pass {
  const T *x, *gradient;
  T* out;
  const float *weight, *bias, *mean, *inverse;
  float *out_mean, *out_variance, *out_inverse, *of_weight, *of_bias;
  int64_t rows, channels, activation;
  double eps;
};

// Rows in chunks, these in tiles, whose sums are of floats, and these in stripes of a KiB: the
// blocks of channels of a stripe come one after the other, so that memory is read in its order.
struct Tiles {
  int64_t rows, channels, tile, stripe, chunks;

  template <class T>
  explicit Tiles(const Pass<T>& p)
      : rows(p.rows),
        channels(p.channels),
        tile(std::max<int64_t>(8, 16384 / channels / 4 * 4)),
        stripe(std::max<int64_t>(4, 1024 / static_cast<int64_t>(sizeof(T)) / channels / 4 * 4)),
        chunks(std::min<int64_t>(kChunks, std::max<int64_t>(1, rows / tile))) {}

  // Calls run(chunk, first row, row after the last) for every chunk, in parallel.
  template <class Run>
  void each_chunk(const Run& run) const {
    at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t chunk = begin; chunk < end; ++chunk)
        run(chunk, chunk * rows / chunks, (chunk + 1) * rows / chunks);
    });
  }

  // Calls run(block, channel, first row, row after the last) for the stripes of some rows.
  template <int L, class Run>
  void each_stripe(int64_t from, int64_t to, const Run& run) const {
    const int64_t blocks = (channels + L - 1) / L;
    for (; from < to; from += stripe)
      for (int64_t block = 0; block < blocks; ++block)
        run(block, block_start(block, L, channels), from, std::min(to, from + stripe));
  }
};

// Two sums of each channel, in double over tiles and chunks.
class Sums {
 public:
  // Sums what at(channel)(row) returns of a block of channels: a pair of vectors.
  template <int L, class At>
  static Sums of(const Tiles& tiles, const At& at) {
    Sums sums(tiles);
    const int64_t blocks = (tiles.channels + L - 1) / L;
    tiles.each_chunk([&](int64_t chunk, int64_t from, int64_t to) {
      std::vector<float> found(blocks * L * 2);
      for (; from < to; from += tiles.tile) {
        std::fill(found.begin(), found.end(), 0.f);
        tiles.each_stripe<L>(
            from, std::min(to, from + tiles.tile),
            [&](int64_t block, int64_t channel, int64_t m, int64_t end) {
              const auto row = at(channel);
              Vector<L> first[4] = {}, second[4] = {};
              for (; m + 4 <= end; m += 4)
#pragma GCC unroll 4
                for (int i = 0; i < 4; ++i) {
                  const auto [one, two] = row(m + i);
                  first[i] += one;
                  second[i] += two;
                }
              for (; m < end; ++m) {
                const auto [one, two] = row(m);
                first[0] += one;
                second[0] += two;
              }
              float* own = found.data() + block * L * 2;
              store<L>(own, load<L>(own) + (first[0] + first[1]) + (first[2] + first[3]));
              store<L>(own + L, load<L>(own + L) + (second[0] + second[1]) +
                                    (second[2] + second[3]));
            });
        for (int64_t block = 0; block < blocks; ++block)
          sums.add<L>(chunk, block, found.data() + block * L * 2);
      }
    });
    return sums;
  }

  std::pair<double, double> of_channel(int64_t channel) const {
    double first = 0, second = 0;
    for (int64_t chunk = 0; chunk < chunks_; ++chunk) {
      first += sums_[(chunk * channels_ + channel) * 2];
      second += sums_[(chunk * channels_ + channel) * 2 + 1];
    }
    return {first, second};
  }

 private:
  explicit Sums(const Tiles& tiles)
      : channels_(tiles.channels), chunks_(tiles.chunks), sums_(chunks_ * channels_ * 2) {}

  // Adds what a tile has of a block, but for channels of the block before.
  template <int L>
  void add(int64_t chunk, int64_t block, const float* found) {
    const int64_t channel = block_start(block, L, channels_);
    double* own = sums_.data() + (chunk * channels_ + channel) * 2;
    for (int64_t lane = block * L - channel; lane < L; ++lane) {
      own[lane * 2] += found[lane];
      own[lane * 2 + 1] += found[L + lane];
    }
  }

  int64_t channels_, chunks_;
  std::vector<double> sums_;
};

template <int L, int A>
struct Normalise {
  template <class T>
  static void run(const Pass<T>& p) {
    const int64_t channels = p.channels;
    const T* x = p.x;
    const Tiles tiles(p);
    const auto sums = Sums::of<L>(tiles, [&](int64_t c) {
      const Vector<L> shift = load<L>(x + c);  // the first row, so that squares stay small
      return [x = x + c, channels, shift](int64_t m) {
        const Vector<L> v = load<L>(x + m * channels) - shift;
        return std::pair<Vector<L>, Vector<L>>(v, v * v);
      };
    });
    std::vector<float> scale(channels), offset(channels);
    for (int64_t c = 0; c < channels; ++c) {
      const auto [sum, squares] = sums.of_channel(c);
      const double off = sum / p.rows, variance = std::max(0.0, squares / p.rows - off * off);
      const double inverse = 1.0 / std::sqrt(variance + p.eps), w = p.weight ? p.weight[c] : 1.0;
      const double mean = static_cast<float>(x[c]) + off;
      p.out_mean[c] = static_cast<float>(mean);
      p.out_variance[c] = static_cast<float>(variance);
      p.out_inverse[c] = static_cast<float>(inverse);
      scale[c] = static_cast<float>(w * inverse);
      offset[c] = static_cast<float>((p.bias ? p.bias[c] : 0.0) - mean * w * inverse);
    }
    tiles.each_chunk([&](int64_t, int64_t from, int64_t to) {
      tiles.each_stripe<L>(from, to, [&](int64_t, int64_t c, int64_t m, int64_t end) {
        const Vector<L> a = load<L>(scale.data() + c), b = load<L>(offset.data() + c);
        for (; m < end; ++m)
          store<L>(p.out + m * channels + c,
                   activated<L, A>(load<L>(x + m * channels + c) * a + b));
      });
    });
  }
};

// What is known of a block of channels on the way back.
template <class T, int L, int A>
struct Block {
  const T *x, *gradient;
  int64_t channels;
  Vector<L> mean, inverse, weight, bias;

  Block(const Pass<T>& p, int64_t c)
      : x(p.x + c),
        gradient(p.gradient + c),
        channels(p.channels),
        mean(load<L>(p.mean + c)),
        inverse(load<L>(p.inverse + c)),
        weight(p.weight ? load<L>(p.weight + c) : Vector<L>{} + 1.f),
        bias(p.bias ? load<L>(p.bias + c) : Vector<L>{}) {}

  // The gradient before the activation, and the normalised map.
  std::pair<Vector<L>, Vector<L>> operator()(int64_t row) const {
    const Vector<L> h = (load<L>(x + row * channels) - mean) * inverse;
    return {through_activation<L, A>(h * weight + bias, load<L>(gradient + row * channels)), h};
  }
};

template <int L, int A>
struct Back {
  template <class T>
  static void run(const Pass<T>& p) {
    const int64_t channels = p.channels;
    const Tiles tiles(p);
    const auto sums = Sums::of<L>(tiles, [&](int64_t c) {
      return [block = Block<T, L, A>(p, c)](int64_t row) {
        const auto [g, h] = block(row);
        return std::pair<Vector<L>, Vector<L>>(g, g * h);
      };
    });
    std::vector<float> mean_g(channels), mean_gh(channels);
    for (int64_t c = 0; c < channels; ++c) {
      const auto [sum, product] = sums.of_channel(c);
      p.of_bias[c] = static_cast<float>(sum);
      p.of_weight[c] = static_cast<float>(product);
      mean_g[c] = static_cast<float>(sum / p.rows);
      mean_gh[c] = static_cast<float>(product / p.rows);
    }
    tiles.each_chunk([&](int64_t, int64_t from, int64_t to) {
      tiles.each_stripe<L>(from, to, [&](int64_t, int64_t c, int64_t m, int64_t end) {
        const Block<T, L, A> block(p, c);
        const Vector<L> sg = load<L>(mean_g.data() + c), sq = load<L>(mean_gh.data() + c);
        const Vector<L> scale = block.weight * block.inverse;
        for (; m < end; ++m) {
          const auto [g, h] = block(m);
          store<L>(p.out + m * channels + c, scale * (g - sg - h * sq));
        }
      });
    });
  }
};

template <template <int, int> class Run, int L, class T>
void by_activation(const Pass<T>& p) {
  if (p.activation == kReLU) return Run<L, kReLU>::run(p);
  if (p.activation == kReLU6) return Run<L, kReLU6>::run(p);
  if (p.activation == kHardswish) return Run<L, kHardswish>::run(p);
  return Run<L, kNone>::run(p);
}

template <int L>
struct Forward {
  template <class T>
  static void run(const Pass<T>& p) {
    by_activation<Normalise, L>(p);
  }
};

template <int L>
struct Backward {
  template <class T>
  static void run(const Pass<T>& p) {
    by_activation<Back, L>(p);
  }
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

// Means, variances and inverse deviations of a minibatch.
struct Statistics {
  at::Tensor mean, variance, inverse;

  explicit Statistics(const at::Tensor& x)
      : mean(at::empty({x.size(1)}, x.options().dtype(at::kFloat))),
        variance(at::empty_like(mean)),
        inverse(at::empty_like(mean)) {}
};

template <class T>
Pass<T> pass_over(const at::Tensor& maps, const Maybe& weight, const Maybe& bias, at::Tensor& out,
                  int64_t activation) {
  Pass<T> pass{};
  pass.x = maps.const_data_ptr<T>();
  pass.out = out.mutable_data_ptr<T>();
  pass.weight = pointer(weight);
  pass.bias = pointer(bias);
  pass.channels = maps.size(1);
  pass.rows = maps.numel() / maps.size(1);
  pass.activation = activation;
  return pass;
}

template <class T>
void forward_pass(const at::Tensor& maps, const Maybe& weight, const Maybe& bias, at::Tensor& out,
                  Statistics& found, double eps, int64_t activation) {
  auto pass = pass_over<T>(maps, weight, bias, out, activation);
  pass.out_mean = found.mean.mutable_data_ptr<float>();
  pass.out_variance = found.variance.mutable_data_ptr<float>();
  pass.out_inverse = found.inverse.mutable_data_ptr<float>();
  pass.eps = eps;
  by_lanes<Forward>(pass.channels, pass);
}

template <class T>
void backward_pass(const at::Tensor& maps, const Maybe& weight, const Maybe& bias, at::Tensor& of_x,
                   const at::Tensor& gradient, const at::Tensor& mean, const at::Tensor& inverse,
                   at::Tensor& of_weight, at::Tensor& of_bias, int64_t activation) {
  auto pass = pass_over<T>(maps, weight, bias, of_x, activation);
  pass.gradient = gradient.const_data_ptr<T>();
  pass.mean = mean.const_data_ptr<float>();
  pass.inverse = inverse.const_data_ptr<float>();
  pass.of_weight = of_weight.mutable_data_ptr<float>();
  pass.of_bias = of_bias.mutable_data_ptr<float>();
  by_lanes<Backward>(pass.channels, pass);
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
  Statistics found(x);
  by_type(x, [&](auto zero) {
    forward_pass<decltype(zero)>(maps, weight, bias, out, found, eps, activation);
  });
  const double rows = static_cast<double>(x.numel() / x.size(1));
  update(running_mean, found.mean, momentum, 1);
  update(running_variance, found.variance, momentum, rows / (rows - 1));
  return {out, found.mean, found.inverse};
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
      const auto floats = x.to(at::kFloat);  // of bfloat16, its statistics would be bfloat16
      const auto out = activate(at::batch_norm(floats, weight, bias, {}, {}, true, 0, eps, false),
                                activation)
                           .to(x.scalar_type());
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
      by_type(x, [&](auto zero) {
        backward_pass<decltype(zero)>(maps, weight, bias, of_x, gradient, saved[3], saved[4],
                                      weights, biases, activation);
      });
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
