// Average pools of float32 or bfloat16 maps in channels_last, on a CPU. Padding does not count.
//
// The mean of a window is a mean over its columns of means over its rows, so a pass goes along one
// axis after the other: a row of the output's height is summed first, and then its windows. The
// backward pass does the same with the roles of inputs and outputs exchanged.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/avg_pool2d_backward.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "vectors.h"

namespace paceline {
namespace {

struct Window {
  int64_t size, stride, padding;

  int64_t outputs(int64_t inputs) const { return (inputs + 2 * padding - size) / stride + 1; }
};

// Which numbers along an axis make each number of the result, and what both are multiplied by.
struct Axis {
  std::vector<int64_t> from, to;
  std::vector<float> of_source, of_result;
};

Axis forward_axis(int64_t inputs, const Window& w) {
  Axis axis;
  for (int64_t out = 0; out < w.outputs(inputs); ++out) {
    const int64_t start = out * w.stride - w.padding;
    axis.from.push_back(std::max<int64_t>(0, start));
    axis.to.push_back(std::min(inputs, start + w.size));
    axis.of_result.push_back(1.f / static_cast<float>(axis.to.back() - axis.from.back()));
  }
  axis.of_source.assign(inputs, 1.f);
  return axis;
}

Axis backward_axis(int64_t inputs, const Window& w) {
  const Axis forward = forward_axis(inputs, w);
  const int64_t outputs = static_cast<int64_t>(forward.from.size());
  Axis axis;
  for (int64_t in = 0; in < inputs; ++in) {
    int64_t first = 0, last = 0;  // outputs whose window has this input
    while (first < outputs && forward.to[first] <= in) ++first;
    for (last = first; last < outputs && forward.from[last] <= in;) ++last;
    axis.from.push_back(first);
    axis.to.push_back(last);
  }
  axis.of_source = forward.of_result;
  axis.of_result.assign(inputs, 1.f);
  return axis;
}

template <int L>
struct Pool {
  // Pools maps (num, source height, source width, channels).
  template <class T>
  static void run(const T* in, T* out, int64_t num, int64_t channels, const Axis& rows,
                  const Axis& columns) {
    const int64_t height = rows.from.size(), width = columns.from.size();
    const int64_t source_height = rows.of_source.size();
    const int64_t row_size = columns.of_source.size() * channels;
    const int64_t steps = (row_size + L - 1) / L, blocks = (channels + L - 1) / L;
    at::parallel_for(0, num * height, 4, [&](int64_t begin, int64_t end) {
      std::vector<float> row(row_size);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t oh = i % height;
        const T* image = in + (i / height) * source_height * row_size;
        for (int64_t step = 0; step < steps; ++step) {
          const int64_t at = block_start(step, L, row_size);
          Vector<L> sum = {};
          for (int64_t r = rows.from[oh]; r < rows.to[oh]; ++r)
            sum += load<L>(image + r * row_size + at) * rows.of_source[r];
          store<L>(row.data() + at, sum);
        }
        for (int64_t ow = 0; ow < width; ++ow) {
          const float scale = rows.of_result[oh] * columns.of_result[ow];
          T* to = out + (i * width + ow) * channels;
          for (int64_t block = 0; block < blocks; ++block) {
            const int64_t c = block_start(block, L, channels);
            Vector<L> sum = {};
            for (int64_t w = columns.from[ow]; w < columns.to[ow]; ++w)
              sum += load<L>(row.data() + w * channels + c) * columns.of_source[w];
            store<L>(to + c, sum * scale);
          }
        }
      }
    });
  }
};

at::Tensor pooled(const at::Tensor& source, int64_t height, int64_t width, const Axis& rows,
                  const Axis& columns) {
  const auto maps = source.contiguous(at::MemoryFormat::ChannelsLast);
  auto out = at::empty({maps.size(0), maps.size(1), height, width},
                       maps.options().memory_format(at::MemoryFormat::ChannelsLast));
  by_type(maps, [&](auto zero) {
    using T = decltype(zero);
    by_lanes<Pool>(maps.size(1), maps.const_data_ptr<T>(), out.mutable_data_ptr<T>(),
                   maps.size(0), maps.size(1), rows, columns);
  });
  return out;
}

at::Tensor average_pool(const at::Tensor& x, int64_t size, int64_t stride, int64_t padding) {
  const Window w{size, stride, padding};
  return pooled(x, w.outputs(x.size(2)), w.outputs(x.size(3)), forward_axis(x.size(2), w),
                forward_axis(x.size(3), w));
}

struct AveragePool : public torch::autograd::Function<AveragePool> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            int64_t size, int64_t stride, int64_t padding) {
    context->saved_data["x"] = x.sizes().vec();
    context->saved_data["window"] = std::vector<int64_t>{size, stride, padding};
    return average_pool(x, size, stride, padding);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto sizes = context->saved_data["x"].toIntVector();
    const auto window = context->saved_data["window"].toIntVector();
    const Window w{window[0], window[1], window[2]};
    if (at::GradMode::is_enabled()) {  // to be differentiated again
      const auto like = at::empty(sizes, gradients[0].options().memory_format(
                                             at::MemoryFormat::ChannelsLast));
      return {at::avg_pool2d_backward(gradients[0], like, {w.size, w.size}, {w.stride, w.stride},
                                      {w.padding, w.padding}, false, false, std::nullopt),
              {}, {}, {}};
    }
    return {pooled(gradients[0], sizes[2], sizes[3], backward_axis(sizes[2], w),
                   backward_axis(sizes[3], w)),
            {}, {}, {}};
  }
};

at::Tensor average_pool_with_gradient(const at::Tensor& x, int64_t size, int64_t stride,
                                      int64_t padding) {
  return AveragePool::apply(x, size, stride, padding);
}

}  // namespace
}  // namespace paceline

TORCH_LIBRARY_FRAGMENT(paceline, m) {
  m.def("average_pool(Tensor x, int size, int stride, int padding) -> Tensor");
}

TORCH_LIBRARY_IMPL(paceline, CPU, m) { m.impl("average_pool", &paceline::average_pool); }

TORCH_LIBRARY_IMPL(paceline, AutogradCPU, m) {
  m.impl("average_pool", &paceline::average_pool_with_gradient);
}
