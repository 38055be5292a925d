#pragma once

#include <string>
#include <vector>

namespace glmimage::hub {

// A name that came from a server, for messages: control characters and other than ASCII as \xNN, at most 120
// characters.
std::string shown_name(const std::string& name);

// Throws ErrorKind::io for a name that could leave the folder, cannot be a file here, or is one of this program's own:
// empty, absolute, with empty parts, "." or "..", backslashes, control characters, not UTF-8, ending in ".part" or
// ".part.json", below ".glm-image", longer than file systems take.
void check_file_name(const std::string& name);

// The same for a whole list; also for names given twice, and for files that would have to be folders of others.
void check_file_names(const std::vector<std::string>& names);

// As Hugging Face's --include and --exclude: fnmatch, '*' reaches over slashes, "folder/" is all below it.
bool matches(const std::string& name, const std::vector<std::string>& patterns);

}  // namespace glmimage::hub
