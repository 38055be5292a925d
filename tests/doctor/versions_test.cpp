#include "doctor/versions.h"

#include <gtest/gtest.h>

namespace glmimage::doctor {
namespace {

Version of(const std::string& text) {
  const auto version = Version::parse(text);
  EXPECT_TRUE(version) << text;
  return version.value_or(*Version::parse("0"));
}

TEST(Version, OrderIsByPartsAndCandidatesComeFirst) {
  const std::vector<std::string> ascending = {
      "7.5.0.1.129",  "8.0.RC3", "8.0.0",    "8.3.alpha1", "8.3.RC1", "8.3.RC2",   "8.3",       "9.1.0",
      "9.2.0-beta.2", "9.2.0",   "25.0.rc1", "25.0.rc1.1", "25.0.0",  "525.60.13", "580.65.06", "580.159.04"};
  for (size_t i = 0; i + 1 < ascending.size(); ++i) {
    EXPECT_LT(of(ascending[i]), of(ascending[i + 1])) << ascending[i] << " " << ascending[i + 1];
  }
  EXPECT_EQ(of("8.3"), of("8.3.0"));
  EXPECT_EQ(of("8.3.RC1"), of("8.3.rc1"));
  EXPECT_EQ(of("2.11.0+cpu"), of("2.11.0")) << "a build's suffix is no part of the order";
}

TEST(Version, NoVersionsAreNone) {
  for (const char* text : {"", "unknown", ".", "rc1", "99999999999999999999.1"}) {
    EXPECT_FALSE(Version::parse(text)) << text;
  }
}

TEST(Pairing, CudaAndDriver) {
  EXPECT_EQ(oldest_nvidia_driver("13.0"), "580.65.06");
  EXPECT_EQ(oldest_nvidia_driver("12.8"), "525.60.13");
  EXPECT_FALSE(oldest_nvidia_driver("99.0"));
  EXPECT_FALSE(oldest_nvidia_driver("none"));
}

TEST(Pairing, CannAndDriver) {
  EXPECT_EQ(cann_with_driver("9.1.0", "26.1.0"), Pair::published);
  EXPECT_EQ(cann_with_driver("9.1.0", "25.2.3"), Pair::published);
  EXPECT_EQ(cann_with_driver("9.1.1", "25.0.rc1.1"), Pair::refused);
  EXPECT_EQ(cann_with_driver("9.0.0", "25.0.rc1.1"), Pair::published);
  EXPECT_EQ(cann_with_driver("9.2.0", "25.2.0"), Pair::refused);
  EXPECT_EQ(cann_with_driver("9.2.0", "25.3.rc1"), Pair::published);
  EXPECT_EQ(cann_with_driver("8.5.0", "24.1.rc3"), Pair::refused);
  EXPECT_EQ(cann_with_driver("9.1.0", "31.0.0"), Pair::unknown);
  EXPECT_EQ(cann_with_driver("8.0.0", "24.1.0"), Pair::unknown);
  EXPECT_EQ(cann_with_driver("?", "24.1.0"), Pair::unknown);
}

TEST(Pairing, CannAndLibTorch) {
  EXPECT_EQ(cann_of_libtorch("2.11.0"), "9.1.0");
  EXPECT_EQ(cann_of_libtorch("2.8.0"), "9.0.0");
  EXPECT_FALSE(cann_of_libtorch("3.0.0"));
}

TEST(Pairing, FirmwareInItsDriversRanges) {
  EXPECT_EQ(firmware_in_ranges("7.7.0.1.231", "[7.0.0,7.7.99]"), Pair::published);
  EXPECT_EQ(firmware_in_ranges("7.7.0.1.231", "[6.4.0,6.4.99],[7.0.0,7.7.99]"), Pair::published);
  EXPECT_EQ(firmware_in_ranges("8.9.9.0.1", "[7.0.0,8.9.9]"), Pair::published);
  EXPECT_EQ(firmware_in_ranges("7.8.0.1.231", "[7.0.0,7.7.99]"), Pair::refused);
  EXPECT_EQ(firmware_in_ranges("6.4.0", "[7.0.0,7.7.99]"), Pair::refused);
  for (const char* broken : {"", "7.0.0", "[7.0.0", "[7.0.0]", "[,]", "]["}) {
    EXPECT_EQ(firmware_in_ranges("7.1.0", broken), Pair::unknown) << broken;
  }
}

}  // namespace
}  // namespace glmimage::doctor
