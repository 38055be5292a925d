#include "train/world/world_captions.h"
#include "train/world/world_tables.h"

namespace glmimage::train::world {
namespace {

constexpr size_t kCharacter = 3;  // bytes of a Chinese character in UTF-8

std::string colour_of(int64_t colour) { return colour_table().at(colour).chinese; }

// With its measure word: 只猫, 个红色的圆形.
std::string measured(const Object& object) {
  if (object.kind == ObjectKind::emoji) return emoji_table().at(object.index).chinese;
  return "个" + colour_of(object.colour) + "的" + shape_table().at(object.index).chinese;
}

const char* place_words(Arrangement arrangement) {
  switch (arrangement) {
    case Arrangement::left: return "左边";
    case Arrangement::right: return "右边";
    case Arrangement::top: return "上方";
    case Arrangement::bottom: return "下方";
    case Arrangement::top_left: return "左上角";
    case Arrangement::top_right: return "右上角";
    case Arrangement::bottom_left: return "左下角";
    case Arrangement::bottom_right: return "右下角";
    default: return "上";
  }
}

const char* relation_words(Arrangement arrangement) {
  switch (arrangement) {
    case Arrangement::left_of: return "左边";
    case Arrangement::right_of: return "右边";
    case Arrangement::above: return "上面";
    case Arrangement::below: return "下面";
    default: return "";
  }
}

std::string objects_of(const Scene& scene, ChineseNumber number) {
  const std::string first = measured(scene.objects[0]);
  switch (scene.arrangement) {
    case Arrangement::row: return "上的两" + first;
    case Arrangement::triangle: return "上的三" + first;
    case Arrangement::left_of:
    case Arrangement::right_of:
    case Arrangement::above:
    case Arrangement::below:
      return "上，一" + first + "在一" + measured(scene.objects[1]) + "的" + relation_words(scene.arrangement);
    default: break;
  }
  const std::string place = std::string(place_words(scene.arrangement)) + "的";
  return place + (number == ChineseNumber::said ? "一" + first : first.substr(kCharacter));
}

}  // namespace

std::string say_in_chinese(const Scene& scene, ChineseNumber number) {
  const std::string background = colour_of(scene.background) + "背景", text = "\"" + scene.text + "\"";
  if (scene.objects.empty()) return background + "上的文字" + text;
  const std::string caption = background + objects_of(scene, number);
  if (scene.text.empty()) return caption;
  return caption + (scene.text_place == TextPlace::top ? "，上方写着" : "，写着") + text;
}

std::string chinese_caption(const Scene& scene) { return say_in_chinese(scene, ChineseNumber::said); }

}  // namespace glmimage::train::world
