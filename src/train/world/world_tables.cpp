#include "train/world/world_tables.h"

namespace glmimage::train::world {

const std::vector<Colour>& colour_table() {
  static const std::vector<Colour> table = {
      {"red", {220, 35, 40}, "红色"},     {"green", {40, 165, 65}, "绿色"},   {"blue", {35, 85, 220}, "蓝色"},
      {"yellow", {250, 220, 45}, "黄色"}, {"orange", {250, 135, 25}, "橙色"}, {"purple", {125, 50, 170}, "紫色"},
      {"white", {255, 255, 255}, "白色"}, {"black", {10, 10, 10}, "黑色"},    {"pink", {250, 160, 200}, "粉色"},
      {"gray", {140, 140, 140}, "灰色"},  {"brown", {125, 75, 40}, "棕色"},   {"cyan", {70, 210, 225}, "青色"},
  };
  return table;
}

const std::vector<Shape>& shape_table() {
  static const std::vector<Shape> table = {
      {ShapeForm::circle, "circle", "圆形"},       {ShapeForm::square, "square", "正方形"},
      {ShapeForm::triangle, "triangle", "三角形"}, {ShapeForm::star, "star", "五角星"},
      {ShapeForm::diamond, "diamond", "菱形"},     {ShapeForm::heart, "heart", "心形"},
      {ShapeForm::cross, "cross", "十字"},         {ShapeForm::ring, "ring", "圆环"},
  };
  return table;
}

const std::vector<const char*>& word_table() {
  static const std::vector<const char*> table = {
      "HELLO",   "HI",       "YES",      "NO",       "STOP",     "GO",       "OPEN",    "CLOSED",  "EXIT",    "SALE",
      "CAT",     "DOG",      "LOVE",     "HAPPY",    "NEW",      "OLD",      "BIG",     "SMALL",   "HOT",     "COLD",
      "FREE",    "HOME",     "CAFE",     "BAR",      "TAXI",     "BUS",      "CAR",     "PARK",    "SHOP",    "HOTEL",
      "FOOD",    "MILK",     "TEA",      "WATER",    "FIRE",     "ICE",      "SUN",     "MOON",    "STAR",    "SKY",
      "SEA",     "TREE",     "ROSE",     "APPLE",    "LEMON",    "PIZZA",    "CAKE",    "BREAD",   "FISH",    "BIRD",
      "LION",    "BEAR",     "WOLF",     "FROG",     "RED",      "GREEN",    "BLUE",    "BLACK",   "WHITE",   "PINK",
      "ONE",     "TWO",      "THREE",    "FOUR",     "FIVE",     "SIX",      "SEVEN",   "EIGHT",   "NINE",    "TEN",
      "ZERO",    "FIRST",    "LAST",     "NEXT",     "BEST",     "GOOD",     "BAD",     "FAST",    "SLOW",    "UP",
      "DOWN",    "LEFT",     "RIGHT",    "NORTH",    "SOUTH",    "EAST",     "WEST",    "DAY",     "NIGHT",   "SPRING",
      "SUMMER",  "WINTER",   "MAY",      "JUNE",     "JULY",     "SUNDAY",   "MONDAY",  "FRIDAY",  "PLAY",    "GAME",
      "WIN",     "LOSE",     "MUSIC",    "DANCE",    "SING",     "BOOK",     "READ",    "WRITE",   "CODE",    "DATA",
      "IMAGE",   "MODEL",    "GLM",      "TEST",     "PUSH",     "PULL",     "START",   "END",     "HELP",    "INFO",
      "DANGER",  "QUIET",    "PLEASE",   "THANKS",   "SORRY",    "WOW",      "OK",      "COOL",    "FUN",     "PEACE",
      "DREAM",   "HOPE",     "LIFE",     "TIME",     "WORLD",    "EARTH",    "CITY",    "TOWN",    "ROAD",    "HOUSE",
      "DOOR",    "KEY",      "KING",     "QUEEN",    "MAGIC",    "POWER",    "ROCKET",  "ROBOT",   "SPACE",   "PLANET",
      "GOLD",    "SILVER",   "LUCKY",    "SMILE",    "SWEET",    "HEART",    "WELCOME", "AIRPORT", "STATION", "MORNING",
      "EVENING", "BIRTHDAY", "SATURDAY", "DECEMBER", "COMPUTER", "UNIVERSE", "RAINBOW", "DRAGON",  "CHICKEN", "KITCHEN",
      "LIBRARY", "HOSPITAL", "MOUNTAIN", "ISLAND",   "FLOWER",   "GARDEN",   "SCHOOL",  "TEACHER", "STUDENT", "DOCTOR",
      "FRIEND",  "FAMILY",   "PICTURE",  "SUNSHINE", "CHAMPION", "FREEDOM",  "JOURNEY", "HOLIDAY", "TICKET",  "WINDOW",
      "YELLOW",  "ORANGE",   "PURPLE",   "COOKIE",
  };
  return table;
}

const std::u32string& chinese_signs() {
  static const std::u32string table =
      U"大门小心出口入上海北京中国文你好家开关天空白云黑夜明今太阳月亮星火车汽公园学校生老师医朋友人爱红花绿叶山河水风"
      U"春"
      U"夏秋冬下雨雪东方西南左手右早晚日快乐新年米饭面包牛肉羊果苹茶书店酒银行院电话影音机飞安全停免费请进谢平地图木头"
      U"石"
      U"金鱼马黄色蓝鸟森林世界一二三四五六七八九十百千万田土子男女父母儿王本去来回走高低长短多少前后里外内光气力目耳足"
      U"正"
      U"反古玉竹衣食住用龙虎狗猫福喜吉祥和美善真道德字画刀弓舟丰收节问答";
  return table;
}

const std::vector<const char*>& chinese_word_table() {
  static const std::vector<const char*> table = {
      "大门", "小心", "出口", "入口", "上海", "北京", "中国", "中文", "你好", "大家", "开门", "关门", "开心",
      "天空", "白云", "黑夜", "明天", "今天", "太阳", "月亮", "星星", "火车", "汽车", "公园", "学校", "学生",
      "老师", "医生", "朋友", "家人", "爱心", "红花", "绿叶", "大山", "小河", "海水", "海风", "春天", "夏天",
      "秋天", "冬天", "下雨", "下雪", "东方", "西方", "南方", "北方", "左手", "右手", "早上", "晚上", "生日",
      "快乐", "新年", "米饭", "面包", "牛肉", "羊肉", "水果", "苹果", "茶水", "书店", "花店", "饭店", "酒店",
      "银行", "医院", "电话", "电影", "音乐", "手机", "飞机", "安全", "停车", "免费", "请进", "谢谢", "平安",
      "地图", "木头", "石头", "金鱼", "白马", "黄色", "蓝色", "大鸟", "森林", "世界",
  };
  return table;
}

Lettering lettering_of(Script script) {
  return script == Script::latin ? Lettering{26, kPatchSize} : Lettering{28, 2 * kPatchSize};
}

}  // namespace glmimage::train::world
