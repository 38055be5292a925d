#pragma once

#include <cstdint>
#include <map>

namespace glmimage::hub {

// [begin, end) in bytes.
struct ByteRange {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
  bool operator==(const ByteRange&) const = default;
};

// A set of bytes: disjoint ranges that do not touch, in order.
class ByteRanges {
 public:
  void add(ByteRange range);  // empty ones add nothing
  int64_t count() const;      // bytes in the set
  // The first bytes from 0 to `size` that are not in the set, at most `most` of them; empty: all are.
  ByteRange first_gap(int64_t size, int64_t most) const;
  const std::map<int64_t, int64_t>& ranges() const { return ranges_; }  // begin -> end

 private:
  std::map<int64_t, int64_t> ranges_;
};

}  // namespace glmimage::hub
