#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// Versions and which of them the vendors say go together. Tables, with where they are published; a pair that no table
// knows is unknown, not wrong.
namespace glmimage::doctor {

// "580.65.06", "25.3.rc1", "8.3.RC1", "9.2.0-beta.2": numbers in the order of importance. What leads up to a release
// comes before it: 8.3.RC1 < 8.3.0 == 8.3.
class Version {
 public:
  // Nothing for a text that does not begin with a number, or holds one beyond 18 digits.
  static std::optional<Version> parse(const std::string& text);
  int64_t part(size_t index) const { return index < parts_.size() ? parts_[index] : 0; }
  std::strong_ordering operator<=>(const Version& other) const;
  bool operator==(const Version& other) const { return (*this <=> other) == std::strong_ordering::equal; }

 private:
  std::vector<int64_t> parts_;
};

enum class Pair { published, refused, unknown };

// The oldest Linux driver that runs programs of this CUDA's major version ("13.0" -> "580.65.06"). Source: NVIDIA, CUDA
// Toolkit Release Notes, table "CUDA Toolkit and Minimum Required Driver Version for CUDA Minor Version Compatibility".
std::optional<std::string> oldest_nvidia_driver(const std::string& cuda);

// The CANN that torch_npu was released with for this LibTorch ("2.11.0" -> "9.1.0"). Source: github.com/Ascend/pytorch,
// COMPATIBILITY.md, newest release of each.
std::optional<std::string> cann_of_libtorch(const std::string& libtorch);

// CANN and Ascend's driver (HDK). Source: CANN 8.5.0, 9.1.0, 9.1.1 and 9.2.0 release notes, "CANN and Ascend HDK
// Version Compatibility".
Pair cann_with_driver(const std::string& cann, const std::string& driver);

// Ascend's firmware and the ranges its driver's version.info names ("[7.0.0,8.9.9]", several after one another).
Pair firmware_in_ranges(const std::string& firmware, const std::string& ranges);

}  // namespace glmimage::doctor
