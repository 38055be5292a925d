#include <utility>

#include "train/data/source.h"
#include "train/data/world_batches.h"
#include "train/world/world.h"

namespace glmimage::train {
namespace {

// Apart from the scenes of the stages' own batches, which count from zero.
constexpr int64_t kFirstScene = int64_t{1} << 41;

class WorldSource : public Source {
 public:
  WorldSource(world::World world, int64_t count, uint64_t seed) : world_(std::move(world)), seed_(seed) {
    for (int64_t i = 0; i < count; ++i) {
      Record record;
      // There are no bytes: the offset is the scene's number, and the scene is drawn again when it is painted.
      record.target = {
          "synthetic:" + std::to_string(i), {nullptr, static_cast<uint64_t>(i), 0}, {world_.size(), world_.size()}};
      record.captions = {scene(i).caption};
      records_.push_back(std::move(record));
    }
  }
  const std::vector<Record>& records() const override { return records_; }
  Image read(const Picture& picture) const override {
    return world_.render(scene(static_cast<int64_t>(picture.bytes.offset)));
  }

 private:
  world::Scene scene(int64_t i) const { return sample_scenes(world_, seed_, Stream::data, kFirstScene + i, 1)[0]; }

  world::World world_;
  uint64_t seed_;
  std::vector<Record> records_;
};

}  // namespace

std::unique_ptr<Source> open_world_source(int64_t count, int64_t size, uint64_t seed) {
  return std::make_unique<WorldSource>(world::World::open({.size = size}), count, seed);
}

}  // namespace glmimage::train
