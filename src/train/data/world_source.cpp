#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "core/error.h"
#include "train/data/source.h"
#include "train/random.h"
#include "train/world/world.h"

namespace glmimage::train {
namespace {

// Raise it when scenes are painted or labelled otherwise than before: what is cached of them is made anew.
constexpr int kWorldVersion = 2;

class WorldSource : public Source {
 public:
  WorldSource(world::World world, int64_t count, uint64_t seed) : world_(std::move(world)), seed_(seed) {
    for (int64_t i = 0; i < count; ++i) {
      Record record;
      // There are no bytes: the offset is the scene's number, and the scene is drawn again when it is painted.
      record.target = {
          "synthetic:" + std::to_string(i), {nullptr, static_cast<uint64_t>(i), 0}, {world_.size(), world_.size()}};
      record.captions = {scene(record.target).caption};
      records_.push_back(std::move(record));
    }
  }
  const std::vector<Record>& records() const override { return records_; }
  Image read(const Picture& picture) const override { return world_.render(scene(picture)); }
  std::string identity(const Picture& picture) const override {
    // The caption as well: it shows most changes of the world of which kWorldVersion was not told.
    return concat("world ", kWorldVersion, " ", world_.size(), " ", static_cast<int>(world_.languages()), " ",
                  world_.words(), " ", seed_, " ", picture.bytes.offset, " ",
                  records_[picture.bytes.offset].captions[0]);
  }
  std::optional<CellLabels> label_cells(const Picture& picture, Grid grid) const override;

 private:
  world::Scene scene(const Picture& picture) const {
    std::mt19937_64 random(derive_seed(seed_, Stream::data, picture.bytes.offset));
    return world_.sample(random);
  }

  world::World world_;
  uint64_t seed_;
  std::vector<Record> records_;
};

std::optional<CellLabels> WorldSource::label_cells(const Picture& picture, Grid grid) const {
  if (grid.height != grid.width || world_.size() % grid.height != 0) return std::nullopt;
  const world::Scene scene = this->scene(picture);
  const double cell = static_cast<double>(world_.size()) / static_cast<double>(grid.height);  // pixels
  CellLabels labels;
  labels.shown = world_.cell_labels(scene, grid.height);
  for (size_t i = 0; i < labels.shown.size(); ++i) {
    const double row = static_cast<double>(static_cast<int64_t>(i) / grid.width) + 0.5;
    const double column = static_cast<double>(static_cast<int64_t>(i) % grid.width) + 0.5;
    int64_t part = kNothing;
    double nearest = 2 * static_cast<double>(grid.height);
    for (const world::Object& object : scene.objects) {
      if (world::class_of(object) != labels.shown[i]) continue;
      const double down = row - static_cast<double>(object.centre_y) / cell;
      const double right = column - static_cast<double>(object.centre_x) / cell;
      const double distance = std::max(std::abs(down), std::abs(right));
      if (distance >= nearest) continue;  // of several equal objects the cell belongs to the nearest
      nearest = distance;
      part = part_of(down, right);
    }
    labels.parts.push_back(part);
    labels.backgrounds.push_back(labels.shown[i] == 0 ? scene.background : kNothing);
  }
  return labels;
}

}  // namespace

std::unique_ptr<Source> open_world_source(int64_t count, uint64_t seed, const world::WorldOptions& options) {
  return std::make_unique<WorldSource>(world::World::open(options), count, seed);
}

}  // namespace glmimage::train
