#include "support/goldens.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/max.h>
#include <ATen/ops/mean.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace glmimage::test {

std::filesystem::path golden(const std::string& relative) {
  return std::filesystem::path(GLM_IMAGE_SOURCE_DIR) / "tests" / "golden" / relative;
}

std::filesystem::path scratch_folder() {
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  auto folder = std::filesystem::path(GLM_IMAGE_BINARY_DIR) / "scratch" /
                (std::string(info->test_suite_name()) + "." + info->name());
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

double relative_error(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return std::numeric_limits<double>::infinity();
  if (a.numel() == 0) return 0;
  at::Tensor x = a.detach().cpu().to(at::kDouble), y = b.detach().cpu().to(at::kDouble);
  const double error = at::max(at::abs(x - y)).item<double>(), size = at::max(at::abs(y)).item<double>();
  if (std::isnan(error) || std::isnan(size)) return std::numeric_limits<double>::infinity();
  return size == 0 ? error : error / size;
}

double psnr(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return -std::numeric_limits<double>::infinity();
  at::Tensor d = a.detach().cpu().to(at::kDouble) - b.detach().cpu().to(at::kDouble);
  const double mse = at::mean(d * d).item<double>();
  return mse == 0 ? std::numeric_limits<double>::infinity() : -10 * std::log10(mse);
}

}  // namespace glmimage::test
