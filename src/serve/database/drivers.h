#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "serve/database/database.h"

namespace glmimage::serve {

// What Database::open chooses from. Both throw ErrorKind::io; tables are made afterwards.
std::unique_ptr<Database> open_sqlite(const std::string& file);
std::unique_ptr<Database> open_postgres(const std::string& uri);

// The SQL with each word in a database's spelling.
std::string replace_words(std::string sql, const std::vector<std::pair<std::string, std::string>>& words);

}  // namespace glmimage::serve
