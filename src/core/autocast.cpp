#include "core/autocast.h"

#include <ATen/autocast_mode.h>

namespace glmimage {
namespace {

void put(at::DeviceType type, const std::optional<at::ScalarType>& dtype) {
  if (dtype) at::autocast::set_autocast_dtype(type, *dtype);
  at::autocast::set_autocast_enabled(type, dtype.has_value());
}

}  // namespace

std::optional<at::ScalarType> Autocast::current(at::Device device) {
  if (!at::autocast::is_autocast_enabled(device.type())) return std::nullopt;
  return at::autocast::get_autocast_dtype(device.type());
}

Autocast::Autocast(at::Device device, std::optional<at::ScalarType> dtype, WeightCopies copies)
    : type_(device.type()), before_(current(device)), copies_before_(at::autocast::is_autocast_cache_enabled()) {
  at::autocast::increment_nesting();
  put(type_, dtype);
  if (copies == WeightCopies::drop) at::autocast::set_autocast_cache_enabled(false);
}

Autocast::~Autocast() {
  put(type_, before_);
  at::autocast::set_autocast_cache_enabled(copies_before_);
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
}

}  // namespace glmimage
