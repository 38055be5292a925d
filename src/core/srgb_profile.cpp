#include "core/srgb_profile.h"

#include <lcms2.h>

#include <algorithm>
#include <memory>

#include "core/error.h"

namespace glmimage {
namespace {

std::vector<uint8_t> make_profile() {
  using Profile = std::unique_ptr<void, decltype(&cmsCloseProfile)>;
  const Profile profile(cmsCreate_sRGBProfile(), cmsCloseProfile);
  cmsUInt32Number size = 0;
  if (!profile || !cmsSaveProfileToMem(profile.get(), nullptr, &size)) fail(ErrorKind::internal, "no sRGB profile");
  std::vector<uint8_t> bytes(size);
  if (!cmsSaveProfileToMem(profile.get(), bytes.data(), &size)) fail(ErrorKind::internal, "no sRGB profile");
  // The profile's date is the present moment; with one that stays, the same picture is the same file.
  constexpr uint8_t kDate[] = {0x07, 0xE9, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0};  // 2025-01-01
  constexpr size_t kDateAt = 24;
  std::copy(std::begin(kDate), std::end(kDate), bytes.begin() + kDateAt);
  return bytes;
}

}  // namespace

const std::vector<uint8_t>& srgb_profile() {
  static const std::vector<uint8_t> profile = make_profile();
  return profile;
}

}  // namespace glmimage
