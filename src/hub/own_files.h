#pragma once

namespace glmimage::hub {

// What a pull adds to the folder it fills, beside the files of the repository.
inline constexpr const char* kOwnFolder = ".glm-image";  // holds the two below
inline constexpr const char* kLockName = "pull.lock";
inline constexpr const char* kPulledName = "pulled.json";
inline constexpr const char* kPartSuffix = ".part";        // NAME.part: what is there of NAME
inline constexpr const char* kStateSuffix = ".part.json";  // NAME.part.json: which bytes of it, and of which content

}  // namespace glmimage::hub
